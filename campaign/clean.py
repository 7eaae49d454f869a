"""What must come of a story in which nothing goes wrong?

A model of a cluster without HSMs: a table of keys and who is logged in.  It says of each call whether it is ok, or what
kind of error it gets, how long it takes, and which keys there are afterwards, on every HSM.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_hsmcluster import CKA, KeyPair
from pytest_hsmcluster.client.blocking import Client
from pytest_hsmcluster.history.events import Record
from pytest_hsmcluster.stories.drawing import SHAPES
from pytest_hsmcluster.stories.playing import Player, Told
from pytest_hsmcluster.stories.story import CLUSTER, Ref, Shape, Step, Story

from .journal import BORN
from .view import View

PATIENT = tuple(shape for shape in SHAPES if not {"create_returns", "queue_limit"} & dict(shape.settings).keys())
"""Clusters in which a create that has returned is done."""

WIRE_AND_WORK_NS = 2_000_000
"""Both ways on the wire and the work of an HSM: a signature takes 2 ms."""


@dataclass(slots=True)
class Key:
    """A key as the model knows it.

    Attributes:
        handle: its number.
        label: as it was set last; cls: `secret`, `private`, `public`.
        owner: user; shares: users it is shared with.
        home: the application in whose session it lives, or None for a token key.
        gone: whether it was deleted, or its session ended.
        may_encrypt: CKA_ENCRYPT.
        born_ns: when its create returned.
    """

    handle: int
    label: str
    cls: str
    owner: str
    home: str | None
    born_ns: int
    shares: dict[str, None] = field(default_factory=dict)
    gone: bool = False
    may_encrypt: bool = True

    def visible(self, app: str, user: str) -> bool:
        """Whether a user sees it from an application."""
        mine = user == self.owner or user in self.shares or self.cls == "public"
        return not self.gone and mine and self.home in (None, app)


class Model:
    """The table, and what it says of each step.

    Attributes:
        users: application → who is logged in there, or None.
        keys: handle → key.
    """

    def __init__(self, shape: Shape, player: Player) -> None:
        self.shape = shape
        self.player = player
        self.settings = dict(shape.settings)
        self.users: dict[str, str | None] = {}
        self.keys: dict[int, Key] = {}
        self._asked: Counter[str] = Counter()
        self._known: dict[str, None] = {}

    def of_step(self, told: Told, records: Sequence[Record], after: View) -> Iterator[str]:
        """Yield what one step came to that it should not have."""
        step, error = told.step, told.error
        if step.on == CLUSTER and step.does == "client":
            self.users[str(step.gives)] = "crypto_user"
        elif step.on == CLUSTER and step.does == "create_user":
            self._known[step.args[0]] = None
        if error is not None and not told.refused and "injected" in str(error):
            yield f"{step} met a fault, and there is none"
        if step.on not in self.users:
            yield from self._contents(told, after)
            return
        for record in records:
            if record[0] == "reach" and record[3] == "client.send" and record[5] in ("sign", "encrypt", "random"):
                self._asked[record[6]] += 1
        expected, name = self._expected(step), "ok" if error is None else type(error).__name__
        if name not in expected:
            yield f"{step} came to {name} ({error}), and not to {' or '.join(expected)}, and nothing was wrong"
        if error is None:
            yield from self._done(told, after)
        took_ns = after.at_ns - told.at_ns
        if error is None and step.does == "random" and took_ns != WIRE_AND_WORK_NS:
            yield f"{step} took {took_ns} ns"
        yield from self._everywhere(step, records, after)
        yield from self._contents(told, after)

    def at_the_end(self, after: View) -> Iterator[str]:
        """Calls go to all HSMs alike."""
        total, hsms = sum(self._asked.values()), len(after.states)
        if self.settings.get("routing", "round_robin") == "round_robin" and total >= 4 * hsms:
            for hsm in [hsm for hsm, state in after.states.items() if state == "up"]:
                if not self._asked[hsm] and hsm in self.shape.ids:
                    yield f"{hsm} was asked nothing, of {total} calls"

    # -- what is expected ----------------------------------------------------------------

    def _expected(self, step: Step) -> tuple[str, ...]:
        app, does = step.on, step.does
        user = self.users[app]
        if does == "login":
            return self._login(step)
        values = (*step.args, *(value for _, value in step.options))
        keys = [key for key in map(self._key, values) if key is not None]
        if user is None:
            return ("NotLoggedIn", *(("KeyNotOnHsm",) if any(key.home for key in keys) else ()))
        if not keys:
            return ("ok",)
        if len([key for key in keys if key.home]) > 1:
            return (*self._about(app, user, step, keys), "KeyNotOnHsm")  # two sessions' keys may be on two HSMs
        return self._about(app, user, step, keys)

    def _login(self, step: Step) -> tuple[str, ...]:
        name, password = step.args
        if self.users[step.on] is not None:
            return ("LoginFailed",)
        right = password != "wrong-password" and (name == "crypto_user" or name in self._known)
        return ("ok",) if right else ("LoginFailed",)

    def _about(self, app: str, user: str, step: Step, keys: list[Key]) -> tuple[str, ...]:
        """Return what a call about keys comes to: the first reason to refuse it, or ok."""
        does = step.does
        if any(key.gone or key.home not in (None, app) for key in keys):
            return ("KeyNotOnHsm",)  # nobody sees another session's keys, on any HSM
        owned = does in ("delete_key", "set_attribute", "share_key", "unshare_key")
        refused = [key for key in keys if user != key.owner and (owned or not key.visible(app, user))]
        if refused:
            return ("KeyAccessDenied",)
        if does == "wrap_key" and user != keys[0].owner:
            return ("KeyAccessDenied",)
        late = ("KeyNotOnHsm",) if any(self._is_late(key) for key in keys) else ()
        return (*late, *self._allowed(step, keys))

    def _is_late(self, key: Key) -> bool:
        """Whether copies of a key may still be under way: its create returned as soon as there were enough."""
        return self.player.cluster.clock.now_ns - key.born_ns < 1_000_000_000

    def _allowed(self, step: Step, keys: list[Key]) -> tuple[str, ...]:
        does, key = step.does, keys[0]
        if does == "encrypt":
            return ("ok",) if key.may_encrypt else ("KeyFunctionNotPermitted",)
        if does == "decrypt":
            aad = next((one for one in self.player.told if one.step.gives == step.args[1].name), None)
            plain = aad is not None and not dict(aad.step.options).get("aad")
            return ("ok",) if plain else ("DataInvalid",)
        if does == "verify":
            return ("ok",) if step.args[1] == b"data" else ("SignatureInvalid",)
        if does == "set_attribute" and key.cls != "secret":
            return ("ok", "TemplateInvalid")
        if does in ("share_key", "unshare_key"):
            return ("ok",)
        if does == "wrap_key" and key.cls == "public":
            return ("ok", "KeyUnextractable", "KeyFunctionNotPermitted", "DataInvalid", "MechanismInvalid")
        if does == "unwrap_key":
            return ("ok", "DataInvalid", "TemplateInvalid")  # a wrapped private key is no AES key
        return ("ok",)

    def _key(self, value: Any) -> Key | None:
        if not isinstance(value, Ref) or value.name not in self.player.things:
            return None
        thing = self.player.things[value.name]
        handle = getattr(thing, value.part, None) if value.part else thing
        return self.keys.get(getattr(handle, "number", -1))

    # -- what follows --------------------------------------------------------------------

    def _done(self, told: Told, after: View) -> Iterator[str]:
        step, app = told.step, told.step.on
        if step.does == "login":
            self.users[app] = step.args[0]
        elif step.does == "logout":
            self.users[app] = None
            self._end_session(app)
        elif step.does in BORN:
            made = [told.result.public, told.result.private] if isinstance(told.result, KeyPair) else [told.result]
            for handle in made:
                home = None if handle.token else app
                label = dict(step.options)["label"]
                self.keys[handle.number] = Key(
                    handle.number, label, handle.cls, str(self.users[app]), home, after.at_ns
                )
        elif step.does == "find_keys":
            yield from self._found(told)
        elif step.does in ("delete_key", "share_key", "unshare_key", "set_attribute"):
            self._change(step)

    def _change(self, step: Step) -> None:
        key = self._key(step.args[0])
        if key is None:
            return
        if step.does == "delete_key":
            key.gone = True
        elif step.does == "share_key":
            key.shares[dict(step.options)["with_user"]] = None
        elif step.does == "unshare_key":
            key.shares.pop(dict(step.options)["with_user"], None)
        elif step.args[1] is CKA.LABEL:
            key.label = step.args[2]
        elif step.args[1] is CKA.ENCRYPT:
            key.may_encrypt = step.args[2]
        elif step.args[1] is CKA.TOKEN:
            key.home, key.born_ns = None, 1 << 62  # on one HSM until the service's next round

    def _end_session(self, app: str) -> None:
        for key in self.keys.values():
            key.gone = key.gone or key.home == app

    def _found(self, told: Told) -> Iterator[str]:
        app, label = told.step.on, dict(told.step.options).get("label")
        user = str(self.users[app])
        meant = [key.handle for key in self.keys.values() if key.visible(app, user) and label in (None, key.label)]
        found = [handle.number for handle in told.result]
        if found != sorted(meant):
            yield f"{told.step} found {found}, and {sorted(meant)} are there for {user}"

    def _everywhere(self, step: Step, records: Sequence[Record], after: View) -> Iterator[str]:
        """What is asked of all HSMs is asked of all."""
        if step.does not in ("find_keys", "delete_key", "share_key", "set_attribute"):
            return
        asked = {r[6]: None for r in records if r[0] == "reach" and (r[3], r[5]) == ("client.send", step.does)}
        for hsm in after.up() if asked else ():
            if hsm not in asked:
                yield f"{step} did not ask {hsm}"

    def _contents(self, told: Told, after: View) -> Iterator[str]:
        """Every HSM holds every token key, each session key is on one."""
        late = any(self._is_late(key) for key in self.keys.values())
        for hsm in [hsm for hsm in after.up() if hsm in self.shape.ids]:  # who joins lacks what is made meanwhile
            there = [handle for handle, key in after.keys[hsm].items() if key.token]
            meant = [key.handle for key in self.keys.values() if key.home is None and not key.gone]
            if sorted(there) != sorted(meant) and not (late and self._may_be_late(there, meant)):
                yield f"{hsm} holds {sorted(there)} after {told.step}, and not {sorted(meant)}"
        for key in self.keys.values():
            homes = after.holders(key.handle)
            if key.home is not None and len(homes) != (0 if key.gone else 1):
                yield f"session key {key.handle} of {key.home} is on {homes} after {told.step}"

    def _may_be_late(self, there: list[int], meant: list[int]) -> bool:
        """Whether only keys are missing whose copies may be under way."""
        missing = [handle for handle in meant if handle not in there]
        return all(handle in meant for handle in there) and all(self._is_late(self.keys[one]) for one in missing)


def disagreements(story: Story) -> Iterator[str]:
    """Play a story without trouble, and yield what is not as it should be.

    Nobody adds or removes an HSM: one that joins may bring back what was deleted meanwhile.  And nobody is in a hurry:
    a create that returns early has copies under way.
    """
    with Player(story.shape, seed=story.seed) as player:
        model = Model(story.shape, player)
        for step in story.calm.steps:
            patient = tuple(option for option in step.options if option[0] != "timeout_s")
            if step.does in ("remove_hsm", "add_hsm") or player.do(dataclasses.replace(step, options=patient)) is None:
                continue
            told = player.told[-1]
            yield from model.of_step(told, player.cluster.history.records[told.record :], View.of(player.cluster))
        yield from model.at_the_end(View.of(player.cluster))
        living = [app for app in player.things.values() if isinstance(app, Client)]
        if not all(app.alive for app in living):
            yield "an application died, and nothing was wrong"
