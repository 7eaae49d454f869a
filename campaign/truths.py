"""Does what an application is told agree with what is really on the HSMs?

Each rule compares the answer to one call with the key stores before and after it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pytest_hsmcluster import ClusterError, KeyHandle, KeyPair
from pytest_hsmcluster.history.events import Record
from pytest_hsmcluster.stories.playing import Player, Told
from pytest_hsmcluster.stories.story import CHAOS, Shape

from .journal import BORN
from .view import ALIVE, View

S = 1_000_000_000
INFRASTRUCTURE = ("RequestTimeout", "HsmUnavailable", "HsmBusy", "TooFewCopies", "KeyUnavailable", "ApplicationDied")


class Truths:
    """The rules, for the stories of one cluster.

    Attributes:
        failed: operation → what it was, for creates that certainly did not happen.
        cut: whether a partition was ever in force.
    """

    def __init__(self, shape: Shape, player: Player) -> None:
        self.shape = shape
        self.player = player
        self.settings = dict(shape.settings)
        self.failed: dict[int, str] = {}
        self.cut = False

    def of_step(self, told: Told, records: Sequence[Record], before: View, after: View) -> Iterator[str]:
        """Yield what is wrong with one step.

        Args:
            told: what came of it.
            records: that were written meanwhile.
            before, after: the key stores.
        """
        yield from self._of_hsms(after)
        if told.step.on == CHAOS:
            self.cut = self.cut or "partition" in str(told.step)
            yield from self._of_trouble(told, before, after)
        if told.step.on in self.player.things and hasattr(self.player.things[told.step.on], "find_keys"):
            yield from self._of_call(told, records, before, after)

    def at_the_end(self, records: Sequence[Record], after: View) -> Iterator[str]:
        """Yield the keys that nobody should ever have seen."""
        born: dict[str, int] = {}
        for record in records:
            if record[0] == "held":
                born.setdefault(record[4], record[2])
        swept = _swept(records)
        for hsm, held in after.keys.items():
            for key in held.values():
                if born.get(key.name, 0) in self.failed and key.name not in swept:
                    yield f"{key.name} is on {hsm}, and {self.failed[born[key.name]]} certainly did not happen"

    # -- HSMs ----------------------------------------------------------------------------

    def _of_hsms(self, view: View) -> Iterator[str]:
        cluster = self.player.cluster
        living = sum(getattr(one, "alive", False) and hasattr(one, "find_keys") for one in self.player.things.values())
        # One that could not log in is alive all the same, and perhaps logged in without knowing it.
        living += sum(one.step.does == "client" and one.error is not None for one in self.player.told)
        for hsm, held in view.keys.items():
            one = cluster.hsm(hsm)
            if len(held) + len(view.tombstones[hsm]) > one.store.capacity:
                yield f"{hsm} holds more keys than its capacity {one.store.capacity}"
            if view.states[hsm] not in ALIVE and any(not key.token for key in held.values()):
                yield f"{hsm} is {view.states[hsm]} and has session keys"
            if view.states[hsm] not in ALIVE and one.session_count:
                yield f"{hsm} is {view.states[hsm]} and has {one.session_count} sessions"
            if not self.cut and one.session_count > living:
                yield f"{hsm} has {one.session_count} sessions, and {living} applications live"
        yield from self._of_copies(view)

    def _of_copies(self, view: View) -> Iterator[str]:
        known: dict[int, Any] = {}
        for hsm, held in view.keys.items():
            for handle, key in held.items():
                first, mine = known.setdefault(handle, key), (key.name, key.owner)
                if (first.name, first.owner) != mine or first.material.encoded != key.material.encoded:
                    yield f"handle {handle} is another key on {hsm}: {mine}, and elsewhere {first.name, first.owner}"

    def _of_trouble(self, told: Told, before: View, after: View) -> Iterator[str]:
        """Yield what a hardship did that it does not say."""
        spec = str(told.step.args[0]) if told.step.args else ""
        if told.error is not None or told.step.does != "install":
            return
        for hsm, state in after.states.items():
            named = hsm in spec or "az-outage" in spec or "rolling-restart" in spec or "during" in spec
            if before.states.get(hsm) in ALIVE and state not in ALIVE and not named:
                yield f"{spec} changes {hsm}, which it does not name, from {before.states[hsm]} to {state}"
            if "user-drift" in spec and hsm not in spec and before.users.get(hsm) != after.users[hsm]:
                yield f"{spec} changes the users of {hsm}: {before.users.get(hsm)}, {after.users[hsm]}"

    # -- calls ---------------------------------------------------------------------------

    def _of_call(self, told: Told, records: Sequence[Record], before: View, after: View) -> Iterator[str]:
        does, error = told.step.does, told.error
        mine = [record for record in records if record[0] == "invoke" and record[5] == does]
        if not mine:
            if does not in ("digest", "close") and not isinstance(error, Exception):
                yield f"{told.step} left no invoke in the journal"
            return
        op = mine[-1][2]
        yield from self._outcome(told, op, records)
        sends = [r for r in records if r[0] == "reach" and r[2] == op and r[3] == "client.send"]
        struck = [r for r in records if r[0] == "inject" and r[2] == op]
        most_s = 700 + 120 * (len(sends) + len(struck))
        if after.at_ns - before.at_ns > most_s * S:
            yield f"{told.step} took {(after.at_ns - before.at_ns) // S} s"
        if isinstance(error, ClusterError):
            yield from self._error(told, error, op, sends, struck, records, before, after)
        if does in BORN:
            yield from self._create(told, op, records, struck, before, after)
        elif does == "delete_key":
            yield from self._delete(told, op, records, struck, before, after)
        elif does == "find_keys" and error is None:
            yield from self._find(told, op, records, struck, before, after)

    def _outcome(self, told: Told, op: int, records: Sequence[Record]) -> Iterator[str]:
        """The journal says what the application was told."""
        ends = [r for r in records if r[0] in ("ok", "fail", "info") and r[2] == op]
        error = told.error
        if len(ends) != 1:
            yield f"{told.step} ended {len(ends)} times"
        elif error is None:
            if ends[0][0] != "ok":
                yield f"{told.step} was ok, and the journal says {ends[0][0]}"
        elif isinstance(error, ClusterError):
            said = (ends[0][0], ends[0][5], ends[0][6])
            meant = (error.outcome, type(error).__name__, int(error.ckr))
            if said != meant:
                yield f"the application was told {meant} of {told.step}, and the journal says {said}"

    def _error(
        self,
        told: Told,
        error: ClusterError,
        op: int,
        sends: list[Record],
        struck: list[Record],
        records: Sequence[Record],
        before: View,
        after: View,
    ) -> Iterator[str]:
        name, hsm, step = type(error).__name__, error.hsm, told.step
        if name == "ApplicationDied" and error.outcome != "info":
            yield f"{step}: an application that died cannot know; told {error.outcome}"
        there = hsm is not None and before.states.get(hsm) == after.states.get(hsm)
        went = any(r[0] in ("down", "lost", "paused", "up") and r[2] == hsm for r in records)
        quiet = there and not went and not struck
        if name == "HsmUnavailable" and error.outcome == "fail" and quiet and before.states[str(hsm)] in ALIVE:
            yield f"{step}: {hsm} refused, and is {before.states[str(hsm)]}"
        if name == "KeyNotOnHsm" and quiet and getattr(error, "handle", None) in before.keys.get(str(hsm), {}):
            key = before.keys[str(hsm)][error.handle]  # type: ignore[attr-defined]
            if error.handle in after.keys[str(hsm)] and key.token:  # type: ignore[attr-defined]
                yield f"{step}: {hsm} says that it has no {key.name}, and has it"
        if name == "LoginFailed" and step.does == "login" and not struck:
            done = {r[6]: None for r in records if r[0] == "reach" and r[2] == op and r[3] == "hsm.reply"}
            for other in [other for other in _answered(records, op, "login") if other in done and other != hsm]:
                yield f"{step}: {hsm} decided, and {other} had let the user in"
        if name == "KeyCapacityReached" and quiet:
            held = len(before.keys[str(hsm)]) + len(before.tombstones[str(hsm)])
            store = self.player.cluster.hsm(str(hsm)).store
            room = store.capacity - held
            if room >= BORN.get(step.does, 0) and not store.disk_full:
                yield f"{step}: {hsm} is full, and has room for {room}"
        if name == "HsmBusy" and step.does not in (
            "delete_key",
            "find_keys",
            "share_key",
            "unshare_key",
            "set_attribute",
        ):
            asked = sum(r[5] == step.does and r[6] == hsm for r in sends)
            retries = self.settings.get("retry_mode", "standard") == "standard" and self.shape.sdk == 5
            if not struck and step.does != "login" and hsm is not None and asked != (4 if retries else 1):
                yield f"{step}: {hsm} was busy and was asked {asked} times by SDK {self.shape.sdk}"

    def _create(
        self, told: Told, op: int, records: Sequence[Record], struck: list[Record], before: View, after: View
    ) -> Iterator[str]:
        error, step = told.error, told.step
        if error is None:
            handles = [told.result.public, told.result.private] if isinstance(told.result, KeyPair) else [told.result]
            for handle in handles:
                yield from self._made(told, handle, struck, records, before, after)
            return
        if not isinstance(error, ClusterError):
            return
        lied = any(r[3].startswith(("fail KeyNotOnHsm", "fail 0xA8")) for r in struck)
        if error.outcome == "fail" and not lied:  # what an HSM says that it has not need not be removed there
            self.failed[op] = str(step)
            swept = _swept(records)
            made = {r[4]: None for r in records if r[0] == "held" and r[2] == op and r[4] not in swept}
            for hsm in after.keys:
                for key in after.keys[hsm].values():
                    if key.name in made:
                        yield f"{step} certainly did not happen, and {key.name} is on {hsm}"
        if type(error).__name__ == "TooFewCopies":
            needed = self._needed(told)
            if error.needed != needed or error.copies >= needed:  # type: ignore[attr-defined]
                yield f"{step}: {error.copies} of {error.needed} copies are too few; {needed} were wanted"  # type: ignore[attr-defined]
            if bool(error.leftovers) != (error.outcome == "info"):  # type: ignore[attr-defined]
                yield f"{step} left copies on {error.leftovers or 'no HSM'}, and its outcome is {error.outcome}"  # type: ignore[attr-defined]

    def _needed(self, told: Told) -> int:
        return max(self.shape.minimum or 1, dict(told.step.options).get("min_srv") or 1)

    def _made(
        self, told: Told, handle: KeyHandle, struck: list[Record], records: Sequence[Record], before: View, after: View
    ) -> Iterator[str]:
        holders, step = after.holders(handle.number), told.step
        gone = [hsm for hsm, state in after.states.items() if state == "lost" and before.states.get(hsm) != "lost"]
        options = dict(step.options)
        if handle.label != options.get("label", "") or handle.token is not options.get("token", True):
            yield f"{step} gives {handle}"
        if not handle.token:
            if len(holders) > 1:
                yield f"{step}: a session key is on {', '.join(holders)}"
            return
        needed = self._needed(told) if self.shape.sdk == 3 else 1
        checked = self.shape.sdk == 5 and self.settings.get("availability_check", True)
        if checked:
            needed = 2
            reported = any(r[4] == "client.report" for r in struck)
            alive = [hsm for hsm in holders if after.states[hsm] in ALIVE]
            told_of_resets = self.settings.get("crash_peer", "reset") == "reset" and not self.cut
            if told_of_resets and not reported and len(alive) < needed:
                yield f"{step} was ok with {len(alive)} copies on HSMs that run"
        if len(holders) + len(gone) < needed:
            yield f"{step} was ok with {len(holders)} of {needed} copies: {', '.join(holders) or 'none'}"

    def _delete(
        self, told: Told, op: int, records: Sequence[Record], struck: list[Record], before: View, after: View
    ) -> Iterator[str]:
        handle = _handle(self.player, told)
        if handle is None:
            return
        error, step = told.error, told.step
        answered = _answered(records, op, "delete_key")
        brought = {r[3]: None for r in records if r[0] == "held" and r[5] == handle}
        lied = {r[5]: None for r in struck if r[3].startswith("fail ")}  # the answer was not the HSM's own
        still = [hsm for hsm in after.holders(handle) if hsm in answered and hsm not in brought and hsm not in lied]
        if error is None and still:
            yield f"{step} was ok, and {', '.join(still)} still has the key"
        if isinstance(error, ClusterError) and error.outcome == "fail" and not lied:
            for record in records:
                if record[0] == "gone" and record[2] == op and record[5] == handle and record[6] == "delete":
                    yield f"{step} certainly did not happen, and {record[3]} has lost the key"

    def _find(
        self, told: Told, op: int, records: Sequence[Record], struck: list[Record], before: View, after: View
    ) -> Iterator[str]:
        found = {handle.number: None for handle in told.result}
        there = {handle for view in (before, after) for held in view.keys.values() for handle in held}
        for handle in found:
            if handle not in there:
                yield f"{told.step} found {handle}, which no HSM has"
        user = next((r[4] for r in records if r[0] == "invoke" and r[2] == op), None)
        label = dict(told.step.options).get("label")
        answered = _answered(records, op, "find_keys")
        refused = {r[5]: None for r in struck} | {
            hsm.id: None for hsm in self.player.cluster.hsms if hsm.throttled or "queue_limit" in self.settings
        }
        for hsm in answered:
            for handle, key in after.keys[hsm].items():
                fits = key.token and label in (None, key.label) and key.usable_by(str(user))
                if fits and handle not in found and hsm not in refused and handle in before.keys.get(hsm, {}):
                    yield f"{told.step} did not find {key.name}, which {hsm} has"
        for handle in told.result:
            for key in after.copies(handle.number):
                if not (user == key.owner or user in key.shares or key.cls == "public"):
                    yield f"{told.step} found {key.name} of {key.owner}, and {user} may not see it"


def _swept(records: Sequence[Record]) -> dict[str, None]:
    """Return the keys that the service has copied.

    Its sweep may come in the middle of a create and bring a key where the client, which cleans up afterwards, does not
    look: what is left then is an orphan, and the client knows nothing of it.
    """
    return {r[4]: None for r in records if r[0] == "held" and r[6] in ("sweep", "join", "restore")}


def _answered(records: Sequence[Record], op: int, command: str) -> dict[str, None]:
    """Return the HSMs from which an answer to a command came back."""
    wanted = ("client.receive", command)
    return {r[6]: None for r in records if r[0] == "reach" and r[2] == op and (r[3], r[5]) == wanted}


def _handle(player: Player, told: Told) -> int | None:
    """Return the handle that a step is about."""
    ref = told.step.args[0]
    thing = player.things.get(ref.name)
    if ref.part:
        thing = getattr(thing, ref.part, None)
    return thing.number if isinstance(thing, KeyHandle) else None
