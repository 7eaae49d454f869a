"""Is each documented failure recognised in a journal where an operation met it, and in no other?"""

import asyncio
import re
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_hsmcluster.checkers.operation import CREATES, FAN_OUT
from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.coverage.mode import ASKED, USES, WITH_KEY, Mode, Trait, traits_of
from pytest_hsmcluster.coverage.modes import MODES
from pytest_hsmcluster.coverage.witness import gathered
from pytest_hsmcluster.errors import ClusterError
from pytest_hsmcluster.faults.spec import parse_fault
from pytest_hsmcluster.faults.when import OPERATIONS
from pytest_hsmcluster.history.history import History
from tests.coverage.stories import STORIES, changes, deletes, guarded, installed, lax, made, makes, signs

DOCS = Path(__file__).parents[2] / "docs"


def met(history: History, operation: str) -> list[str]:
    """Return the names of the modes that the last operation of this name met."""
    one = [one for one in gathered(history) if one.name == operation][-1]
    return [mode.name for mode in MODES if mode.met(one)]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_a_failure_is_recognised(mode: Mode):
    """A short story for each failure: one operation meets it, and its call site is one to which the failure applies."""
    cluster, operation = STORIES[mode.name]()
    cluster.close()
    assert mode.name in met(cluster.history, operation)
    one = [one for one in gathered(cluster.history) if mode.met(one)][-1]
    assert any(mode.applies(trait) for trait in traits_of(one))


@pytest.mark.parametrize("sdk", [3, 5])
def test_a_healthy_cluster_shows_no_failure(sdk: int):
    """Making, using, sharing, changing, finding and deleting keys while nothing goes wrong meets nothing."""
    with HsmCluster(3, sdk=sdk) as cluster:
        changes(cluster)
        signs(cluster)
        deletes(cluster)
        app, key = made(cluster)
        pair = app.generate_key_pair("EC", "P-256", label="pair")
        app.verify(pair.public, b"data", app.sign(pair.private, b"data"))
        session_key = app.generate_key("AES", 256, label="session", token=False)
        app.unwrap_key(app.wrap_key(session_key, with_key=key), with_key=key, kind="AES", label="again")
        app.find_keys(label="again")
        app.random(8)
        app.logout()
    assert {mode.name for one in gathered(cluster.history) for mode in MODES if mode.met(one)} == set()


def test_a_recorded_history_is_read_without_a_cluster(tmp_path: Path):
    """The evidence is all in the file."""
    cluster, operation = makes(guarded(), "fail-cleanup")
    cluster.close()
    loaded = History.load(cluster.history.save(tmp_path / "run.jsonl"))
    assert met(loaded, operation) == met(cluster.history, operation) == ["too-few-copies", "orphan-left"]


# -- near misses -----------------------------------------------------------------------


def test_a_lost_answer_to_a_use_changes_nothing():
    """A signature that never came back is a time-out; nothing was made."""
    cluster, operation = signs(HsmCluster(3), "lost-ack encrypt")
    assert met(cluster.history, operation) == ["time-out", "slow"]


def test_a_request_that_never_arrived_was_not_done():
    """The client hears the same silence, and there is no key."""
    cluster, operation = makes(HsmCluster(3), "drop @ wire.request command=generate_key nth=1")
    assert met(cluster.history, operation) == ["time-out", "slow"]


def test_a_copy_that_was_not_answered_is_not_the_answer_to_the_create():
    """The copy may be there, the create knows of another one and is ok."""
    cluster, operation = makes(HsmCluster(3), "drop @ wire.response command=insert_masked hsm=hsm-2 nth=1")
    assert met(cluster.history, operation) == ["time-out", "slow"]


def test_a_key_that_another_client_deletes_is_no_miss():
    """The HSM that answers lacks it because it was asked to."""
    cluster, operation = STORIES["key-deleted"]()
    assert met(cluster.history, operation) == ["key-deleted"]


def test_a_key_that_is_off_is_not_lost():
    """Its only HSM can be switched on again."""
    cluster = lax()
    app, key = made(cluster, "fail-clone", "stall-sync")
    with installed(cluster, "crashed-hsm hsm-1"), suppress(ClusterError):
        app.encrypt(key, b"data")
    assert "key-lost" not in met(cluster.history, "encrypt")
    assert "missed-sdk3" in met(cluster.history, "encrypt")


def test_a_rotation_on_purpose_deletes_everywhere():
    """A delete that reached every HSM has missed none, and what is gone does not come back."""
    cluster, _ = deletes(HsmCluster(3))
    cluster.sweep_now()
    cluster.client("later").find_keys(label="kek")
    assert met(cluster.history, "delete_key") == met(cluster.history, "find_keys") == []


def test_a_key_of_somebody_else_is_not_hidden():
    """A find shows what its user may see; other users' keys on HSMs that are off are no gap."""
    cluster = lax()
    made(cluster, "fail-clone")
    cluster.create_user("bob", "password")
    bob = cluster.client("bobs", login=False)
    bob.login("bob", "password")
    with cluster.chaos.crash("hsm-1"):
        bob.find_keys(label="kek")
    assert met(cluster.history, "find_keys") == ["hsm-off"]


def test_a_new_password_on_every_hsm_is_no_drift():
    """Also when the account was locked on one of them."""
    cluster = HsmCluster(3)
    app = cluster.client("app", login=False)
    for _ in range(3 * 6):
        with suppress(ClusterError):
            app.login("crypto_user", "not the password")
    cluster.admin.change_password("crypto_user", "a new password")
    app.login("crypto_user", "a new password")
    assert met(cluster.history, "login") == []


def test_a_cancelled_call_has_not_timed_out():
    """Who stops waiting says nothing about the HSM."""
    cluster = HsmCluster(3)
    app = cluster.async_client("app")

    async def impatient() -> None:
        call = asyncio.ensure_future(app.random(8))
        await app.find_keys()  # by then it is under way
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call

    with cluster.chaos.inject("hold @ wire.request op=random"):
        asyncio.run(impatient())
    assert met(cluster.history, "random") == []


# -- the catalogue ----------------------------------------------------------------------


def test_every_operation_can_meet_something():
    """Each operation of the client has modes that apply to it."""
    sites = [
        Trait(name, 5, True if name in USES + CREATES else None, True, True) for name in OPERATIONS if name != "digest"
    ]
    bare = [site.operation for site in sites if sum(mode.applies(site) for mode in MODES) < 5]
    assert bare == []
    assert {*ASKED, "login", "logout"} - {WITH_KEY} == set(OPERATIONS) - {"digest"}  # computed in the client
    assert set(FAN_OUT) <= set(OPERATIONS)


def test_a_session_key_is_not_copied():
    """What concerns copies and routing does not apply to session keys, and the other way round."""
    names = {mode.name for mode in MODES if mode.applies(Trait("generate_key", 5, False, True, True))}
    assert {"time-out", "hsm-full"} <= names
    assert not {"maker-dies-alone", "copies-missing", "check-refused"} & names
    uses = {mode.name for mode in MODES if mode.applies(Trait("encrypt", 5, False, True, True))}
    assert "session-key-gone" in uses
    assert "missed-sdk5" not in uses


def test_each_sdk_has_its_own_failures():
    """SDK 3 counts copies, SDK 5 checks availability; a cluster of one HSM has no second to miss."""
    three = {mode.name for mode in MODES if mode.applies(Trait("generate_key", 3, True, True, True))}
    five = {mode.name for mode in MODES if mode.applies(Trait("generate_key", 5, True, True, True))}
    assert three - five == {"too-few-copies", "leftover-marked", "orphan-left"}
    assert five - three == {"check-refused"}
    alone = {mode.name for mode in MODES if mode.applies(Trait("encrypt", 3, True, False, False))}
    assert not {"missed-sdk3", "hsm-off", "copies-differ"} & alone


def test_names_are_unique_and_short():
    """A name is a word of tables and files."""
    names = [mode.name for mode in MODES]
    assert len(set(names)) == len(names) >= 40
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) and len(name) <= 18 for name in names)
    assert all(not mode.meaning.endswith(".") and len(mode.meaning) <= 90 for mode in MODES)


def test_every_source_is_one_of_those_of_the_fidelity_page():
    """A guess has none; every other mode names its source by a tag that is explained there."""
    fidelity = (DOCS / "fidelity.md").read_text(encoding="utf-8")
    for mode in MODES:
        assert bool(mode.said.sources) is (mode.said.mark != "guess"), mode.name
        for tag in mode.said.sources:
            assert f"[{tag}]:" in fidelity or re.search(rf"\| .*\b{re.escape(tag)}\b", fidelity), tag


def test_the_page_lists_the_catalogue():
    """docs/coverage.md has a row for each mode, with its meaning, its source and how it is reached."""
    page = (DOCS / "coverage.md").read_text(encoding="utf-8")
    for mode in MODES:
        assert f"| `{mode.name}` | {mode.meaning} | {mode.said} | {mode.how} |" in page


def test_specs_that_stand_alone_can_be_read():
    """What is written as one fault is one."""
    for mode in MODES:
        if " @ " in mode.how and not re.search(r"[;,]", mode.how):
            parse_fault(mode.how)
