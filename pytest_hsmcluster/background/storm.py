"""What goes wrong in one test?

A storm is a list of specs, drawn from the test's seed, that keeps a budget by construction.  First it is drawn which
HSMs may be touched at all; whatever is about an HSM is aimed at one of these by name, so the others are left alone
whenever and however often it strikes.  A fault strikes once (`nth=`), a hardship has a window (`during=`), and a ledger
has what may still be spent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..faults.effects import Delay, duration_text
from ..faults.spec import Fault, Scenario
from ..sim.entropy import Entropy, Stream
from .budget import Budget, FaultLine, HardshipLine, Line

if TYPE_CHECKING:
    from ..cluster import HsmCluster

MS = 1_000_000
SHORTEST_NS = 10 * MS
"""No trouble that is shorter is drawn: a command takes 2 ms."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a storm has to know of a cluster.

    Attributes:
        hsms: (id, zone) of the HSMs that are up.
        applications: names of the application processes so far.
        user: the crypto user that they log in as.
    """

    hsms: tuple[tuple[str, str], ...]
    applications: tuple[str, ...] = ("app",)
    user: str = "crypto_user"

    @classmethod
    def of(cls, cluster: "HsmCluster") -> "Shape":
        """Return the shape that a cluster has now."""
        hsms = tuple((hsm.id, hsm.zone) for hsm in cluster.hsms if hsm.alive)
        known = dict.fromkeys(peer.application for peer in cluster.network.peers.values())
        return cls(
            hsms,
            tuple(known)
            or cls(
                (),
            ).applications,
            cluster.default_user,
        )


def draw_storm(budget: Budget, shape: Shape, seed: int) -> tuple[str, ...]:
    """Return the faults and hardships of one test, as specs: at least one, if the budget has one for this shape.

    Args:
        budget: what may happen, and what never does.
        shape: of the cluster.
        seed: of the test; equal seeds give equal storms.
    """
    drawing = _Drawing(budget, shape, Entropy(seed).stream("background"))
    specs: dict[str, None] = {}
    for _ in range(1 + drawing.dice.below(budget.promise.faults)):
        spec = drawing.spec()
        if spec is None:
            break
        specs[spec] = None
    return tuple(specs)


def steps(least_ns: int, most_ns: int) -> tuple[int, ...]:
    """Return the durations 1, 2 and 5 × 10^k ns in a range; if there is none, its upper end."""
    found, unit = [], 1
    while unit <= most_ns:
        found += [unit * digit for digit in (1, 2, 5) if least_ns <= unit * digit <= most_ns]
        unit *= 10
    return tuple(found) or (most_ns,)


class _Drawing:
    """One storm in the making: the dice, and the ledger of what may still be spent."""

    def __init__(self, budget: Budget, shape: Shape, dice: Stream) -> None:
        self.dice = dice
        self._promise = budget.promise
        self._shape = shape
        self._lines = [line for line in budget.lines if line.weight]
        ids = [id for id, _ in shape.hsms]
        while len(ids) > max(0, len(shape.hsms) - budget.promise.untouched):
            ids.remove(dice.choice(ids))
        self._touched = ids
        self._left_ns = budget.promise.together_ns
        self._destroyed: list[str] = []
        self._crashed: list[str] = []
        self._deaths = 0

    def spec(self) -> str | None:
        """Draw one more, or None if nothing can be afforded."""
        options = [line for line in self._lines if self._affordable(line)]
        if not options:
            return None
        drawn = self.dice.below(sum(line.weight for line in options))
        for line in options:
            drawn -= line.weight
            if drawn < 0:
                break
        return str(self._fault(line) if isinstance(line, FaultLine) else self._hardship(line))

    # -- the ledger --------------------------------------------------------------------------

    def _affordable(self, line: Line) -> bool:
        if line.lasts and self._left_ns < SHORTEST_NS:
            return False
        if line.ends_process and self._deaths >= self._promise.deaths:
            return False
        if isinstance(line, HardshipLine) and line.name == "az-outage":
            return bool(self._zones())
        return not line.aimed or bool(self._targets(line))

    def _targets(self, line: Line) -> list[str]:
        """Return the HSMs at which a line may strike: of those that may be touched, those that it can still cost."""
        spent, most = [], 0
        if line.destroys:
            spent, most = self._destroyed, self._promise.destroyed
        elif line.crashes:
            spent, most = self._crashed, self._promise.crashed
        else:
            return self._touched
        return self._touched if len(spent) < most else spent

    def _target(self, line: Line) -> str:
        hsm = self.dice.choice(self._targets(line))
        for costs, spent in ((line.destroys, self._destroyed), (line.crashes, self._crashed)):
            if costs and hsm not in spent:
                spent.append(hsm)
        return hsm

    def _zones(self) -> list[str]:
        """Return the zones that may fail: those whose HSMs may all be touched."""
        zones = dict.fromkeys(zone for _, zone in self._shape.hsms)
        return [one for one in zones if all(id in self._touched for id, zone in self._shape.hsms if zone == one)]

    def _spent(self, line: Line, most_ns: int) -> int:
        """Draw how long something lasts, and pay for it."""
        ns = self.dice.choice(steps(SHORTEST_NS, min(most_ns, self._left_ns) if line.lasts else most_ns))
        if line.lasts:
            self._left_ns -= ns
        return ns

    def _early(self, options: Sequence[int]) -> int:
        """Draw one, the first of them more often: few tests go on for long."""
        return options[self.dice.below(1 + self.dice.below(len(options)))]

    # -- lines ---------------------------------------------------------------------------------

    def _fault(self, line: FaultLine) -> Fault:
        fault = line.fault
        self._deaths += line.ends_process
        hsm = self._target(line) if line.aimed else None
        nth = fault.when.nth or self._early(range(1, self._promise.passages + 1))
        effect = fault.effect
        if isinstance(effect, Delay):
            effect = Delay(self._spent(line, effect.ns))
        return Fault(effect, fault.point, replace(fault.when, hsm=hsm, nth=nth))

    def _hardship(self, line: HardshipLine) -> Scenario:
        longest_ns = self._promise.sweep_late_ns if line.of_sweep else self._promise.longest_ns
        # None begins at once: what comes too late for its HSM has missed, what is installed too late is refused.
        begin_ns = self._early(steps(MS, self._promise.begin_ns))
        lasts_ns = self._spent(line, longest_ns)
        window = f"{duration_text(begin_ns)}..{duration_text(begin_ns + lasts_ns)}"
        return Scenario(line.name, (*self._arguments(line, lasts_ns), ("during", window)))

    def _arguments(self, line: HardshipLine, lasts_ns: int) -> list[tuple[str, str]]:
        dice = self.dice
        if line.name == "stall-sync":
            return []
        if line.name == "delay-sync":
            return [("seconds", _seconds(dice.choice(steps(SHORTEST_NS, lasts_ns))))]
        if line.name == "az-outage":
            return [("zone", dice.choice(self._zones()))]
        hsm = self._target(line)
        if line.name == "partition":
            app = dice.choice(self._shape.applications)
            a, b, way = dice.choice(((app, hsm, "both"), (app, hsm, "one-way"), (hsm, app, "one-way")))
            return [("a", a), ("b", b), ("direction", way)]
        aimed = [("hsm", hsm)]
        if line.name == "flapping":
            few = steps(SHORTEST_NS, max(SHORTEST_NS, lasts_ns // 2))
            aimed += [("up_s", _seconds(dice.choice(few))), ("down_s", _seconds(dice.choice(few)))]
        elif line.name == "routed-to":
            aimed.append(("next", str(1 + dice.below(3))))
        elif line.name == "user-drift":
            aimed.append(("user", self._shape.user))
        return aimed


def _seconds(ns: int) -> str:
    return f"{ns / 1_000_000_000:g}"
