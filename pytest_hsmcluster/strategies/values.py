"""Which clusters, faults, hardships, calls and stories can Hypothesis draw?

Whatever is drawn is valid: it could act in a cluster of its shape, and its text parses back.  All of it shrinks
towards the plainest: the first passage, no condition, the shortest story.
"""

import fnmatch
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from ..errors import UsageError
from ..faults.effects import Effect, Pass, duration_text
from ..faults.points import Point, nearest
from ..faults.spec import Fault, Scenario
from ..faults.when import OPERATIONS, When
from ..sim.clock import to_ns
from ..stories import troubles
from ..stories.drawing import APPS, KINDS, LABELS, SHAPES, Draft, story_of
from ..stories.picking import GENES, Pick
from ..stories.story import Ref, Shape, Step, Story

T = TypeVar("T")

PLAIN = SHAPES[0]
"""The cluster that is meant where none is named: three HSMs, SDK 3, two copies wanted."""


def shapes(
    hsms: Sequence[int] = (3, 2, 4, 1), sdks: Sequence[int] = (3, 5), *, plain: bool = False
) -> SearchStrategy[Shape]:
    """Draw the shape of a cluster.

    Args:
        hsms: how many HSMs it may have; sdks: of which client software; the first is the plainest.
        plain: leave the profile as it is: no other routing, time-outs or switches.
    """

    def draw(pick: Pick) -> Shape:
        # As many choices whatever is chosen: of two choices, fewer are the simpler for Hypothesis.
        count, sdk, minimum = pick(hsms), pick(sdks), pick((None, 1, 2, 3))
        drawn = [] if plain else [one for _ in range(3) if (one := pick(_SETTINGS)) is not None]
        settings = {name: value for name, value in drawn if sdk == 3 or name != "create_returns"}
        return Shape(count, sdk, minimum if sdk == 3 and (minimum or 0) < count else None, tuple(settings.items()))

    return _drawn(draw)


def effects(point: Point | str | None = None, shape: Shape = PLAIN) -> SearchStrategy[Effect]:
    """Draw what can be made to happen at a point (None: anywhere) in a cluster of some shape."""
    chosen = None if point is None else (Point.of(str(point)),)
    return _drawn(lambda pick: troubles.fault(pick, shape, points=chosen).effect)


def whens(
    point: Point | str,
    effect: Effect | None = None,
    shape: Shape = PLAIN,
    *,
    ops: Sequence[str] = OPERATIONS,
    clients: Sequence[str] = APPS[:1],
    keys: Sequence[str] = LABELS,
) -> SearchStrategy[When]:
    """Draw a condition that passages of a point can meet.

    Args:
        point: where.
        effect: with which it has to make sense; None is any.
        shape: of the cluster.
        ops: operations that are called; clients: names of applications; keys: labels.
    """
    where = Point.of(str(point))
    return _drawn(
        lambda pick: troubles.when(
            pick, shape, where, effect or Pass(), ops=tuple(ops), clients=tuple(clients), keys=tuple(keys)
        )
    )


def faults(
    points: str = "*",
    effects: str = "*",
    shape: Shape = PLAIN,
    *,
    ops: Sequence[str] = OPERATIONS,
    clients: Sequence[str] = APPS[:1],
    keys: Sequence[str] = LABELS,
) -> SearchStrategy[Fault]:
    """Draw a fault that could act.

    Args:
        points: shell patterns of points, separated by blanks: `hsm.* wire.*`.
        effects: shell patterns of effects: `crash drop`.
        shape: of the cluster.
        ops: operations that are called; clients: names of applications; keys: labels.

    Raises:
        UsageError: a pattern that matches nothing, or no such fault could act.
    """
    where, what = points_of(points), effects_of(effects)
    troubles.strikes(shape, where, what)  # refuses what cannot be, now and not at the first draw
    return _drawn(
        lambda pick: troubles.fault(
            pick,
            shape,
            points=where,
            effects=what,
            ops=tuple(ops),
            clients=tuple(clients),
            keys=tuple(keys),
        )
    )


def hardships(
    scenarios: str = "*",
    shape: Shape = PLAIN,
    *,
    clients: Sequence[str] = APPS[:1],
    users: Sequence[str] = ("crypto_user",),
) -> SearchStrategy[Scenario]:
    """Draw a hardship with its arguments; it lasts until somebody ends it.

    Args:
        scenarios: shell patterns of names: `*-hsm partition`.
        shape: of the cluster.
        clients: names of applications; users: of users.

    Raises:
        UsageError: a pattern that matches nothing that can befall this cluster.
    """
    names = _matching("scenario", scenarios, tuple(troubles.hardships(shape, tuple(clients), tuple(users))))
    return _drawn(lambda pick: troubles.hardship(pick, shape, scenarios=names, clients=clients, users=users))


def schedules(
    scenarios: str = "*",
    shape: Shape = PLAIN,
    *,
    most: int = 3,
    horizon_s: float = 600,
    clients: Sequence[str] = APPS[:1],
    users: Sequence[str] = ("crypto_user",),
) -> SearchStrategy[tuple[Scenario, ...]]:
    """Draw a schedule: hardships with windows (`crashed-hsm hsm=hsm-1 during=10s..40s`), the earliest first.

    Args:
        scenarios, shape, clients, users: as for `hardships`.
        most: how many there may be; at least one.
        horizon_s: seconds after which none begins.
    """
    horizon_ns = to_ns(horizon_s, "horizon_s")

    def window(scenario: Scenario, begin: int, length: str) -> tuple[int, Scenario]:
        begin_ns = horizon_ns * begin // 1000
        text = f"{duration_text(begin_ns)}..{duration_text(begin_ns + to_ns(float(length), 'a window'))}"
        return begin_ns, Scenario(scenario.name, (*scenario.arguments, ("during", text)))

    one = st.builds(
        window,
        hardships(scenarios, shape, clients=clients, users=users),
        st.integers(0, 1000),
        st.sampled_from(("30", "1", "5", "120", "600")),
    )
    found = st.lists(one, min_size=1, max_size=most)
    return found.map(lambda drawn: tuple(scenario for _, scenario in sorted(drawn, key=lambda pair: pair[0])))


def calls(
    keys: Sequence[str] = (), pairs: Sequence[str] = (), shape: Shape = PLAIN, *, apps: Sequence[str] = APPS[:1]
) -> SearchStrategy[Step]:
    """Draw a client call, as a step of a story.

    Args:
        keys: names of secret keys, pairs: of key pairs, that earlier steps gave; without any a key is made.
        shape: of the cluster.
        apps: names of the applications that may call.
    """

    def draw(pick: Pick) -> Step:
        draft = Draft(shape, apps)
        draft.secrets, draft.pairs = [Ref(key) for key in keys], list(pairs)
        draft.call(pick)
        return draft.steps[-1]

    return _drawn(draw)


def stories(
    shape: Shape | SearchStrategy[Shape] | None = None,
    *,
    most: int = 30,
    apps: Sequence[str] = APPS,
    kinds: Sequence[str] = KINDS,
    checks: tuple[str, ...] = ("no_lost_keys",),
) -> SearchStrategy[Story]:
    """Draw a whole story.

    Args:
        shape: of its cluster, or what draws one; None is one of ten that differ in much.
        most: steps that it may have.
        apps: names of applications, of which it uses one or more.
        kinds: of steps, each as often as it shall come: `call`, `fault`, `hardship`, `wait`, `calm`, `sweep`, `power`.
        checks: that are asked at its end.
    """

    def told(shape: Shape, count: int, genes: list[bytes], seed: int) -> Story:
        return story_of(shape, genes, apps=apps[:count], kinds=kinds, checks=checks, seed=seed)

    if shape is None:
        shape = st.sampled_from(SHAPES)
    return st.builds(
        told,
        st.just(shape) if isinstance(shape, Shape) else shape,
        st.integers(1, len(apps)),
        st.lists(st.binary(min_size=GENES, max_size=GENES), min_size=1, max_size=most),
        st.integers(0, 7),
    )


@cache
def points_of(globs: str) -> tuple[Point, ...]:
    """Return the points that shell patterns match.

    Raises:
        UsageError: a pattern that matches none.
    """
    return _matching("point", globs, tuple(Point))


@cache
def effects_of(globs: str) -> tuple[str, ...]:
    """Return the names of the effects that shell patterns match.

    Raises:
        UsageError: a pattern that matches none.
    """
    return _matching("effect", globs, troubles.EFFECTS)


def picker(draw: DrawFn) -> Pick:
    """Return what has Hypothesis choose."""

    def pick(options: Sequence[T], /) -> T:
        return options[draw(_below(len(options)))] if len(options) > 1 else options[0]

    return pick


@cache
def _below(limit: int) -> SearchStrategy[int]:
    return st.integers(0, limit - 1)


def _drawn(make: Callable[[Pick], T]) -> SearchStrategy[T]:
    @st.composite
    def build(draw: DrawFn) -> T:
        return make(picker(draw))

    return build()


def _matching(what: str, globs: str, known: tuple[T, ...]) -> tuple[T, ...]:
    """Return what shell patterns match.

    Raises:
        UsageError: one of them matches nothing.
    """
    names = [str(one) for one in known]
    for glob in globs.split() or [globs]:
        if not any(fnmatch.fnmatchcase(name, glob) for name in names):
            raise UsageError(f"no {what} matches {glob!r}{nearest(glob, names)}; there are {', '.join(names)}")
    patterns = globs.split()
    return tuple(one for one in known if any(fnmatch.fnmatchcase(str(one), glob) for glob in patterns))


_SETTINGS: tuple[tuple[str, object] | None, ...] = (
    *(None,) * 14,
    ("routing", "random"),
    ("routing", "least_busy"),
    ("routing", "pinned"),
    ("create_returns", "enough"),
    ("crash_peer", "silence"),
    ("sweep", False),
    ("sweep_period_s", 5),
    ("sweep_remembers_deletes", True),
    ("availability_check", False),
    ("sdk5_cleans_up", False),
    ("retry_mode", "off"),
    ("request_timeout_s", 2),
    ("queue_limit", 1),
    ("zones", ("a", "b")),
)
"""Settings under which clusters and clients behave in another way."""
