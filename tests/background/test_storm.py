"""Every storm keeps its budget, whatever is drawn."""

from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from pytest_hsmcluster import Fault, HsmCluster
from pytest_hsmcluster.background.budget import DESTROYING, HARDSHIPS, OF_SWEEP, POWER, Budget
from pytest_hsmcluster.background.reading import SHIPPED, budget_of, read_budget
from pytest_hsmcluster.background.smallest import simpler
from pytest_hsmcluster.background.storm import Shape, draw_storm, steps
from pytest_hsmcluster.errors import ClusterError, ConfigError
from pytest_hsmcluster.faults.effects import Crash, Delay, Destroy, duration_text
from pytest_hsmcluster.faults.points import Point
from pytest_hsmcluster.faults.spec import parse_spec
from pytest_hsmcluster.faults.when import value_of
from pytest_hsmcluster.history.events import Kind
from pytest_hsmcluster.scenarios import SCENARIOS

THREE = Shape((("hsm-1", "a"), ("hsm-2", "b"), ("hsm-3", "c")))
NS = 1_000_000_000


def broken_promises(budget: Budget, shape: Shape, specs: tuple[str, ...]) -> list[str]:
    """Return what a storm breaks: an auditor that knows specs only, not how they were drawn."""
    promise, found = budget.promise, []
    touched, destroyed, crashed, deaths, spent = set(), set(), set(), 0, 0
    for spec in specs:
        parsed = parse_spec(spec, SCENARIOS)
        if isinstance(parsed, Fault):
            effect, when, sync = parsed.effect, parsed.when, parsed.point.place == "sync"
            if not (when.nth and when.nth <= promise.passages and when.per is None):
                found.append(f"may strike more than once, or too late: {spec}")
            if "hsm" in parsed.point.facts:
                touched.add(when.hsm)
            if isinstance(effect, Destroy):
                destroyed.add(when.hsm)
            if isinstance(effect, Crash) and effect.target is None and parsed.point.place == "client":
                deaths += 1
            elif isinstance(effect, Crash):
                crashed.add(when.hsm)
            lasts = effect.ns if isinstance(effect, Delay) else 0
        else:
            arguments, sync = dict(parsed.arguments), parsed.name in OF_SWEEP
            begin, end = value_of("during", arguments["during"])
            lasts = end - begin
            touched |= {arguments[key] for key in ("hsm", "a", "b") if arguments.get(key, "").startswith("hsm-")}
            touched |= {id for id, zone in shape.hsms if zone == arguments.get("zone")}
            if begin > promise.begin_ns:
                found.append(f"begins too late: {spec}")
            if parsed.name in DESTROYING:
                destroyed.add(arguments["hsm"])
                lasts = 0
        if lasts > (promise.sweep_late_ns if sync else promise.longest_ns):
            found.append(f"lasts too long: {spec}")
        spent += 0 if sync else lasts
    found += ["too many faults"] * (len(specs) > promise.faults)
    found += ["too many HSMs touched"] * (len(touched) > max(0, len(shape.hsms) - promise.untouched))
    found += ["too many HSMs destroyed"] * (len(destroyed) > promise.destroyed)
    found += ["too many HSMs crashed"] * (len(crashed) > promise.crashed)
    found += ["too many deaths"] * (deaths > promise.deaths)
    found += ["too long together"] * (spent > promise.together_ns)
    return found


EFFECTS = ("delay 3s", "hold", "drop", "corrupt", "corrupt payload", "fail 0xBB", "crash", "crash here", "destroy")


def _possible(effect: str, point: Point) -> bool:
    if effect == "crash here" and point is Point.CLIENT_ROUTE:
        return False
    return effect.partition(" ")[0] in point.effects


FAULTS = [
    f"{effect} @ {point}" for point in Point if point not in POWER for effect in EFFECTS if _possible(effect, point)
]


@st.composite
def budgets(draw: st.DrawFn) -> Budget:
    """Any budget that a file can say."""
    durations = st.integers(10_000_000, 300 * NS).map(duration_text)
    longest, together = sorted((draw(durations), draw(durations)), key=lambda text: value_of("during", text)[1])
    weights = st.integers(0, 5)
    text = [
        "[promise]",
        f"faults = {draw(st.integers(1, 8))}",
        f"untouched = {draw(st.integers(0, 4))}",
        f'longest = "{longest}"',
        f'together = "{together}"',
        f'begin = "{draw(st.sampled_from(("1ms", "3ms", "30s")))}"',
        f'sweep_late = "{draw(durations)}"',
        f"passages = {draw(st.integers(1, 20))}",
        *(f"{key} = {draw(st.integers(0, 3))}" for key in ("destroyed", "crashed", "deaths")),
        "[faults]",
        *(f'"{one}" = {draw(weights)}' for one in draw(st.lists(st.sampled_from(FAULTS), unique=True, max_size=6))),
        "[hardships]",
        *(f"{one} = {draw(weights)}" for one in draw(st.lists(st.sampled_from(HARDSHIPS), unique=True, max_size=5))),
    ]
    try:
        return budget_of("\n".join(text), "drawn.toml")
    except ConfigError:
        reject()  # empty, or it contradicts itself


SHAPES = st.integers(1, 6).map(
    lambda hsms: Shape(tuple((f"hsm-{n + 1}", "abc"[n % (1 + hsms % 3)]) for n in range(hsms)), ("app", "job"))
)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(budgets(), SHAPES, st.integers(0, 2**64))
def test_every_storm_keeps_its_budget(budget, shape, seed):
    """Any budget, any cluster, any seed: an independent auditor finds nothing; nor in what a bisection makes of it."""
    storm = draw_storm(budget, shape, seed)
    assert broken_promises(budget, shape, storm) == []
    assert len(set(storm)) == len(storm)
    for index, spec in enumerate(storm):
        for less in simpler(spec, SCENARIOS):
            assert broken_promises(budget, shape, (*storm[:index], less, *storm[index + 1 :])) == []


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.sampled_from(SHIPPED), st.integers(1, 5), st.integers(0, 2**64))
def test_every_spec_of_a_storm_can_be_installed_and_reads_back(name, hsms, seed):
    """No storm is refused by the cluster that it was drawn for."""
    with HsmCluster(hsms, seed=1) as cluster:
        cluster.client("shop")
        for spec in draw_storm(read_budget(name, Path()), Shape.of(cluster), seed):
            assert str(cluster.chaos.install(spec)) == spec


@pytest.mark.parametrize("name", SHIPPED)
def test_the_cluster_sees_no_more_than_was_promised(name):
    """Played out: at every instant so many HSMs are up, and no more are lost for good."""
    promise = read_budget(name, Path()).promise
    lost_ever = 0
    for seed in range(40):
        with HsmCluster(3, seed=seed) as cluster:
            client = cluster.client("app")
            for spec in draw_storm(read_budget(name, Path()), Shape.of(cluster), seed):
                cluster.chaos.install(spec)
            for number in range(6):
                with suppress(ClusterError):
                    client.encrypt(client.generate_key("AES", 256, label=f"k{number}"), b"data")
                cluster.clock.advance(number)
            states: dict[str, str] = {}
            for event in cluster.history.of(Kind.UP, Kind.DOWN, Kind.PAUSED, Kind.LOST):
                states[event.hsm] = event.kind
                up = sum(kind == Kind.UP for kind in states.values())
                assert len(states) < 3 or up >= promise.untouched
            lost = sum(kind == Kind.LOST for kind in states.values())
            assert lost <= promise.destroyed
            lost_ever += lost
    assert (lost_ever > 0) == (promise.destroyed > 0)


def test_a_storm_comes_from_its_seed():
    """The same seed, the same storm; other seeds, others."""
    heavy = read_budget("heavy", Path())
    storms = [draw_storm(heavy, THREE, seed) for seed in range(50)]
    assert storms == [draw_storm(heavy, THREE, seed) for seed in range(50)]
    assert len(set(storms)) > 45
    assert draw_storm(heavy, THREE, 7) == (
        "partition a=app b=hsm-3 direction=both during=20ms..120ms",
        "throttled hsm=hsm-3 during=5ms..105ms",
    )


def test_every_line_is_drawn_sooner_or_later():
    """No line of the shipped budgets is dead."""
    for name in SHIPPED:
        budget = read_budget(name, Path())
        specs = [spec for seed in range(400) for spec in draw_storm(budget, THREE, seed)]
        parsed = [parse_spec(spec, SCENARIOS) for spec in specs]
        seen = {f"{p.effect.name} {p.point}" if isinstance(p, Fault) else p.name for p in parsed}
        for line in budget.lines:
            fault = getattr(line, "fault", None)
            assert (f"{fault.effect.name} {fault.point}" if fault else line.name) in seen


def test_lines_are_drawn_by_their_weights():
    """Three times the weight, about three times as often; weight 0 never."""
    budget = budget_of(
        '[promise]\nfaults=1\nuntouched=0\nlongest="1s"\ntogether="1s"\n'
        '[faults]\n"drop @ wire.request" = 3\n"drop @ wire.response" = 1\n"corrupt @ wire.request" = 0',
        "team.toml",
    )
    points = [draw_storm(budget, THREE, seed)[0].split()[:3] for seed in range(1000)]
    counts = [points.count(["drop", "@", point]) for point in ("wire.request", "wire.response")]
    assert sum(counts) == 1000
    assert 700 < counts[0] < 800


def test_where_no_hsm_may_be_touched_nothing_is_aimed():
    """A test with a smaller cluster than the budget thinks of gets what is left."""
    light = read_budget("light", Path())
    small = Shape(THREE.hsms[:2])
    for seed in range(200):
        for spec in draw_storm(light, small, seed):
            assert spec.startswith(("stall-sync", "delay-sync"))
    none = budget_of(
        '[promise]\nfaults=1\nuntouched=2\nlongest="1s"\ntogether="1s"\n[hardships]\ncrashed-hsm=1', "team.toml"
    )
    assert draw_storm(none, small, 1) == ()


def test_a_storm_knows_what_is_there():
    """HSMs that are up, and the applications that have come so far."""
    with HsmCluster(3, zones=("x", "y"), seed=1) as cluster:
        assert Shape.of(cluster).applications == ("app",)
        cluster.client("shop")
        cluster.chaos.crash("hsm-2")
        assert Shape.of(cluster) == Shape((("hsm-1", "x"), ("hsm-3", "x")), ("shop",), "crypto_user")


def test_steps_are_durations_that_people_write():
    """1, 2 and 5 of each decade; the end of the range if there is none in it."""
    ms = 1_000_000
    assert [duration_text(ns) for ns in steps(10 * ms, 300 * ms)] == ["10ms", "20ms", "50ms", "100ms", "200ms"]
    assert steps(10 * ms, 9 * ms) == (9 * ms,)
    assert all(a < b for a, b in pairwise(steps(1, NS)))
