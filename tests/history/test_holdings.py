"""Does the fold over a journal say which HSM holds what?"""

import pytest

from pytest_hsmcluster.history.events import FIELDS, Cause, Kind, read
from pytest_hsmcluster.history.holdings import Holdings


def record(kind, /, at_ns=0, **fields):
    """One record; fields that are not given are None."""
    return (kind, at_ns, *(fields.get(name) for name in FIELDS[kind]))


def up(hsm, at_ns=0):
    return record(Kind.UP, at_ns, hsm=hsm, zone="a", cause="start")


def held(hsm, key="key-1", handle=7, **other):
    fields = {"cause": Cause.CREATE, "token": True, "changed": (), "shares": (), **other}
    return record(Kind.HELD, 1, op=1, hsm=hsm, key=key, handle=handle, **fields)


def gone(hsm, key="key-1"):
    return record(Kind.GONE, 2, op=0, hsm=hsm, key=key, cause=Cause.DELETE)


def tombstoned(hsm, key="key-1"):
    return record(Kind.TOMBSTONED, 2, op=0, hsm=hsm, key=key, cause=Cause.CLEANUP)


def test_key_is_held_from_held_to_gone():
    """Each HSM for itself."""
    holdings = Holdings([up("hsm-1"), up("hsm-2"), held("hsm-1"), held("hsm-2")])
    assert holdings.holders("key-1") == ["hsm-1", "hsm-2"]
    holdings.feed(read(gone("hsm-1"), 4))
    assert holdings.holders("key-1") == ["hsm-2"]
    assert holdings.copy("hsm-1", "key-1") is None
    assert holdings.holders("key-9") == []


def test_tombstoned_copy_does_not_hold_until_it_is_held_again():
    """It stays on the HSM, marked; a new copy takes its place, as the newest."""
    records = [up("hsm-1"), held("hsm-1"), held("hsm-1", "key-2", 8), tombstoned("hsm-1")]
    holdings = Holdings(records)
    assert holdings.holders("key-1") == []
    assert holdings.hsms["hsm-1"].copies["key-1"].tombstoned is not None
    holdings.feed(read(held("hsm-1", cause=Cause.CLONE), 4))
    assert holdings.holders("key-1") == ["hsm-1"]
    assert list(holdings.hsms["hsm-1"].copies) == ["key-2", "key-1"]


def test_copy_knows_its_attributes_and_shares():
    """What it came with, and what changed since, on this HSM."""
    records = [
        up("hsm-1"),
        held("hsm-1", changed=(("sign", False),), shares=("amy",)),
        record(Kind.ATTRIBUTE, 2, op=2, hsm="hsm-1", key="key-1", name="label", value="new"),
        record(Kind.SHARE, 3, op=3, hsm="hsm-1", key="key-1", user="bob", shared=True),
        record(Kind.SHARE, 3, op=3, hsm="hsm-1", key="key-1", user="bob", shared=True),
        record(Kind.SHARE, 3, op=3, hsm="hsm-1", key="key-1", user="zoe", shared=False),
    ]
    copy = Holdings(records).copy("hsm-1", "key-1")
    assert copy.attributes == {"sign": False, "label": "new"}
    assert copy.shares == ["amy", "bob"]
    taken_back = record(Kind.SHARE, 4, op=4, hsm="hsm-1", key="key-1", user="amy", shared=False)
    assert Holdings([*records, taken_back]).copy("hsm-1", "key-1").shares == ["bob"]


@pytest.mark.parametrize(
    ("kind", "state", "restartable", "alive"),
    [
        (Kind.UP, "up", True, True),
        (Kind.PAUSED, "paused", True, True),
        (Kind.DOWN, "down", True, False),
        (Kind.JOINING, "joining", True, False),
        (Kind.JOINED, "up", True, True),
        (Kind.LOST, "lost", False, False),
    ],
)
def test_hsm_is_as_the_last_event_says(kind, state, restartable, alive):
    """And since then."""
    hsm = Holdings([up("hsm-1"), record(kind, 9, hsm="hsm-1", zone="b", cause="test")]).hsms["hsm-1"]
    assert (hsm.state, hsm.since_ns, hsm.zone) == (state, 9, "a")
    assert (hsm.restartable, hsm.alive) == (restartable, alive)


def test_lost_hsm_holds_nothing_though_no_event_took_its_keys():
    """An HSM that is off holds its keys; one that is lost does not."""
    records = [up("hsm-1"), up("hsm-2"), held("hsm-1"), held("hsm-2")]
    off = record(Kind.DOWN, 3, hsm="hsm-1", zone="a", cause="crash")
    lost = record(Kind.LOST, 4, hsm="hsm-1", zone="a", cause="destroy")
    assert Holdings([*records, off]).holders("key-1") == ["hsm-1", "hsm-2"]
    assert Holdings([*records, off, lost]).holders("key-1") == ["hsm-2"]


def test_audit_lists_hsms_by_birth_and_keys_by_handle():
    """What an audit event of this instant must say, tombstones and session keys included."""
    records = [
        up("hsm-2"),
        up("hsm-1"),
        held("hsm-1", "key-2", 9, token=False),
        held("hsm-1"),
        tombstoned("hsm-1"),
        record(Kind.DOWN, 3, hsm="hsm-2", zone="a", cause="crash"),
    ]
    assert Holdings(records).audit() == (
        ("hsm-2", "down", ()),
        ("hsm-1", "up", (("key-1", 7, True, True), ("key-2", 9, False, False))),
    )


def test_events_that_say_nothing_about_holdings_are_passed_over():
    """Calls, points, users and audits change nothing."""
    holdings = Holdings([up("hsm-1")])
    for kind in (Kind.INVOKE, Kind.OK, Kind.REACH, Kind.INJECT, Kind.USER, Kind.AUDIT):
        holdings.feed(read(record(kind), 1))
    assert holdings.audit() == (("hsm-1", "up", ()),)


def test_feeding_one_by_one_is_the_same_as_all_at_once():
    """A fold has no other memory."""
    records = [up("hsm-1"), held("hsm-1"), held("hsm-1", "key-2", 8), gone("hsm-1"), tombstoned("hsm-1", "key-2")]
    slowly = Holdings()
    for index, each in enumerate(records):
        slowly.feed(read(each, index))
    assert slowly.audit() == Holdings(records).audit()
