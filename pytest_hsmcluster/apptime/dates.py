"""What is today while an application lives in simulated time?

`datetime.datetime` and `datetime.date` cannot be changed, so other classes stand in for them.  These make real dates,
are satisfied with real ones, and are equal to the real classes; they only read another clock.
"""

import datetime as dates
import time
from collections.abc import Callable, Mapping
from datetime import date as Date
from datetime import datetime as Datetime
from typing import Any

from ..sim.clock import NS
from .callers import here
from .clocks import EPOCH_NS


class LikeReal(type):
    """Takes real dates for its own, and equals the real class; classes that are derived from it do not."""

    real: type[Any]

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.real) if "real" in vars(cls) else super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.real) if "real" in vars(cls) else super().__subclasscheck__(subclass)

    def __eq__(cls, other: object) -> bool:
        return cls is other or ("real" in vars(cls) and other is cls.real)

    def __hash__(cls) -> int:
        return hash(cls.real) if "real" in vars(cls) else super().__hash__()


class SimulatedDate(Date, metaclass=LikeReal):
    """Stands in for `datetime.date`."""

    real = Date

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return Date.__new__(Date if cls is SimulatedDate else cls, *args, **kwargs)

    @classmethod
    def today(cls) -> Any:
        company = here()
        return cls.fromtimestamp(time.time() if company is None else (EPOCH_NS + company.now_ns) / NS)


class SimulatedDatetime(Datetime, metaclass=LikeReal):
    """Stands in for `datetime.datetime`."""

    real = Datetime

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return Datetime.__new__(Datetime if cls is SimulatedDatetime else cls, *args, **kwargs)

    @classmethod
    def now(cls, tz: dates.tzinfo | None = None) -> Any:
        company = here()
        return super().now(tz) if company is None else _at(cls, EPOCH_NS + company.now_ns, tz)

    @classmethod
    def today(cls) -> Any:
        company = here()
        return super().today() if company is None else _at(cls, EPOCH_NS + company.now_ns)

    @classmethod
    def utcnow(cls) -> Any:
        company = here()
        now = super().now(dates.UTC) if company is None else _at(cls, EPOCH_NS + company.now_ns, dates.UTC)
        return now.replace(tzinfo=None)


def _at(kind: type[Datetime], instant_ns: int, tz: dates.tzinfo | None = None) -> Datetime:
    """Return an instant without the rounding of `fromtimestamp`."""
    seconds, ns = divmod(instant_ns, NS)
    return kind.fromtimestamp(seconds, tz) + dates.timedelta(microseconds=ns // 1000)


def localtime(seconds: float | None = None, /) -> time.struct_time:
    return _real_localtime(_now_s(seconds, here()))


def gmtime(seconds: float | None = None, /) -> time.struct_time:
    return _real_gmtime(_now_s(seconds, here()))


def ctime(seconds: float | None = None, /) -> str:
    return _real_ctime(_now_s(seconds, here()))


def asctime(moment: Any = None, /) -> str:
    return _real_asctime(_real_localtime(_now_s(None, here())) if moment is None else moment)


def strftime(format: str, moment: Any = None, /) -> str:
    return _real_strftime(format, _real_localtime(_now_s(None, here())) if moment is None else moment)


def _now_s(seconds: float | None, company: Any) -> float | None:
    return seconds if seconds is not None or company is None else (EPOCH_NS + company.now_ns) // NS


def restored_date(*state: Any) -> Date:
    """Return a date that was pickled while simulated time went on."""
    return Date(*state)


def restored_datetime(*state: Any) -> Datetime:
    """Return an instant that was pickled while simulated time went on."""
    return Datetime(*state)


_real_localtime, _real_gmtime, _real_ctime = time.localtime, time.gmtime, time.ctime
_real_asctime, _real_strftime = time.asctime, time.strftime

FUNCTIONS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    _real_localtime: localtime,
    _real_gmtime: gmtime,
    _real_ctime: ctime,
    _real_asctime: asctime,
    _real_strftime: strftime,
}
"""The real function → what stands in for it."""

STAND_INS: Mapping[type[Any], type[Any]] = {Date: SimulatedDate, Datetime: SimulatedDatetime}
"""The real class → what stands in for it."""

REDUCED: Mapping[type[Any], Callable[[Any], Any]] = {
    Date: lambda date: (restored_date, date.__reduce__()[1]),
    Datetime: lambda instant: (restored_datetime, instant.__reduce_ex__(4)[1]),
}
"""The real class → how its objects are pickled, for under its name pickle finds the stand-in and refuses."""
