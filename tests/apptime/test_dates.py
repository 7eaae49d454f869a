"""What is today in simulated time, and are the dates as good as real ones?"""

import copy
import datetime
import json
import pickle
import time
from datetime import UTC
from datetime import datetime as Instant

import pytest

from tests.apptime.conftest import simulated

REAL = (datetime.datetime,)
"""The real class, where no stand-in gets."""


def test_today_is_where_the_wall_clock_is(app_time: object) -> None:
    """Every way to ask for the present says the same."""
    time.sleep(86_400 + 1.5)
    there = datetime.datetime(2025, 1, 2, 0, 0, 1, 500_000, tzinfo=UTC)
    assert datetime.datetime.now(UTC) == Instant.now(UTC) == there
    assert datetime.datetime.now().astimezone(UTC) == datetime.datetime.today().astimezone(UTC) == there
    assert datetime.datetime.utcnow() == there.replace(tzinfo=None)
    assert datetime.date.today() == datetime.datetime.now().date()
    assert datetime.datetime.now().timestamp() == time.time()


def test_texts_and_tuples_of_now_too(app_time: object) -> None:
    """`time.gmtime()` and its like without an argument mean now."""
    time.sleep(60)
    assert time.gmtime()[:6] == (2025, 1, 1, 0, 1, 0)
    assert time.localtime() == time.localtime(time.time())
    assert time.ctime() == time.asctime() == time.ctime(time.time())
    assert time.strftime("%Y %M") == "2025 01"


def test_an_argument_is_taken_as_ever(app_time: object) -> None:
    assert time.gmtime(0)[:3] == (1970, 1, 1)
    assert time.strftime("%Y", time.gmtime(0)) == "1970"
    assert time.asctime(time.gmtime(0)) == "Thu Jan  1 00:00:00 1970"
    assert time.ctime(0) == time.asctime(time.localtime(0))


def test_dates_are_real_ones(app_time: object) -> None:
    """Made, parsed, compared, written: nobody notices."""
    made = datetime.datetime(2020, 1, 2, 3, 4, tzinfo=UTC)
    assert type(made) is REAL[0]
    assert isinstance(made, datetime.datetime) and isinstance(made, datetime.date)
    assert not isinstance("2020", datetime.date)
    assert issubclass(datetime.datetime, datetime.date)
    assert datetime.datetime.fromisoformat(made.isoformat()) == made
    assert datetime.datetime.strptime("2020-01-02", "%Y-%m-%d").year == 2020
    assert type(datetime.datetime.fromtimestamp(0, UTC)) is REAL[0]
    assert made - datetime.timedelta(days=1) < made
    assert datetime.date.fromisoformat("2020-02-29").day == 29
    assert json.dumps(made, default=str) == '"2020-01-02 03:04:00+00:00"'
    assert made.timetuple()[:3] == (2020, 1, 2)


def test_class_is_found_where_the_real_one_is_a_key(app_time: object) -> None:
    """Dispatch by class works, whichever of the two was registered."""
    assert {REAL[0]: "instant"}[datetime.datetime] == {datetime.datetime: "instant"}[REAL[0]] == "instant"
    assert type(datetime.datetime.now()) == datetime.datetime  # noqa: E721
    assert datetime.datetime != datetime.date


def test_class_of_ones_own_stays_one(app_time: object) -> None:
    """What is derived from `datetime` makes its own objects, and takes no others for them."""

    class Stamp(datetime.datetime):
        pass

    assert type(Stamp.now()) is Stamp and Stamp.now().year == 2025
    assert type(Stamp.utcnow()) is type(Stamp.today()) is Stamp
    assert not isinstance(datetime.datetime.now(), Stamp)
    assert not issubclass(datetime.datetime, Stamp)
    assert len({Stamp, datetime.datetime}) == 2


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_dates_are_copied_and_pickled(protocol: int) -> None:
    """Also from simulated time to real time and back."""
    before = (datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3, fold=1, tzinfo=UTC))
    outer = pickle.dumps(before, protocol)
    with simulated():
        assert pickle.loads(outer) == before
        assert copy.deepcopy(before) == copy.copy(before) == before
        inner = pickle.dumps(before, protocol)
        assert pickle.loads(inner) == before
    assert pickle.loads(inner) == before
    assert pickle.dumps(before, protocol) == outer
