"""When a client tries again by itself: only when the HSM was too busy, and only SDK 5."""

import pytest

from pytest_hsmcluster import CKR, HsmBusy, HsmUnavailable, KeyNotOnHsm, Kind, Profile, RequestTimeout
from pytest_hsmcluster.client.retry import backoff_ns

MS = 1_000_000
LOG = "Received error from the server. Error: This operation is already in progress. Internal error code: 0x000000BB"


@pytest.mark.parametrize(("attempt", "pause_ms"), [(1, 100), (2, 200), (3, 400), (4, None)])
def test_the_pauses_double_up_to_three_times(attempt, pause_ms):
    """Up to three retries, exponential; the base is a guess."""
    assert backoff_ns(attempt, Profile()) == (None if pause_ms is None else pause_ms * MS)


@pytest.mark.parametrize("changes", [{"retry_mode": "off"}, {"sdk": 3}, {"retry_attempts": 1}])
def test_who_does_not_retry(changes):
    """Retry mode `off`, SDK 3, and an attempt beyond the number."""
    assert backoff_ns(2, Profile().overridden(changes)) is None


def test_a_pause_has_a_longest_length():
    """The cap."""
    profile = Profile().overridden({"retry_attempts": 10, "backoff_cap_s": 0.3})
    assert [backoff_ns(attempt, profile) for attempt in (1, 2, 3, 9)] == [100 * MS, 200 * MS, 300 * MS, 300 * MS]


def attempts(cluster):
    return [
        event.at_ns // MS
        for event in cluster.history.of(Kind.REACH)
        if event.point == "client.send" and event.command == "random"
    ]


def test_standard_mode_sends_a_throttled_request_three_times_more(make):
    """Instants 0, 100, 300, 700 ms (and 2 or 3 ms each for the way), the same HSM, then CKR_FUNCTION_FAILED."""
    cluster = make(sdk=5)
    app = cluster.client()
    begun = cluster.clock.now_ns // MS
    with cluster.chaos.throttle("hsm-1"), pytest.raises(HsmBusy) as caught:
        app.random(4)

    assert [at - begun for at in attempts(cluster)] == [0, 101, 302, 703]
    assert (caught.value.ckr, caught.value.hsm_code, caught.value.hsm) == (CKR.FUNCTION_FAILED, 0xBB, "hsm-1")
    assert caught.value.outcome == "fail"
    assert app.log == [LOG] * 3


def test_a_retry_succeeds_once_the_hsm_is_relieved(make):
    """The application sees nothing but time."""
    cluster = make(sdk=5)
    app = cluster.client()
    with cluster.chaos.inject("fail 0xBB @ hsm.receive command=random during=250ms"):
        app.random(4)
    assert len(attempts(cluster)) == 3


def test_mode_off_gives_the_refusal_to_the_application(make):
    """One attempt."""
    cluster = make(sdk=5, retry_mode="off")
    app = cluster.client()
    with cluster.chaos.throttle("hsm-1"), pytest.raises(HsmBusy):
        app.random(4)
    assert len(attempts(cluster)) == 1


def test_sdk_3_gives_the_refusal_to_the_application_with_its_own_code(make):
    """CKR_OPERATION_ACTIVE, one attempt."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.throttle("hsm-1"), pytest.raises(HsmBusy) as caught:
        app.random(4)
    assert len(attempts(cluster)) == 1
    assert caught.value.ckr == CKR.OPERATION_ACTIVE


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("drop @ wire.request command=random", RequestTimeout),
        ("corrupt @ wire.request command=random", HsmUnavailable),
        ("crash @ hsm.execute command=random", HsmUnavailable),
        ("fail KeyNotOnHsm @ hsm.receive command=random", KeyNotOnHsm),
        ("fail CKR_FUNCTION_FAILED @ hsm.receive command=random", Exception),
    ],
)
def test_nothing_else_is_ever_tried_again(make, spec, error):
    """Clients cannot know the state of a failed call (AWS support), so the application decides."""
    cluster = make(sdk=5)
    app = cluster.client()
    with cluster.chaos.inject(spec), pytest.raises(error):
        app.random(4)
    assert len(attempts(cluster)) == 1
