"""Which faults should have struck, and where?

Counted once more from the journal: every passage that a fault's names and window match advances its count, and of
those that strike the one that was installed first is performed (docs/faults.md, "Counting").  Faults with dice, and
those that name a key, are left to other tests, and with them whatever else was installed at their points.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_hsmcluster.faults.spec import Fault
from pytest_hsmcluster.history.events import Record

CARRIERS = {"wire.request": "insert_masked", "wire.response": "extract_masked"}
FACTS = {"op": 4, "command": 5, "hsm": 6, "client": 7, "user": 8, "key": 9}


@dataclass(slots=True)
class Installed:
    """A fault, and between which records it was in force.

    Attributes:
        fault: what it is.
        first: how many records there were when it was installed; last: when it was taken out.
        at_ns: when it was installed.
        certain: whether this can be told.
    """

    fault: Fault
    first: int
    last: int
    at_ns: int
    certain: bool = True
    counts: dict[Any, int] = field(default_factory=lambda: defaultdict(int))

    def strikes(self, record: Record, index: int) -> bool:
        """Count a passage of its point, and say whether it strikes there."""
        fault, when = self.fault, self.fault.when
        if not self.first <= index < self.last:
            return False
        for name in ("op", "command", "hsm", "client", "user"):
            wanted, value = getattr(when, name), record[FACTS[name]]
            if wanted is not None and wanted not in (value, _application(value) if name == "client" else value):
                return False
        if str(fault.effect) == "corrupt payload" and record[5] != CARRIERS[record[3]]:
            return False
        if isinstance(when.during, tuple) and not when.during[0] <= record[1] - self.at_ns < when.during[1]:
            return False
        if when.nth is None:
            return True
        scope = record[2] if when.per == "op" else when.per and record[FACTS[when.per]]
        scope = _application(scope) if when.per == "client" else scope
        self.counts[scope] += 1
        return self.counts[scope] == when.nth


def miscounted(installed: Sequence[Installed], records: Sequence[Record]) -> Iterator[str]:
    """Yield a sentence for each passage at which another fault struck than should have, or none, or one too many."""
    by_point: dict[str, list[Installed]] = defaultdict(list)
    for one in installed:
        by_point[one.fault.point].append(one)
    countable = {point: found for point, found in by_point.items() if all(map(_is_countable, found))}
    for index, record in enumerate(records):
        if record[0] != "reach" or record[3] not in countable:
            continue
        striking = [one for one in countable[record[3]] if one.strikes(record, index)]
        following = records[index + 1] if index + 1 < len(records) else ("",)
        struck = following[3] if following[0] == "inject" and following[4] == record[3] else None
        wanted = str(striking[0].fault) if striking else None
        if struck != wanted:
            yield f"record {index}, {record[3]}: {struck or 'nothing'} struck, and not {wanted or 'nothing'}"


def _is_countable(one: Installed) -> bool:
    when = one.fault.when
    return one.certain and when.chance is None and when.key is None


def _application(client: str | None) -> str | None:
    return client and client.partition("#")[0]
