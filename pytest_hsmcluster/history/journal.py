"""Where is it written down what happens?"""

from .events import FIELDS, Record


class Journal:
    """An append-only list of records.

    `append` is the list's own method: a record is a plain tuple `(kind, at_ns, *fields)`,
    and writing one costs what building the tuple costs.
    """

    __slots__ = ("append", "op", "records")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.append = self.records.append
        self.op = 0

    def next_op(self) -> int:
        """Return the number of a new operation, from 1."""
        self.op += 1
        return self.op

    def __len__(self) -> int:
        return len(self.records)


def well_formed(record: Record) -> bool:
    """Whether a record has a known kind, an instant, and exactly the fields of its kind."""
    if len(record) < 2 or not isinstance(record[0], str) or not isinstance(record[1], int):
        return False
    # Asked of the table, not of the enum: Python 3.11 refuses `"up" in Kind`.
    fields = FIELDS.get(record[0])  # type: ignore[call-overload]
    return fields is not None and len(record) == 2 + len(fields)
