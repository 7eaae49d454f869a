"""Is another library that simulates time found, and named?"""

import time

import pytest

from pytest_hsmcluster import UsageError
from pytest_hsmcluster.apptime.neighbours import check_alone
from tests.apptime.conftest import simulated

freezegun = pytest.importorskip("freezegun", reason="pip install freezegun")
time_machine = pytest.importorskip("time_machine", reason="pip install time-machine")

OTHERS = {
    "freezegun": lambda: freezegun.freeze_time("2020-01-01"),
    "time-machine": lambda: time_machine.travel("2020-01-01"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_theirs_first_is_refused(name: str) -> None:
    """With the name, the reason and the way out; nothing of ours is left in place."""
    with OTHERS[name](), pytest.raises(UsageError, match=f"{name} has replaced .*leave one of them out"), simulated():
        pass
    with simulated():
        time.sleep(1)


@pytest.mark.parametrize("name", OTHERS)
def test_ours_first_is_noticed_at_the_first_wait(app_time: object, name: str) -> None:
    """Instead of waiting in two times at once."""
    with OTHERS[name](), pytest.raises(UsageError, match=f"{name} has replaced "):
        time.sleep(1)
    time.sleep(1)
    assert time.monotonic() == 1_000_001


def test_fixed_functions_of_a_test_are_named_by_their_module(app_time: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 5)
    with pytest.raises(UsageError, match=r"tests has replaced time\.time"):
        time.sleep(1)


def test_real_functions_that_come_back_are_noticed(app_time: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a deadline would be measured by one clock and waited for by another."""
    monkeypatch.setattr(time, "monotonic", time.get_clock_info)
    with pytest.raises(UsageError, match=r"something has put the real time\.monotonic back"):
        check_alone()
