"""Which faults and hardships can strike a cluster of some shape?

Whatever comes out of here could act: the point takes the effect, the operation passes the point, the command belongs
to the operation, and the HSM is there.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..errors import UsageError
from ..faults.effects import Corrupt, Delay, Drop, Effect, Fail, Hold, effect_of
from ..faults.points import CREATING, Point
from ..faults.spec import Fault, Scenario
from ..faults.when import COMMANDS, OPERATIONS, PER, When
from .picking import Pick
from .story import Shape

DELAYS = tuple(Delay.of(text) for text in ("80ms", "1ms", "500us", "2ms", "3s", "19.998s", "20s", "30s", "100s"))
FAILS = tuple(
    Fail(answer)
    for answer in ("CKR_DEVICE_ERROR", "0xBB", "KeyNotOnHsm", "CKR_FUNCTION_FAILED", "RequestTimeout", "NotLoggedIn")
)
WINDOWS = ("60s", "1s", "1s..90s", "10ms..1s", "60s..5m")
ROUTED = (
    *("generate_key", "encrypt", "sign", "decrypt", "verify", "generate_key_pair", "import_key", "wrap_key"),
    *("unwrap_key", "derive_key", "public_key", "get_attributes", "random"),
)
"""Operations that go to one HSM first; the others ask all."""

EFFECTS = ("delay", "drop", "fail", "crash", "corrupt", "hold", "pause", "fill-disk", "destroy")

FANNED = ("delete_key", "find_keys", "share_key", "unshare_key", "set_attribute", "login", "logout")
KEYLESS = ("random", "find_keys", "login", "logout")
"""Operations that are about no key."""

_NONE: tuple[None, ...] = (None,)
_PASSAGES = (1, 1, 1, 1, None, 2, None, 2, 3)
_MORE = {
    point: (
        *_NONE * 12,
        *("hsm",) * 5 * ("hsm" in point.facts),
        *("key", "key", "client", "per", "user") * ("op" in point.facts),
        "during",
        "chance",
    )
    for point in Point
}
"""What else a condition may name, each as often as it shall come."""


def fault(
    pick: Pick,
    shape: Shape,
    *,
    points: tuple[Point, ...] | None = None,
    effects: tuple[str, ...] | None = None,
    ops: tuple[str, ...] = OPERATIONS,
    clients: Sequence[str] = ("app",),
    keys: Sequence[str] = ("label-1",),
) -> Fault:
    """Return a fault that could act in a cluster of this shape.

    Args:
        pick: who chooses.
        shape: of the cluster.
        points: where it may strike; None is anywhere.
        effects: names of the effects that it may have; None is all but `pass`.  What a point cannot take is left out.
        ops: operations that are called; points that none of them passes are left out.
        clients: names of applications that conditions may name; keys: labels that they may name.

    Raises:
        UsageError: there is no such fault.
    """
    routed, creating = any(op in ROUTED for op in ops), any(op in CREATING for op in ops)
    name, point = pick(strikes(shape, points, effects, routed, creating))
    chosen = _effect(pick, name, point, shape, creating)
    return Fault(chosen, point, when(pick, shape, point, chosen, ops=ops, clients=clients, keys=keys))


def when(
    pick: Pick,
    shape: Shape,
    point: Point,
    effect: Effect,
    *,
    ops: tuple[str, ...] = OPERATIONS,
    clients: Sequence[str] = ("app",),
    keys: Sequence[str] = ("label-1",),
) -> When:
    """Return a condition that passages of a point can meet, with this effect and in a cluster of this shape."""
    creating = getattr(effect, "target", None) == "source" or (isinstance(effect, Corrupt) and effect.payload)
    op = command = None
    if "op" in point.facts:
        possible = operations_at(point, ops, creating)
        op = pick((*_NONE * (1 if creating else len(possible)), *possible))
        if "command" in point.facts:
            commands = _commands(point, shape, (op,) if op else possible)
            command = pick((*_NONE * max(1, len(commands)), *commands))
            command = None if creating else command  # chosen all the same: fewer choices would be simpler to Hypothesis
    nth = pick(_PASSAGES)
    about_keys = op not in KEYLESS and command not in (*KEYLESS, "check_key")
    given: dict[str, Any] = {"op": op, "command": command, "nth": nth}
    # One more condition at most: many at once hardly ever hold together.
    more = pick(_MORE[point])
    if more == "hsm":
        given["hsm"] = pick(shape.ids)
    elif more == "client" and clients:
        given["client"] = pick(clients)
    elif more == "key" and keys and about_keys:
        given["key"] = pick(keys)
    elif more == "user" and op != "login":
        given["user"] = "crypto_user"
    elif more == "per" and nth:
        given["per"] = pick([scope for scope in PER if scope in point.facts and (scope != "key" or about_keys)])
    elif more == "during":
        given["during"] = pick(WINDOWS)
    elif more == "chance":
        given["chance"] = 0.5
    return When(**given)


@lru_cache(maxsize=256)
def strikes(
    shape: Shape,
    points: tuple[Point, ...] | None = None,
    effects: tuple[str, ...] | None = None,
    routed: bool = True,
    creating: bool = True,
) -> tuple[tuple[str, Point], ...]:
    """Return every effect at every point that takes it and is ever passed.

    Args:
        shape: of the cluster.
        points, effects: that are wanted; None is all.
        routed: whether any operation is called that goes to one HSM first; creating: whether any makes keys.

    Raises:
        UsageError: there is none.
    """
    passed = [point for point in points or Point if _is_passed(point, shape, routed, creating)]
    found = tuple((effect, point) for effect in effects or EFFECTS for point in passed if effect in point.effects)
    if not found:
        raise UsageError(
            f"no fault can act: none of {', '.join(effects or EFFECTS)} at {', '.join(points or Point)} strikes "
            f"what is called in a cluster of {shape.hsms} HSMs (SDK {shape.sdk}, minimum {shape.minimum or 1})"
        )
    return found


@lru_cache(maxsize=1024)
def operations_at(point: Point, ops: tuple[str, ...] = OPERATIONS, creating: bool = False) -> tuple[str, ...]:
    """Return those of the operations that come to a point, or only those that create keys."""
    if point is Point.CLIENT_ROUTE:
        return tuple(op for op in ops if op in ROUTED and (op in CREATING or not creating))
    if creating or point in (Point.CLIENT_CLONE, Point.CLIENT_CLEANUP, Point.CLIENT_REPORT):
        return tuple(op for op in ops if op in CREATING)
    return tuple(op for op in ops if op in ROUTED or op in FANNED)


@lru_cache(maxsize=1024)
def _commands(point: Point, shape: Shape, ops: tuple[str, ...]) -> tuple[str, ...]:
    """Return what these operations ask an HSM for that is near a point."""
    if point is Point.CLIENT_ROUTE:
        return ops
    return tuple(dict.fromkeys(command for op in ops for command in commands_of(op, shape)))


def commands_of(op: str, shape: Shape) -> tuple[str, ...]:
    """Return what HSMs are asked to do on behalf of an operation."""
    if op not in CREATING or shape.hsms < 2:
        return (op,)
    checks = ("check_key",) if shape.sdk == 5 and dict(shape.settings).get("availability_check", True) else ()
    cleans = ("delete_key", "tombstone_key") if _is_passed(Point.CLIENT_CLEANUP, shape, True, True) else ()
    return (op, "insert_masked", "extract_masked", *checks, *cleans)


def _is_passed(point: Point, shape: Shape, routed: bool, creating: bool) -> bool:
    settings = dict(shape.settings)
    if point is Point.CLIENT_ROUTE:
        return routed
    if point is Point.CLIENT_CLEANUP:
        refuses = (shape.minimum or 1) > 1 if shape.sdk == 3 else settings.get("availability_check", True)
        return creating and refuses and settings.get("sdk5_cleans_up", True)
    if point in (Point.CLIENT_CLONE, Point.SYNC_CLONE):
        return shape.hsms > 1 and (creating or point is Point.SYNC_CLONE)
    return creating or point is not Point.CLIENT_REPORT


def _effect(pick: Pick, name: str, point: Point, shape: Shape, creating: bool) -> Effect:
    if name == "delay":
        return pick(DELAYS)
    if name == "fail":
        return pick(FAILS)
    if name == "corrupt":
        masked = creating and shape.hsms > 1 and point in (Point.WIRE_REQUEST, Point.WIRE_RESPONSE)
        return Corrupt(payload=masked and pick((False, True)))
    if name in ("crash", "destroy", "pause", "fill-disk"):
        words = () if point is Point.CLIENT_ROUTE else ("here", "source") if creating else ("here",)
        target = pick((*_NONE * 3, *words, *shape.ids))
        return effect_of(name, target)
    return Drop() if name == "drop" else Hold()


# -- hardships --------------------------------------------------------------------------


def hardship(
    pick: Pick,
    shape: Shape,
    *,
    scenarios: Sequence[str] | None = None,
    clients: Sequence[str] = ("app",),
    users: Sequence[str] = ("crypto_user",),
    windows: Sequence[str | None] = _NONE,
) -> Scenario:
    """Return a hardship, with its arguments, that can befall a cluster of this shape.

    Args:
        pick: who chooses.
        shape: of the cluster.
        scenarios: names of those that may come; None is all that fit.
        clients: names of applications; users: of users.
        windows: values of `during=` to choose from; None lasts until it is ended.
    """
    possible = hardships(shape, tuple(clients), tuple(users))
    names = [name for name in possible if scenarios is None or name in scenarios]
    chosen = pick(names)
    arguments = pick(possible[chosen])
    window = pick(windows)
    return Scenario(chosen, arguments if window is None else (*arguments, ("during", window)))


@lru_cache(maxsize=64)
def hardships(
    shape: Shape, clients: tuple[str, ...], users: tuple[str, ...]
) -> Mapping[str, tuple[tuple[tuple[str, str], ...], ...]]:
    """Return every scenario that fits a shape: name → the arguments that it may have."""
    hsm = tuple((("hsm", id),) for id in shape.ids)
    answered = [op for op in (*ROUTED, *FANNED) if op in COMMANDS]
    many = {
        "lost-ack": tuple((("op", op),) for op in answered),
        "failed-ack": tuple((("op", op),) for op in answered),
        "glitch": tuple((("op", op),) for op in answered),
        "crashed-hsm": hsm,
        "kill-mid-create": tuple((("after_copies", str(number)),) for number in range(1, shape.hsms + 1)),
        "stall-sync": ((),),
        "partition": tuple(
            (("a", client), ("b", id), *way)
            for way in ((), (("direction", "one-way"),))
            for client in clients
            for id in shape.ids
        )
        + tuple((("a", "hsm-1"), ("b", id)) for id in shape.ids[1:])
        + tuple((("a", "hsm-2"), ("b", client), ("direction", "one-way")) for client in clients if shape.hsms > 1),
        "gray-failure": hsm,
        "throttled": hsm,
        "fail-clone": ((), *hsm) if shape.hsms > 1 else (),
        "full-hsm": hsm,
        "full-disk": hsm,
        "full-sessions": hsm,
        "joining-hsm": tuple((("zone", zone),) for zone in shape.zones),
        "routed-to": tuple((*one, ("next", str(count))) for count in (1, 3) for one in hsm),
        "az-outage": tuple((("zone", zone),) for zone in shape.zones),
        "delay-sync": ((), (("seconds", "90"),)),
        "destroyed-hsm": hsm,
        "replaced-hsm": hsm,
        "flapping": tuple((*one, ("up_s", "5"), ("down_s", "5")) for one in hsm),
        "rolling-restart": ((), (("down_s", "1"), ("gap_s", "0"))),
        "user-drift": tuple((*one, ("user", user)) for user in users for one in hsm),
        "fail-cleanup": ((), *hsm) if shape.sdk == 3 and (shape.minimum or 1) > 1 else (),
    }
    return {name: arguments for name, arguments in many.items() if arguments}
