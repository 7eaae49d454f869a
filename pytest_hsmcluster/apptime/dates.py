"""What is today while an application lives in simulated time?

`datetime.datetime` and `datetime.date` cannot be changed, so other classes stand in for them.  These make real dates
and are satisfied with real ones; they only read another clock.
"""

import datetime as dates
from collections.abc import Mapping
from datetime import date as Date
from datetime import datetime as Datetime
from typing import Any

from ..sim.clock import NS
from .callers import here
from .clocks import EPOCH_NS


class LikeReal(type):
    """Takes real dates for its own."""

    real: type[Any]

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.real)


class SimulatedDate(Date, metaclass=LikeReal):
    """Stands in for `datetime.date`."""

    real = Date

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return Date(*args, **kwargs)

    @classmethod
    def today(cls) -> Any:
        company = here()
        return Date.today() if company is None else _local(EPOCH_NS + company.now_ns).date()


class SimulatedDatetime(Datetime, metaclass=LikeReal):
    """Stands in for `datetime.datetime`."""

    real = Datetime

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return Datetime(*args, **kwargs)

    @classmethod
    def now(cls, tz: dates.tzinfo | None = None) -> Any:
        company = here()
        return Datetime.now(tz) if company is None else _local(EPOCH_NS + company.now_ns, tz)

    @classmethod
    def today(cls) -> Any:
        company = here()
        return Datetime.today() if company is None else _local(EPOCH_NS + company.now_ns)

    @classmethod
    def utcnow(cls) -> Any:
        company = here()
        if company is None:
            return Datetime.now(dates.UTC).replace(tzinfo=None)
        return _local(EPOCH_NS + company.now_ns, dates.UTC).replace(tzinfo=None)


def _local(instant_ns: int, tz: dates.tzinfo | None = None) -> Datetime:
    """Return an instant without the rounding of `fromtimestamp`."""
    seconds, ns = divmod(instant_ns, NS)
    return Datetime.fromtimestamp(seconds, tz) + dates.timedelta(microseconds=ns // 1000)


STAND_INS: Mapping[type[Any], type[Any]] = {Date: SimulatedDate, Datetime: SimulatedDatetime}
"""The real class → what stands in for it."""
