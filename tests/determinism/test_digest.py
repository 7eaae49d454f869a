"""Is one story one digest: a thousand times, in other processes, with other keys and other names?"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_hsmcluster.cluster import HsmCluster
from tests.determinism.chaos_story import chaos_story
from tests.stories import drawn, play

ROOT = Path(__file__).parent.parent.parent


def told(**options):
    """The digest of the chaos story, told with other names or in another cluster."""
    cluster_options = {name: options.pop(name) for name in ("seed", "keys", "routing") if name in options}
    shape = {"seed": 7, "routing": "random", **cluster_options}
    with HsmCluster(4, sdk=3, create_object_minimum_nodes=2, **shape) as cluster:
        chaos_story(cluster, **options)
    return cluster.history.digest()


def test_a_thousand_runs_give_one_digest():
    """With new random keys in each."""
    assert len({told() for _ in range(1000)}) == 1


def test_other_processes_give_the_same_digests():
    """Python hashes strings differently in each; nothing of ours may follow that."""

    def run(hash_seed):
        return subprocess.run(
            [sys.executable, "-m", "tests.determinism.chaos_story"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()

    first = run("0")
    assert len(first) == len(set(first)) == 9
    assert all(run("random") == first for _ in range(5))
    assert first[0] == told()


def test_stories_do_not_leave_traces_in_each_other():
    """Whatever ran before in this process."""
    alone = [play(drawn(number)).digest for number in range(6)]
    backwards = [play(drawn(number)).digest for number in reversed(range(6))]
    assert alone == backwards[::-1]


def test_two_clusters_at_once_do_not_mix():
    """Each has its own time, numbers and dice."""
    with HsmCluster(2, seed=1) as one, HsmCluster(2, seed=1) as two:
        clients = one.client("app"), two.client("app")
        for label in ("a", "b"):
            for client in clients:
                client.generate_key("AES", 256, label=label)
    assert one.history.digest() == two.history.digest()


# -- what makes no difference -------------------------------------------------------------


def test_key_bytes_make_no_difference():
    assert told(keys="seeded") == told(keys="random")


@pytest.mark.parametrize(
    "names",
    [
        {"labels": ("payroll", "invoices")},
        {"labels": ("app", "crypto_user")},
        {"labels": ("label", "bob")},
        {"app": "vault"},
        {"app": "kek"},
        {"user": "alice"},
        {"user": "dek"},
        {"labels": ("ключ", "a b'\"\n"), "app": "prüfung", "user": "zoe"},
    ],
    ids=str,
)
def test_names_make_no_difference(names):
    """Not even names that are spelled like others: only which are the same."""
    assert told(**names) == told()


# -- what does ----------------------------------------------------------------------------


def test_same_name_twice_is_another_story():
    assert told(labels=("kek", "kek")) != told()


def test_seed_draws_other_routes():
    assert told(seed=8) != told(seed=7)


def test_order_makes_a_difference():
    """Two calls, the other way round."""

    def story(*names):
        with HsmCluster(2) as cluster:
            client = cluster.client("app")
            key = client.generate_key("AES", 256)
            calls = {"encrypt": lambda: client.encrypt(key, b"x"), "random": lambda: client.random(1)}
            for name in names:
                calls[name]()
        return cluster.history.digest()

    assert story("encrypt", "random") != story("random", "encrypt")


def test_time_makes_a_difference():
    """A nanosecond is enough."""

    def story(seconds):
        with HsmCluster(2) as cluster:
            client = cluster.client("app")
            cluster.clock.advance(seconds)
            client.random(1)
        return cluster.history.digest()

    assert story(1e-9) != story(0)


# -- dice ---------------------------------------------------------------------------------


def struck(*specs, label="kek"):
    """Which of forty encryptions met the last of some faults."""
    with HsmCluster(2, seed=3) as cluster:
        client = cluster.client("app")
        key = client.generate_key("AES", 256, label=label)
        injections = [cluster.chaos.inject(spec.format(label=label), may_miss=True) for spec in specs]
        hits = []
        for _ in range(40):
            before = injections[-1].hits
            client.encrypt(key, b"data")
            hits.append(injections[-1].hits > before)
    return hits


DICE = "pass @ hsm.execute command=encrypt chance=0.5"


def test_another_fault_does_not_shift_the_dice():
    """Neither one without dice nor one with dice of its own."""
    alone = struck(DICE)
    assert 10 < sum(alone) < 30
    assert struck("pass @ hsm.commit", DICE) == alone
    assert struck("pass @ hsm.execute chance=0.25", DICE) == alone


def test_equal_faults_have_dice_of_their_own():
    assert struck(DICE, DICE) != struck(DICE)


def test_name_of_a_key_does_not_shift_the_dice():
    named = "pass @ hsm.execute command=encrypt chance=0.5 key={label}"
    assert struck(named) == struck(named, label="payroll")


# -- asyncio ------------------------------------------------------------------------------


def test_calls_at_the_same_time_give_one_digest():
    """A hundred times the same race."""

    def race():
        async def main(cluster):
            clients = [cluster.async_client(f"app-{number}") for number in range(3)]
            keys = await asyncio.gather(*(client.generate_key("AES", 256, label="kek") for client in clients))
            await asyncio.gather(
                *(client.delete_key(keys[0]) for client in clients),
                *(client.find_keys(label="kek") for client in clients),
                return_exceptions=True,
            )

        with HsmCluster(3) as cluster:
            asyncio.run(main(cluster))
        return cluster.history.digest()

    assert len({race() for _ in range(100)}) == 1
