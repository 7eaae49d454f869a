"""What must hold of every journal, whatever happened?

Each rule is a sentence of the documentation about points, events and what an HSM can do in which state.  They are read
off the raw records, in one pass.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from pytest_hsmcluster.history.events import Record

Cut = tuple[str, str, int, int]
"""From whom, to whom, and the records between which nothing gets through."""

CHANGES = ("held", "gone", "tombstoned", "attribute", "share")
BORN = {"generate_key": 1, "import_key": 1, "unwrap_key": 1, "derive_key": 1, "generate_key_pair": 2}
"""Operations that make keys → how many; any other makes none."""


def broken_rules(records: Sequence[Record], cuts: Sequence[Cut] = ()) -> Iterator[str]:
    """Yield a sentence for each rule that a journal breaks.

    Args:
        records: of the journal.
        cuts: partitions that were in force.
    """
    return (f"record {index}: {what}" for index, what in _Reader(records, cuts).wrong())


class _Reader:
    def __init__(self, records: Sequence[Record], cuts: Sequence[Cut]) -> None:
        self._records = records
        self._cuts = cuts
        self._state: dict[str, str] = {}
        self._went: dict[str, int] = defaultdict(lambda: -1)
        self._copies: dict[tuple[str | None, str], dict[str, Any]] = {}
        self._before: dict[tuple[str | None, str], list[dict[str, Any]]] = defaultdict(list)
        self._tombs: dict[tuple[str, str], None] = {}
        self._token: dict[str, bool] = {}
        self._homes: dict[str, str] = {}
        self._births: dict[int, list[str]] = defaultdict(list)
        self._called: dict[int, str] = {}
        self._ended: dict[int, str] = {}
        self._received: dict[tuple[int, str, str], int] = {}
        self._executing: dict[tuple[int, str], int] = {}
        self._unknown: dict[str, None] = {}
        self._resent: dict[int, None] = {}

    def wrong(self) -> Iterator[tuple[int, str]]:
        last_ns = 0
        for index, record in enumerate(self._records):
            if record[1] < last_ns:
                yield index, f"time runs backwards, from {last_ns} to {record[1]} ns"
            last_ns = record[1]
            rule = getattr(self, f"_{record[0]}", None)
            if rule is not None:
                for what in rule(index, *record[2:]):
                    yield index, what

    # -- operations ----------------------------------------------------------------------

    def _invoke(self, index: int, op: int, client: str, user: str, name: str, *_: Any) -> Iterator[str]:
        if op in self._called:
            yield f"operation {op} is invoked twice"
        if client in self._unknown:
            yield f"{client} goes on after an outcome that nobody knows; it has to be a new process"
        self._called[op] = name

    def _ok(self, index: int, op: int, client: str, name: str, keys: tuple[str, ...], made: Any) -> Iterator[str]:
        yield from self._end(op, "ok")
        if name in BORN and (born := self._births[op]) != list(keys) and op not in self._resent:
            yield f"{name} {op} made {born or 'nothing'} and tells of {keys}"

    def _fail(self, index: int, op: int, *_: Any) -> Iterator[str]:
        return self._end(op, "fail")

    def _info(self, index: int, op: int, client: str, *_: Any) -> Iterator[str]:
        self._unknown[client] = None
        return self._end(op, "info")

    def _end(self, op: int, outcome: str) -> Iterator[str]:
        if op in self._ended:
            yield f"operation {op} ends twice: {self._ended[op]}, {outcome}"
        self._ended[op] = outcome

    # -- points --------------------------------------------------------------------------

    def _reach(
        self,
        index: int,
        op: int,
        point: str,
        name: str,
        command: str,
        hsm: str,
        client: str,
        *_: Any,
    ) -> Iterator[str]:
        if point.startswith("hsm.") and command is not None:
            yield from self._inside(index, op, point, command, hsm)
        if point == "sync.clone" and self._state.get(hsm) != "up":
            yield f"the sweep goes to {hsm}, which is {self._state.get(hsm)}"
        if not self._cuts or client is None:
            return
        app = client.partition("#")[0]
        if point == "hsm.receive" and self._is_cut(app, hsm, index):
            yield f"{command} of {client} comes to {hsm} through a partition"
        if point == "client.receive" and self._is_cut(hsm, app, index):
            yield f"the answer of {hsm} to {command} comes to {client} through a partition"

    def _inject(self, index: int, op: int, spec: str, point: str, *_: Any) -> Iterator[str]:
        if spec.startswith(("fail 0xBB", "fail HsmBusy")) and point in ("hsm.reply", "client.receive"):
            self._resent[op] = None  # an HSM that says busy after it has done the work, as none does: it is sent again
        return iter(())

    def _inside(self, index: int, op: int, point: str, command: str, hsm: str) -> Iterator[str]:
        if self._state.get(hsm) not in ("up", "paused"):
            yield f"{hsm} is {self._state.get(hsm)} and works on {command}"
        call = (op, command, hsm)
        if point == "hsm.receive":
            self._received[call] = index
        elif self._went[hsm] > self._received.get(call, index):
            yield f"{hsm} goes on with {command} of operation {op} that it received before its power went off"
        if point == "hsm.execute":
            self._executing[op, hsm] = index
        elif point == "hsm.commit":
            self._executing.pop((op, hsm), None)

    def _is_cut(self, sender: str, receiver: str, index: int) -> bool:
        return any(a == sender and b == receiver and first <= index < last for a, b, first, last in self._cuts)

    # -- keys ----------------------------------------------------------------------------

    def _held(
        self,
        index: int,
        op: int,
        hsm: str,
        key: str,
        handle: int,
        cause: str,
        mat: str,
        token: bool,
        cls: str,
        kind: str,
        label: str,
        owner: str,
        changed: Any,
        shares: Any,
        source: str | None,
    ) -> Iterator[str]:
        yield from self._committed(op, hsm, f"{key} is held")
        if (hsm, key) in self._copies:
            yield f"{key} comes to {hsm}, which has it"
        if (hsm, key) in self._tombs:
            yield f"{key} is marked for deletion on {hsm} and comes back ({cause})"
        wanted = (
            ("up",) if cause == "sweep" else ("joining", "up") if cause in ("join", "restore") else ("up", "paused")
        )
        if self._state.get(hsm) not in wanted:
            yield f"{key} comes to {hsm} by {cause}, and it is {self._state.get(hsm)}"
        copy = {"mat": mat, "label": label, "owner": owner, "changed": dict(changed), "shares": sorted(shares)}
        if (source, key) in self._copies and cause in ("clone", "sweep"):
            # The client's copy is as old as its masked object; what was changed meanwhile is not in it.
            then = [*self._before[source, key], self._copies[source, key]][0 if cause == "clone" else -1 :]
            if copy not in then:
                yield f"{key} comes from {source} to {hsm} as it was not there: {copy}"
        if cause == "sweep" and self._is_cut(str(source), hsm, index):
            yield f"the sweep brings {key} from {source} to {hsm} through a partition"
        self._copies[hsm, key] = copy
        if key not in self._token:
            self._token[key] = token
            if cause in ("create", "import", "unwrap", "derive"):
                self._births[op].append(key)
                if len(self._births[op]) > BORN.get(self._called.get(op, ""), 0) and op not in self._resent:
                    yield f"operation {op} ({self._called.get(op)}) makes {', '.join(self._births[op])}"
        if not self._token[key] and self._homes.setdefault(key, hsm) != hsm:
            yield f"session key {key} of {self._homes[key]} comes to {hsm} by {cause}"

    def _gone(self, index: int, op: int, hsm: str, key: str, handle: int, cause: str) -> Iterator[str]:
        yield from self._committed(op, hsm, f"{key} is gone")
        if self._copies.pop((hsm, key), None) is None:
            yield f"{key} is gone from {hsm}, which did not have it"
        self._tombs.pop((hsm, key), None)

    def _tombstoned(self, index: int, op: int, hsm: str, key: str, handle: int, cause: str) -> Iterator[str]:
        yield from self._committed(op, hsm, f"{key} is marked for deletion")
        self._tombs[hsm, key] = None

    def _attribute(self, index: int, op: int, hsm: str, key: str, name: str, value: Any) -> Iterator[str]:
        yield from self._committed(op, hsm, f"{name} of {key} is changed")
        if name == "token":
            self._token[key] = bool(value)
        changed = dict(self._copies[hsm, key]["changed"])
        if isinstance(value, bool) and name in changed:
            del changed[name]
        else:
            changed[name] = value
        self._change(hsm, key, changed=changed, **({"label": value} if name == "label" else {}))

    def _share(self, index: int, op: int, hsm: str, key: str, user: str, shared: bool) -> Iterator[str]:
        yield from self._committed(op, hsm, f"{key} is shared")
        others = [one for one in self._copies[hsm, key]["shares"] if one != user]
        self._change(hsm, key, shares=sorted([*others, user] if shared else others))

    def _change(self, hsm: str, key: str, **what: Any) -> None:
        self._before[hsm, key].append(self._copies[hsm, key])
        self._copies[hsm, key] = {**self._copies[hsm, key], **what}

    def _committed(self, op: int, hsm: str, what: str) -> Iterator[str]:
        if op and (op, hsm) in self._executing:
            yield f"{what} on {hsm} before operation {op} has come to hsm.commit there"

    # -- HSMs ----------------------------------------------------------------------------

    def _down(self, index: int, hsm: str, *_: Any) -> Iterator[str]:
        self._went[hsm] = index
        for held in [key for of, key in self._copies if of == hsm and not self._token[key]]:
            yield f"{hsm} is off and has session key {held}"
        yield from self._becomes(hsm, "down")

    def _lost(self, index: int, hsm: str, *_: Any) -> Iterator[str]:
        self._went[hsm] = index
        for held in [key for of, key in self._copies if of == hsm]:
            yield f"{hsm} is lost and has {held}"
        yield from self._becomes(hsm, "lost")

    def _up(self, index: int, hsm: str, *_: Any) -> Iterator[str]:
        return self._becomes(hsm, "up")

    def _paused(self, index: int, hsm: str, *_: Any) -> Iterator[str]:
        return self._becomes(hsm, "paused")

    def _joining(self, index: int, hsm: str, *_: Any) -> Iterator[str]:
        return self._becomes(hsm, "joining")

    def _joined(self, index: int, hsm: str, *_: Any) -> Iterator[str]:
        return self._becomes(hsm, "up")

    def _becomes(self, hsm: str, state: str) -> Iterator[str]:
        if self._state.get(hsm) == "lost":
            yield f"{hsm} is lost for good and becomes {state}"
        self._state[hsm] = state
        for call in [call for call in self._executing if call[1] == hsm and state in ("down", "lost")]:
            del self._executing[call]
