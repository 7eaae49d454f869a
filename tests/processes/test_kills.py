"""Is anything lost when HSM processes are killed at random points and instants, and would it be noticed?"""

import shutil
import sqlite3

import pytest

from benchmarks.disks import Ledger, Wrong, check_mirror, check_named, keys_on
from benchmarks.kills import Story, Tally, told
from pytest_hsmcluster import HsmCluster, TooFewCopies

ALIVE, DEAD = ("material", b"", "app", (), False), ("material", b"", "app", (), True)


@pytest.mark.parametrize(("sdk", "seed"), [(3, 1), (3, 2), (5, 3)])
def test_killed_hsms_keep_what_was_acknowledged(sdk, seed):
    """Ten kills each; `make kills N=1000` makes a thousand."""
    tally = Tally()
    story = Story(seed, sdk, tally, availability_budget_s=2)
    try:
        for _ in range(10):
            story.round()
    except BaseException:
        story.close()
        raise
    story.end()

    assert tally.killed == 10
    assert tally.told["ok"] > 20
    assert "no key was lost" in told(tally, 1)


# -- teeth: what each verdict must catch -----------------------------------------------------------


@pytest.fixture
def cluster():
    """What is made is on all three HSMs; hsm-1 makes it."""
    settings = {"create_object_minimum_nodes": 2, "routing": "pinned", "sweep": False}
    with HsmCluster(3, sdk=3, network="processes", **settings) as cluster:
        yield cluster


def folder(cluster, hsm="hsm-1"):
    return cluster.hsm(hsm)._home.folder(hsm)


def read(cluster, **how):
    return keys_on(folder(cluster), cluster.service.world.masking_key, **how)


def checkpointed(cluster):
    """hsm-1 is off, and all that it has written so far stands in its file."""
    cluster.chaos.crash("hsm-1")
    base = sqlite3.connect(folder(cluster) / "hsm.db")
    assert base.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    base.close()


def test_reading_the_database_without_its_log_invents_lost_keys(cluster):
    """The newest commits stand in the write-ahead log alone: whoever leaves it out accuses an HSM that has the key."""
    app = cluster.client()
    app.generate_key("AES", 256, label="old")
    checkpointed(cluster)
    cluster.chaos.restart("hsm-1")
    app = cluster.client("again")
    ledger = Ledger()
    ledger.made(app.generate_key("AES", 256, label="new").number)
    cluster.chaos.crash("hsm-1")

    assert len(read(cluster)) == 2
    check_mirror(cluster.hsm("hsm-1"), read(cluster))
    assert len(read(cluster, parts=("",))) == 1
    with pytest.raises(Wrong, match="disk and mirror of hsm-1 differ"):
        check_mirror(cluster.hsm("hsm-1"), read(cluster, parts=("",)))
    with pytest.raises(Wrong, match="acknowledged with 0 of two copies"):
        ledger.check({"hsm-1": read(cluster, parts=("",))}, [])


def test_disk_whose_last_commit_is_missing_is_noticed(cluster, tmp_path):
    """As if an HSM had answered before it wrote: the mirror and the ledger know better."""
    app = cluster.client()
    app.generate_key("AES", 256, label="old")
    shutil.copytree(folder(cluster), tmp_path / "hsm-1")
    ledger = Ledger()
    ledger.made(app.generate_key("AES", 256, label="new").number)
    before = keys_on(tmp_path / "hsm-1", cluster.service.world.masking_key)

    assert len(before) == 1
    with pytest.raises(Wrong, match="disk and mirror of hsm-1 differ"):
        check_mirror(cluster.hsm("hsm-1"), before)
    with pytest.raises(Wrong, match="acknowledged with 1 of two copies"):
        ledger.check({"hsm-1": before, "hsm-2": read(cluster)}, [])


def test_damaged_disk_is_noticed(cluster, tmp_path):
    """SQLite looks through all pages, and says which is wrong."""
    app = cluster.client()
    for number in range(8):
        app.generate_key("AES", 256, label=f"{number}")
    checkpointed(cluster)
    shutil.copytree(folder(cluster), tmp_path / "hsm-1")
    file = tmp_path / "hsm-1" / "hsm.db"
    content = bytearray(file.read_bytes())
    content[512 * 4 : 512 * 12] = bytes(512 * 8)
    file.write_bytes(content)

    with pytest.raises(Wrong, match="SQLite "):
        keys_on(tmp_path / "hsm-1", cluster.service.world.masking_key)


def test_orphan_that_a_check_hides_is_noticed(cluster):
    """And one that it invents."""
    app, ledger = cluster.client(), Ledger()
    ledger.made(app.generate_key("AES", 256, label="kept").number)
    with cluster.chaos.fail_clone(), cluster.chaos.fail_cleanup(), pytest.raises(TooFewCopies):
        app.generate_key("AES", 256, label="orphan")
    (orphan,) = ledger.orphans({"hsm-1": read(cluster)})
    named = [finding.handle for finding in cluster.check.orphan_keys()]

    check_named("orphan_keys()", [orphan], named)
    with pytest.raises(Wrong, match=rf"not named \[{orphan}\], named without reason \[\]"):
        check_named("orphan_keys()", [orphan], [])
    with pytest.raises(Wrong, match=r"not named \[\], named without reason \[7\]"):
        check_named("orphan_keys()", [orphan], [orphan, 7])


def test_ledger_excuses_only_keys_that_went_with_all_their_hsms():
    """A key that one HSM still had is lost, whatever was destroyed; one that was deleted is not looked for."""
    ledger = Ledger()
    for handle in (1, 2):
        ledger.made(handle)
    ledger.check({"hsm-1": {1: ALIVE, 2: ALIVE}, "hsm-2": {1: ALIVE, 2: ALIVE}}, [])
    ledger.removals[2] += 1
    ledger.check({"hsm-2": {1: ALIVE}}, ["hsm-1"])
    with pytest.raises(Wrong, match=r"key 1 is lost: \['hsm-2'\] had it, and hsm-1 was destroyed"):
        ledger.check({"hsm-2": {1: DEAD}}, ["hsm-1"])

    ledger.check({"hsm-3": {}}, ["hsm-1", "hsm-2"])
    assert (ledger.lost(), [*ledger.excused]) == ([1], [1])
