"""Which machine has Hypothesis break an application's cluster, and what must hold at each step?

`ChaosMachine` breaks a cluster and lets time pass; a team subclasses it and adds rules that call its application.
`ClusterMachine` has rules for client calls as well.  What must hold are the checks.
"""

import shlex
import sys
from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.control import current_build_context
from hypothesis.errors import InvalidArgument
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from hypothesis.strategies import DrawFn, SearchStrategy

from ..cluster import HsmCluster
from ..cryptoki import CKA
from ..errors import ClusterError
from ..faults.injector import Injection
from ..faults.spec import parse_fault
from ..faults.when import OPERATIONS
from ..history.history import History
from ..service.hsm import HsmState
from ..stories import troubles
from ..stories.drawing import DATA, LABELS, SECONDS
from ..stories.playing import EXPECTED, Played, Player
from ..stories.shortening import shortest
from ..stories.story import CHAOS, CLOCK, CLUSTER, TROUBLE, Ref, Shape, Step, Story
from ..stories.writing import regression_test, specs
from .values import effects_of, picker, points_of, shapes


@st.composite
def _faults(draw: DrawFn) -> str:
    machine: ChaosMachine = draw(st.runner())
    return str(
        troubles.fault(
            picker(draw),
            machine.shape,
            points=points_of(machine.points),
            effects=effects_of(machine.effects),
            ops=machine.operations,
            clients=machine.apps,
            keys=tuple(machine.labels),
        )
    )


@st.composite
def _hardships(draw: DrawFn) -> str:
    machine: ChaosMachine = draw(st.runner())
    return str(troubles.hardship(picker(draw), machine.shape, clients=machine.apps))


@st.composite
def _switched_off(draw: DrawFn) -> str:
    machine: ChaosMachine = draw(st.runner())
    return picker(draw)(tuple(hsm.id for hsm in machine.cluster.hsms if hsm.state is HsmState.DOWN))


@st.composite
def _apps(draw: DrawFn) -> str:
    machine: ChaosMachine = draw(st.runner())
    return picker(draw)(machine.apps)


class ChaosMachine(RuleBasedStateMachine):
    """Breaks a cluster and mends it, lets time pass, and asks the checks after each step.

    Subclass it: make your application in `begin`, call it in rules of your own through `call`.  What fails is told with
    a regression test to paste, and with specs for `--hsm-chaos` where these do the same.

    Attributes:
        shapes: draws the shape of the cluster.
        checks: names of the checks that must hold after each step.
        checks_at_end: names of checks that must hold when all trouble is over and the service has made its rounds.
        apps: names of the applications that faults and hardships may be about.
        labels: of keys that they may be about.
        operations: that applications call: faults strike these.
        points: where faults strike, as shell patterns: `client.clone hsm.*`.
        effects: what they do, as shell patterns: `crash drop`.
        most: faults and hardships that there are at a time.
        expected: errors that a call may meet; any other fails the machine.
        never: errors that fail it although they are among those, such as `(DataInvalid,)`.
        steps: of one story of a campaign, at most.
        calm: whether nothing is broken; a campaign sets it for its clean story.
    """

    shapes: ClassVar[SearchStrategy[Shape]] = shapes()
    checks: ClassVar[tuple[str, ...]] = ("no_lost_keys",)
    checks_at_end: ClassVar[tuple[str, ...]] = ()
    apps: ClassVar[tuple[str, ...]] = ("app",)
    labels: ClassVar[tuple[str, ...]] = LABELS
    operations: ClassVar[tuple[str, ...]] = OPERATIONS
    points: ClassVar[str] = "*"
    effects: ClassVar[str] = "*"
    most: ClassVar[int] = 3
    expected: ClassVar[tuple[type[Exception], ...]] = (ClusterError,)
    never: ClassVar[tuple[type[Exception], ...]] = ()
    steps: ClassVar[int] = 30
    calm: ClassVar[bool] = False
    histories: ClassVar[list[History] | None] = None
    """Where the journals of all runs are kept, if somebody wants to compare them."""

    player: Player | None = None
    shape: Shape
    _findings: dict[str, str]

    # -- for subclasses -------------------------------------------------------------------

    def begin(self) -> None:
        """Make the application; called with each new cluster.  Here: a client for each name in `apps`."""
        for app in self.apps:
            self.call(CLUSTER, "client", app, gives=app)

    @property
    def cluster(self) -> HsmCluster:
        """The cluster of this run."""
        return self._played.cluster

    def call(
        self, on: str, does: str, *args: Any, gives: str | None = None, equals: tuple[Any, ...] = (), **options: Any
    ) -> Any:
        """Call a method, and return what it returns; None if it met an error that is expected, or cannot be made.

        Args:
            on: name of what has the method: an application, `hsm_cluster`, what an earlier call or `make` gave.
            does: the method.
            args: its arguments; `Ref("name")` is what an earlier call gave.
            gives: a name for the result.
            equals: what the result has to be, alone in a tuple.
            options: its keyword arguments.
        """
        step = Step(on, does, args, tuple(options.items()), gives, equals)
        told = self._played.do(step, self.expected, self.never)
        return None if told is None else told.result

    def make(self, name: str, factory: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a class or function of a module, name what it returns, and return it."""
        known = self._played.know(factory)
        return self.call(known, "", *args, gives=name, **options)

    # -- trouble, time, operators ------------------------------------------------------------

    @initialize(shape=st.runner().flatmap(lambda machine: machine.shapes))
    def open(self, shape: Shape) -> None:
        self.shape = shape
        self.player = Player(shape)
        self._findings = {}
        self._troubles: list[str] = []
        self._names = 0
        self.begin()

    @precondition(lambda self: not self.calm and len(self._troubles) < self.most)
    @rule(spec=_faults())
    def strike(self, spec: str) -> None:
        """Install a fault."""
        self._install("inject", parse_fault(spec))

    @precondition(lambda self: not self.calm and len(self._troubles) < self.most)
    @rule(spec=_hardships())
    def suffer(self, spec: str) -> None:
        """Begin a hardship."""
        self._install("install", spec)

    @precondition(lambda self: self._troubles)
    @rule(which=st.integers(0, 7))
    def relieve(self, which: int) -> None:
        """End a fault or a hardship."""
        self._end(self._troubles[which % len(self._troubles)])

    @rule(seconds=st.sampled_from(SECONDS))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._operate(CLOCK, "advance", seconds)

    @precondition(lambda self: self._differ)
    @rule()
    def sweep(self) -> None:
        """Have the service make a round of its sweep, where HSMs have different keys."""
        self._operate(CLUSTER, "sweep_now")

    @precondition(lambda self: any(hsm.state is HsmState.DOWN for hsm in self.cluster.hsms))
    @rule(hsm=_switched_off())
    def restart(self, hsm: str) -> None:
        """Switch an HSM on that a fault has switched off."""
        self._operate(CHAOS, "restart", hsm)

    # -- what must hold -------------------------------------------------------------------------

    @invariant()
    def promises(self) -> None:
        """Each of `checks` holds."""
        self._require(self.checks)

    def teardown(self) -> None:
        """Settle, ask `checks_at_end`, close the cluster; write down what is failing."""
        player, failing = self.player, sys.exc_info()[1]
        if player is None:
            return
        try:
            if failing is None:
                self._settle()
            player.close()
        except AssertionError as error:
            failing = error
            raise
        finally:
            if self.histories is not None:
                self.histories.append(player.cluster.history)
            if isinstance(failing, Exception) and not type(failing).__module__.startswith("hypothesis") and _is_final():
                self._tell(failing)
            player.close()

    # -- inside ---------------------------------------------------------------------------------

    @property
    def _played(self) -> Player:
        assert self.player is not None, "open() comes first"
        return self.player

    @property
    def _differ(self) -> bool:
        first, *others = [sorted(hsm.keys) for hsm in self.cluster.hsms] or [[]]
        return any(keys != first for keys in others)

    def _operate(self, on: str, does: str, *args: Any, gives: str | None = None) -> Any:
        """Perform a step that may make no sense just now: an HSM may be lost."""
        told = self._played.do(Step(on, does, args, gives=gives))
        return None if told is None else told.result

    def _install(self, does: str, trouble: Any) -> None:
        self._names += 1
        name = f"{TROUBLE}{self._names}"
        if self._operate(CHAOS, does, trouble, gives=name) is not None:
            self._troubles.append(name)

    def _end(self, name: str) -> None:
        self._troubles.remove(name)
        self._operate(name, "remove" if isinstance(self._played.things[name], Injection) else "end")

    def _settle(self) -> None:
        if not self.checks_at_end:
            return
        for name in self._troubles[::-1]:
            self._end(name)
        self._operate(CLOCK, "advance", 400)  # whoever joins has joined, connections have been made anew
        self._operate(CLUSTER, "sweep_now")
        self._require(self.checks_at_end)

    def _require(self, checks: tuple[str, ...]) -> None:
        self._findings = self._played.findings(checks)
        if self._findings:
            raise AssertionError("\n".join(self._findings.values()))

    def _tell(self, error: Exception) -> None:
        """Write down what fails: without the steps that make no difference, as a test and as specs."""
        player, checks = self._played, tuple(dict.fromkeys((*self.checks, *self._findings)))
        story = Story(self.shape, tuple(one.step for one in player.told), checks)
        story = shortest(story, lambda other: self._ends_alike(other, error) is not None)
        played = self._ends_alike(story, error)
        if played is None:  # what a rule did besides its calls matters
            played = Played(story, tuple(player.told), self._findings, player.cluster.history)
        imports = [f"from {thing.__module__} import {name}" for name, thing in player.known.items()]
        error.add_note(f"a test to paste:\n\n{regression_test(played, imports=imports)}")
        if played.findings and not imports and (found := specs(played)):
            options = " ".join(f"--hsm-chaos={shlex.quote(spec)}" for spec in found)
            error.add_note(f"the same happens to a test that makes the same calls, with\n\n{options}\n")

    def _ends_alike(self, story: Story, error: Exception) -> Played | None:
        """Play a story, and return what came of it if it fails as this machine did."""
        player, met = Player(story.shape), None
        for thing in self._played.known.values():
            player.know(thing)
        try:
            for step in story.steps:
                player.do(step, (*EXPECTED, *self.expected), self.never)
        except Exception as other:
            met = other
        found = player.findings(story.checks) if met is None else {}
        player.close()
        alike = found.keys() == self._findings.keys() if met is None else type(met) is type(error)
        failed = met is not None if not self._findings else bool(found)
        return Played(story, tuple(player.told), found, player.cluster.history) if alike and failed else None


class ClusterMachine(ChaosMachine):
    """A `ChaosMachine` whose applications call everything that clients can do."""

    apps = ("app", "other")

    secrets = Bundle("secrets")
    pairs = Bundle("pairs")
    boxes = Bundle("boxes")
    signatures = Bundle("signatures")
    blobs = Bundle("blobs")

    @rule(target=secrets, app=_apps(), label=st.sampled_from(LABELS), token=st.sampled_from((True, True, False)))
    def generate_key(self, app: str, label: str, token: bool) -> Any:
        return self._made("key", app, "generate_key", "AES", 256, label=label, token=token)

    @rule(target=secrets, app=_apps(), label=st.sampled_from(LABELS), byte=st.integers(1, 3))
    def import_key(self, app: str, label: str, byte: int) -> Any:
        return self._made("key", app, "import_key", "AES", bytes([byte]) * 32, label=label)

    @rule(target=pairs, app=_apps(), label=st.sampled_from(LABELS))
    def generate_key_pair(self, app: str, label: str) -> Any:
        return self._made("pair", app, "generate_key_pair", "EC", "P-256", label=label)

    @rule(target=boxes, app=_apps(), key=secrets)
    def encrypt(self, app: str, key: Ref) -> Any:
        return self._made_with(key, "box", app, "encrypt", key, DATA)

    @rule(app=_apps(), box=boxes)
    def decrypt(self, app: str, box: tuple[Ref, Ref]) -> None:
        self.call(app, "decrypt", box[1], box[0], equals=(DATA,))

    @rule(target=signatures, app=_apps(), pair=pairs)
    def sign(self, app: str, pair: Ref) -> Any:
        return self._made_with(Ref(pair.name, "public"), "signature", app, "sign", Ref(pair.name, "private"), DATA)

    @rule(app=_apps(), signature=signatures)
    def verify(self, app: str, signature: tuple[Ref, Ref]) -> None:
        self.call(app, "verify", signature[1], DATA, signature[0])

    @rule(target=blobs, app=_apps(), key=secrets, kek=secrets)
    def wrap_key(self, app: str, key: Ref, kek: Ref) -> Any:
        return self._made_with(kek, "blob", app, "wrap_key", key, with_key=kek)

    @rule(target=secrets, app=_apps(), blob=blobs, label=st.sampled_from(LABELS))
    def unwrap_key(self, app: str, blob: tuple[Ref, Ref], label: str) -> Any:
        return self._made("key", app, "unwrap_key", blob[0], with_key=blob[1], kind="AES", label=label)

    @rule(app=_apps(), label=st.sampled_from(LABELS))
    def find_keys(self, app: str, label: str) -> None:
        self.call(app, "find_keys", label=label)

    @rule(app=_apps(), key=secrets)
    def delete_key(self, app: str, key: Ref) -> None:
        self.call(app, "delete_key", key)

    @rule(app=_apps(), key=secrets, permitted=st.booleans())
    def set_attribute(self, app: str, key: Ref, permitted: bool) -> None:
        self.call(app, "set_attribute", key, CKA.ENCRYPT, permitted)

    def _made(self, what: str, app: str, does: str, *args: Any, **options: Any) -> Ref | MultipleResults[Ref]:
        """Make something with a name, and return its reference; nothing if it could not be made."""
        self._names += 1
        name = f"{what}_{self._names}"
        return multiple() if self.call(app, does, *args, gives=name, **options) is None else Ref(name)

    def _made_with(
        self, key: Ref, what: str, app: str, does: str, *args: Any, **options: Any
    ) -> tuple[Ref, Ref] | MultipleResults[tuple[Ref, Ref]]:
        """Make something that a key opens; return both."""
        made = self._made(what, app, does, *args, **options)
        return (made, key) if isinstance(made, Ref) else multiple()


def _is_final() -> bool:
    """Whether this run is the one that is told; those that only lead there need no test to paste."""
    try:
        return bool(current_build_context().is_final)
    except (AttributeError, InvalidArgument):
        return True  # an older Hypothesis, or somebody who runs the machine by hand
