"""Are routing misses found, and is a retry recognised as one?"""

import pytest

from pytest_hsmcluster.checkers.check import HsmCheck
from pytest_hsmcluster.checkers.verdict import Finding
from pytest_hsmcluster.errors import UsageError

MS = 1_000_000


def test_call_to_an_hsm_without_the_key_is_a_miss(tell):
    """Another HSM holds the key, and nobody tried again."""
    story = tell()
    key = story.create(on=["hsm-1", "hsm-2"])
    story.miss(key, "hsm-3")

    expected = Finding(
        check="misses_retried",
        key="key-1",
        label="payroll",
        handle=262144,
        hsms=("hsm-3",),
        since_ns=6 * MS,
        cause="sign by app was routed there while hsm-1, hsm-2 held the key; never retried with success",
    )
    assert HsmCheck(story.history).routing_misses() == [expected]
    with pytest.raises(AssertionError) as raised:
        HsmCheck(story.history).misses_retried()
    assert str(raised.value) == str(expected)


def test_retry_that_fails_is_no_retry_that_succeeded(tell):
    """Two misses in a row are two findings."""
    story = tell()
    key = story.create(on=["hsm-1"])
    story.miss(key, "hsm-3")
    story.miss(key, "hsm-2")
    with pytest.raises(AssertionError) as raised:
        HsmCheck(story.history).misses_retried()
    assert len(str(raised.value).splitlines()) == 2


@pytest.mark.parametrize(
    "other", [{"client": "app-2"}, {"name": "verify"}, {"key": "key-2"}], ids=["client", "operation", "key"]
)
def test_success_of_something_else_is_no_retry(tell, other):
    """The same client, the same operation, the same key."""
    story = tell()
    key = story.create(on=["hsm-1"])
    story.create("other", on=["hsm-1"])
    story.miss(key, "hsm-3")
    story.use(**{"key": key, **other})
    with pytest.raises(AssertionError, match="never retried"):
        HsmCheck(story.history).misses_retried()


def test_retry_that_took_too_long_was_not_within(tell):
    """`within` counts from the miss to the success, in seconds, its end included."""
    story = tell()
    key = story.create(on=["hsm-1"])
    story.miss(key, "hsm-3")
    story.wait(498)
    story.use(key)
    check = HsmCheck(story.history)
    check.misses_retried()
    check.misses_retried(within=0.5)
    with pytest.raises(AssertionError):
        check.misses_retried(within=0)
    with pytest.raises(AssertionError, match=r"retried ok after 0\.500000 s"):
        check.misses_retried(within=0.4)


def test_call_that_was_under_way_already_is_no_retry(tell):
    """A second thread's call, begun before the miss was told, answers nothing."""
    story = tell()
    key = story.create(on=["hsm-1"])
    other = story.invoke("sign", key)
    story.miss(key, "hsm-3")
    story.end(other, keys=(key,))
    with pytest.raises(AssertionError, match="never retried"):
        HsmCheck(story.history).misses_retried()


def test_missing_wrapping_key_of_an_unwrap_is_a_miss(tell):
    """Whatever a single HSM needs a key for."""
    story = tell()
    key = story.create("kek", on=["hsm-1"])
    story.miss(key, "hsm-2", "unwrap_key")
    assert [miss.hsms for miss in HsmCheck(story.history).routing_misses()] == [("hsm-2",)]


def test_base_key_may_be_named_in_the_arguments(tell):
    """An unwrap or derive is about the key that it makes; what it needs stands in its arguments."""
    story = tell()
    key = story.create("base", on=["hsm-1"])
    op = story.invoke("derive_key", label="new", args=(key,))
    story.end(op, "fail", error="KeyNotOnHsm", hsm="hsm-2")
    assert [miss.key for miss in HsmCheck(story.history).routing_misses()] == [key]
    op = story.invoke("derive_key", label="new", args=(key,))
    story.end(op, keys=(story.born("new", name="derive_key", op=op),))
    HsmCheck(story.history).misses_retried()


def test_answer_of_an_hsm_that_has_the_key_is_a_miss_all_the_same(tell):
    """An injected "no such key": what counts is what the application was told."""
    story = tell()
    story.miss(story.create(), "hsm-3")
    [miss] = HsmCheck(story.history).routing_misses()
    assert miss.cause.startswith("sign by app was routed there while hsm-1, hsm-2 held the key")


def test_copy_that_arrives_during_the_call_does_not_undo_the_miss(tell):
    """The HSM answered before its copy came."""
    story = tell()
    key = story.create(on=["hsm-1"])
    op = story.invoke("sign", key)
    story.sweep(key, "hsm-3", "hsm-1")
    story.end(op, "fail", error="KeyNotOnHsm", hsm="hsm-3")
    assert [miss.hsms for miss in HsmCheck(story.history).routing_misses()] == [("hsm-3",)]


def test_missing_wrapped_key_is_retried_by_a_wrap_of_it(tell):
    """The key that an HSM lacks may be the one to be wrapped."""
    story = tell()
    kek = story.create("kek")
    dek = story.create("dek", on=["hsm-1"])
    op = story.invoke("wrap_key", kek)
    story.end(op, "fail", error="KeyNotOnHsm", hsm="hsm-2", key=dek)
    assert [miss.key for miss in HsmCheck(story.history).routing_misses()] == [dek]
    story.wrap(dek, under=kek)
    HsmCheck(story.history).misses_retried()


def test_retry_by_the_same_application_counts_and_is_told(tell):
    """After an unknown outcome "app" goes on as "app#2": the same application."""
    story = tell()
    key = story.create(on=["hsm-1"])
    story.miss(key, "hsm-3")
    story.use(key, outcome="info")
    story.use(key, client="app#2")
    HsmCheck(story.history).misses_retried(within=1)
    [miss] = HsmCheck(story.history).routing_misses()
    assert miss.cause.endswith("; retried ok after 0.004000 s")


def test_key_that_was_on_no_hsm_is_no_routing_miss(tell):
    """Nobody held it: that is a loss, not a route."""
    story = tell()
    key = story.create(on=["hsm-1"])
    story.destroy("hsm-1", key)
    story.miss(key, "hsm-3")
    HsmCheck(story.history).misses_retried()


@pytest.mark.parametrize("outcome", ["ok", "info", "open", "fail"])
def test_call_after_a_delete_was_invoked_is_no_miss(tell, outcome):
    """Whatever became of the delete."""
    story = tell()
    key = story.create()
    story.delete(key, on=["hsm-3"], outcome=outcome)
    story.miss(key, "hsm-3")
    assert HsmCheck(story.history).routing_misses() == []


@pytest.mark.parametrize("name", ["find_keys", "delete_key", "share_key", "set_attribute"])
def test_fan_out_is_no_miss(tell, name):
    """A call that asks every HSM is not routed."""
    story = tell()
    key = story.create(on=["hsm-1"])
    story.miss(key, "hsm-3", name)
    assert HsmCheck(story.history).routing_misses() == []


def test_session_keys_and_foreign_handles_are_no_misses(tell):
    """A session key is on one HSM by nature; an unknown handle is a mistake."""
    story = tell()
    story.miss(story.create(on=["hsm-1"], token=False), "hsm-3")
    story.end(story.invoke("sign"), "fail", error="KeyNotOnHsm", hsm="hsm-1")
    story.miss("key-99", "hsm-2")
    assert HsmCheck(story.history).routing_misses() == []


def test_other_errors_are_no_misses(tell):
    """Access denied looks alike to PKCS#11, but the key is there."""
    story = tell()
    key = story.create(on=["hsm-1"])
    story.use(key, outcome="fail", error="KeyAccessDenied", hsm="hsm-3")
    assert HsmCheck(story.history).routing_misses() == []


@pytest.mark.parametrize("outcome", ["ok", "info"])
def test_miss_of_a_key_that_was_deleted_since_needs_no_retry(tell, outcome):
    """It stays a miss, but nobody wants the key any more."""
    story = tell()
    key = story.create(on=["hsm-1"])
    story.miss(key, "hsm-3")
    story.delete(key, on=["hsm-1"], outcome=outcome)
    check = HsmCheck(story.history)
    check.misses_retried()
    assert len(check.routing_misses()) == 1


@pytest.mark.parametrize("within", [-1, float("nan"), float("inf"), True, "1 s"])
def test_bad_duration_is_a_usage_error(tell, within):
    """Seconds, 0 or more."""
    with pytest.raises(UsageError, match="within is a number of seconds, 0 or more"):
        HsmCheck(tell().history).misses_retried(within=within)
