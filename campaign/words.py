"""What do the words of the checks mean, read off a journal as naively as they are defined?

An index would be faster; here each word is its sentence and nothing more, so that the checks,
which share work between them, can be held against it on any story.
"""

from collections import defaultdict
from collections.abc import Iterable

from pytest_hsmcluster.history.events import BIRTHS, Event, Kind

CREATES = ("generate_key", "generate_key_pair", "import_key", "unwrap_key", "derive_key")


class Words:
    """The words, each a method that says which keys it holds for at the end of a history."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.invoked: dict[int, Event] = {}
        self.ended: dict[int, Event] = {}
        self.oks: list[Event] = []
        self.born: dict[str, Event] = {}
        self.label: dict[str, str] = {}
        self.token: dict[str, bool] = {}
        self.state: dict[str, str] = {}
        self.came_up: dict[str, list[int]] = defaultdict(list)
        self.cleaned_up: dict[str, None] = {}
        self.copies: dict[str, dict[str, Event]] = defaultdict(dict)
        for event in events:
            self._read(event)

    def _read(self, event: Event) -> None:
        if event.kind is Kind.INVOKE:
            self.invoked[event.op] = event
        elif event.kind in (Kind.OK, Kind.FAIL, Kind.INFO):
            self.ended[event.op] = event
            if event.kind is Kind.OK:
                self.oks.append(event)
        elif event.kind is Kind.HELD:
            if event.key not in self.born:
                self.born[event.key], self.label[event.key], self.token[event.key] = event, event.label, event.token
            self.copies[event.hsm][event.key] = event
        elif event.kind in (Kind.GONE, Kind.TOMBSTONED):
            self.copies[event.hsm].pop(event.key, None)  # a tombstoned copy does not hold
            if event.cause == "cleanup" and not self.holders(event.key):
                self.cleaned_up[event.key] = None
        elif event.kind is Kind.ATTRIBUTE and event.name in ("label", "token"):
            getattr(self, event.name)[event.key] = event.value
        elif event.kind in (Kind.UP, Kind.DOWN, Kind.PAUSED, Kind.LOST, Kind.JOINING, Kind.JOINED):
            state = "up" if event.kind is Kind.JOINED else str(event.kind)
            if state == "up" and self.state.get(event.hsm) != "up":
                self.came_up[event.hsm].append(event.index)
            self.state[event.hsm] = state

    # -- words that others are made of ---------------------------------------------------

    def holders(self, key: str, *states: str) -> list[str]:
        """HSMs that hold a key, in any of these states; without any, all that are not lost."""
        wanted = states or ("up", "paused", "down", "joining")
        return [hsm for hsm, copies in self.copies.items() if key in copies and self.state[hsm] in wanted]

    def outcome(self, op: int) -> str:
        return str(self.ended[op].kind) if op in self.ended else "open"

    def deletes(self, key: str) -> list[int]:
        return [op for op, call in self.invoked.items() if call.name == "delete_key" and call.key == key]

    def token_keys(self) -> list[str]:
        return [key for key in self.born if self.token[key]]

    def told(self, key: str) -> bool:
        return any(key in ok.keys and ok.name in (*CREATES, "find_keys") for ok in self.oks)

    def acknowledged(self, key: str) -> bool:
        if any(ok.name in CREATES and key in ok.keys for ok in self.oks):
            return True
        found = [ok.index for ok in self.oks if ok.name == "find_keys" and key in ok.keys]
        return any(found and found[0] < use.index and key in self._relied_on(use) for use in self.oks)

    def _relied_on(self, use: Event) -> list[str]:
        if use.name in ("find_keys", "get_attributes", "delete_key"):
            return []
        return [*use.keys, *use.made[2:], self.invoked[use.op].key]

    def removed(self, key: str) -> bool:
        return key in self.cleaned_up or any(self.outcome(op) != "fail" for op in self.deletes(key))

    # -- words that checks look for --------------------------------------------------------

    def lost(self) -> list[str]:
        relied_on = [key for key in self.token_keys() if self.acknowledged(key) and not self.removed(key)]
        return [key for key in relied_on if not self.holders(key)]

    def at_risk(self, needed: int) -> list[str]:
        relied_on = [key for key in self.token_keys() if self.acknowledged(key) and not self.removed(key)]
        return [key for key in relied_on if len(self.holders(key, "up", "paused")) < needed]

    def orphans(self) -> list[str]:
        made_here = [key for key in self.token_keys() if self.born[key].cause in BIRTHS]
        untold = [key for key in made_here if self.born[key].op in self.ended and not self.told(key)]
        return [key for key in untold if self.holders(key)]

    def resurrected(self) -> list[str]:
        return [
            key
            for key in self.token_keys()
            if any(
                self._came_back(key, hsm, self.invoked[op].index)
                for op in self.deletes(key)
                if self.outcome(op) == "ok"
                for hsm in self.holders(key)
            )
        ]

    def _came_back(self, key: str, hsm: str, deleted: int) -> bool:
        held = self.copies[hsm][key]
        brought = held.index > deleted and held.cause in ("sweep", "join", "restore")
        return brought or any(up > max(deleted, held.index) for up in self.came_up[hsm])

    def same_labels(self) -> list[list[str]]:
        """Groups of live births that cannot be told apart."""
        groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for key in self.token_keys():
            born = self.born[key]
            deleted = any(self.outcome(op) == "ok" for op in self.deletes(key))
            alive = self.holders(key, "up", "paused") if deleted else self.holders(key)
            if born.cause in BIRTHS and self.label[key] and alive:
                groups[born.owner, born.cls, born.key_kind, self.label[key]].append(key)
        return [keys for keys in groups.values() if len(keys) > 1]

    def duplicates(self) -> list[list[str]]:
        made_ok = [key for key, born in self.born.items() if self.outcome(born.op) == "ok"]
        return [keys for keys in self.same_labels() if not all(key in made_ok for key in keys)]

    def unopenable_data(self) -> list[int]:
        """Ordinals of ciphertexts and wrapped keys that nobody can open, deleted keys included."""
        closable = {born.mat for born in self.born.values() if born.cls != "public"}
        openable = {
            born.mat
            for key, born in self.born.items()
            if born.cls != "public" and (born.cause == "import" or self.holders(key))
        }
        before = -1
        while before != len(openable):
            before = len(openable)
            for outer, inner in self._wraps():
                if outer in openable:
                    openable.add(inner)
        made = [(ok.made[1], self.invoked[ok.op].key) for ok in self.oks if ok.made]
        mats = [(number, self.born[key].mat) for number, key in made if key in self.born]
        return [number for number, mat in mats if mat in closable and mat not in openable]

    def _wraps(self) -> list[tuple[str, str]]:
        """Pairs of materials: the second was in an `ok` blob under the first."""
        pairs = [
            (self.invoked[ok.op].key, key) for ok in self.oks if ok.made[:1] == ("wrapped",) for key in ok.made[2:]
        ]
        pairs += [(self.invoked[born.op].key, key) for key, born in self.born.items() if born.cause == "unwrap"]
        return [
            (self.born[outer].mat, self.born[key].mat)
            for outer, key in pairs
            if outer in self.born and key in self.born
        ]
