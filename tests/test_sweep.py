"""Does each case of a sweep strike where the recorded run passed, and nowhere else?"""

import asyncio
import warnings
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from pytest_hsmcluster.client.config import ConfigWarning
from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.errors import ClusterError, UsageError
from pytest_hsmcluster.faults.effects import EFFECTS
from pytest_hsmcluster.faults.points import Point
from pytest_hsmcluster.faults.spec import parse_fault
from pytest_hsmcluster.history.events import FIELDS, Kind
from pytest_hsmcluster.history.history import History
from pytest_hsmcluster.sweep import Passage, Sweep, narrower
from tests.fates import SHAPES, Actor, Stage
from tests.stories import Story, drawn

EVERYTHING = (
    "delay 1ms",
    "hold",
    "drop",
    "corrupt",
    "corrupt payload",
    "fail CKR_DEVICE_ERROR",
    "crash",
    "destroy here",
    "pause",
    "fill-disk",
)


def recorded(story: Story, *specs: str) -> tuple[int, list[tuple[Any, ...]]]:
    """Tell a story with these faults; return the index of the first event that they could strike, and all records."""
    shape = SHAPES[story.shape]
    with warnings.catch_warnings(), HsmCluster(seed=story.seed, keys="seeded", **shape) as cluster:
        warnings.simplefilter("ignore", ConfigWarning)
        cluster.create_user("bob", "password")
        first = cluster.client("first").generate_key("AES", 256, label="label-0")

        def open_one(number: int) -> Any:
            with suppress(ClusterError):
                return cluster.client(f"app-{number + 1}")
            return cluster.client(f"app-{number + 1}", login=False)

        stage = Stage(cluster, [Actor(open_one(n), partial(open_one, n)) for n in range(story.clients)], [first])
        start = len(cluster.history)
        for spec in specs:
            cluster.chaos.inject(spec)

        async def tell() -> None:
            for index, step in enumerate(story.steps):
                await stage.act(index, step)

        asyncio.run(tell())
        return start, list(cluster.history.records)


@pytest.mark.parametrize("seed", range(len(SHAPES)))
def test_case_strikes_exactly_at_its_passage(seed):
    """Up to the passage a case's journal is that of the clean run; the next record is that its fault strikes."""
    story = drawn(seed + 40, 14)
    start, clean = recorded(story)
    sweep = Sweep.of(*EVERYTHING, points="*", op="*" if seed % 2 else None)
    passages = sweep.passages(History(clean), start, len(clean))
    assert passages
    seen: dict[tuple[Any, ...], None] = {}
    for number, passage in enumerate(passages):
        cases = sweep.cases([passage])
        kind = (passage.point, passage.command, passage.nth > 1)
        if not cases or (kind in seen and number % 23):
            continue  # one of each kind, and some more
        seen[kind] = None
        (spec,) = cases[number % len(cases)]
        again_start, records = recorded(story, spec)
        assert again_start == start
        assert records[: passage.place + 1] == clean[: passage.place + 1], spec
        struck = records[passage.place + 1]
        assert (struck[0], struck[3]) == (Kind.INJECT, spec)
        assert [one for one in records if one[0] == Kind.INJECT and one[3] == spec] == [struck]
    assert len(seen) > 10


def test_every_point_is_enumerated():
    """Over these stories passages of nearly every point were found, and each effect that one takes made a case."""
    found: dict[Point, None] = {}
    for seed in range(8):
        start, records = recorded(drawn(seed + 40, 14))
        sweep = Sweep.of(*EVERYTHING, points="*")
        for passage in sweep.passages(History(records), start, len(records)):
            found[passage.point] = None
            names = [parse_fault(spec).effect.name for (spec,) in sweep.cases([passage])]
            takes = [name for name in passage.point.effects if name != "pass"]
            assert set(names) == set(takes), passage
    assert len(found) >= 14, [point for point in Point if point not in found]


# -- passages ---------------------------------------------------------------------------


def reach(point: str, op: str | None = None, command: str | None = None, hsm: str | None = None) -> tuple[Any, ...]:
    return (Kind.REACH, 0, 1, point, op, command, hsm, "app", "crypto_user", None)


def struck(spec: str) -> tuple[Any, ...]:
    return (Kind.INJECT, 0, 1, spec, spec.split(" @ ")[1].split()[0], "hsm-1", "app", 1)


def test_hand_made_records_are_well_formed():
    """The tests below speak the journal's language."""
    assert len(reach("hsm.commit")) == 2 + len(FIELDS[Kind.REACH])
    assert len(struck("crash @ hsm.commit")) == 2 + len(FIELDS[Kind.INJECT])


def test_passages_are_counted_as_a_fault_would_count_them():
    """`nth` is the ordinal among passages of the same point, command and HSM, from where the storm begins."""
    records = [
        reach("hsm.commit", "sign", "sign", "hsm-1"),  # before the storm
        reach("hsm.commit", "generate_key", "generate_key", "hsm-1"),
        reach("hsm.reply", "generate_key", "generate_key", "hsm-1"),
        reach("hsm.commit", "sign", "sign", "hsm-1"),
        reach("hsm.commit", "generate_key", "generate_key", "hsm-2"),
        reach("hsm.commit", "import_key", "generate_key", "hsm-1"),
        reach("hsm.commit", "generate_key", "generate_key", "hsm-1"),  # behind it
    ]
    sweep = Sweep.of("crash", points="hsm.commit")
    found = sweep.passages(History(records), 1, 6)
    assert [(one.place, one.command, one.hsm, one.nth) for one in found] == [
        (1, "generate_key", "hsm-1", 1),
        (3, "sign", "hsm-1", 1),
        (4, "generate_key", "hsm-2", 1),
        (5, "generate_key", "hsm-1", 2),
    ]
    assert sweep.cases(found)[3] == ("crash @ hsm.commit command=generate_key hsm=hsm-1 nth=2",)


def test_operations_have_a_count_of_their_own_when_they_are_asked_for():
    """With op= a spec names the operation, and `nth` counts within it; the service's own work has none."""
    records = [
        reach("client.clone", "generate_key", None, "hsm-2"),
        reach("client.clone", "import_key", None, "hsm-2"),
        reach("client.clone", "generate_key", None, "hsm-2"),
        reach("client.clone", None, None, "hsm-2"),
    ]
    sweep = Sweep.of("drop", points="client.clone", op="generate_* unwrap_key")
    found = sweep.passages(History(records), 0, 4)
    assert [(one.place, one.nth) for one in found] == [(0, 1), (2, 2)]
    assert sweep.cases(found)[1] == ("drop @ client.clone op=generate_key hsm=hsm-2 nth=2",)
    every = Sweep.of("drop", points="client.clone")
    assert [one.nth for one in every.passages(History(records), 0, 4)] == [1, 2, 3, 4]


def test_what_is_not_known_counts_for_everything():
    """A spec without hsm= matches all HSMs, so where none is known all passages count."""
    records = [
        reach("client.route", "sign", "sign", "hsm-1"),
        reach("client.route", "sign", "sign", None),
        reach("client.route", "sign", "sign", None),
        reach("client.route", "verify", "verify", None),
    ]
    found = Sweep.of("fail CKR_DEVICE_ERROR", points="client.route").passages(History(records), 1, 4)
    assert [(one.place, one.nth) for one in found] == [(1, 1), (2, 2), (3, 1)]
    mixed = Sweep.of("fail CKR_DEVICE_ERROR", points="client.route").passages(History(records), 0, 4)
    assert [one.nth for one in mixed if one.hsm is None] == [2, 3, 1]


def test_passage_that_was_struck_counts_but_makes_no_case():
    """Where a fault of the test's own strikes nothing else can; the next passage is the second all the same."""
    records = [
        reach("hsm.commit", "sign", "sign", "hsm-1"),
        struck("crash @ hsm.commit"),
        reach("hsm.commit", "sign", "sign", "hsm-1"),
    ]
    found = Sweep.of("crash", points="hsm.commit").passages(History(records), 0, 3)
    assert [(one.place, one.nth) for one in found] == [(2, 2)]


def test_cases_come_in_the_order_of_passages_and_effects():
    """Each passage gets every effect that its point can take, as the marker lists them, once."""
    passages = [
        Passage(0, Point.WIRE_REQUEST, "sign", "sign", "hsm-1", 1),
        Passage(1, Point.HSM_REPLY, "sign", "sign", "hsm-1", 1),
    ]
    sweep = Sweep.of("drop", "crash", "delay 1s", "crash", "corrupt payload", points="wire.* hsm.*")
    assert [spec for (spec,) in sweep.cases(passages)] == [
        "drop @ wire.request command=sign hsm=hsm-1 nth=1",
        "delay 1s @ wire.request command=sign hsm=hsm-1 nth=1",  # a sign carries no payload
        "crash @ hsm.reply command=sign hsm=hsm-1 nth=1",
        "delay 1s @ hsm.reply command=sign hsm=hsm-1 nth=1",
    ]


def test_pairs_begin_with_the_case_and_end_behind_it():
    """The second fault is at a passage behind the first's strike, in the journal of the first's own run."""
    first = "crash @ hsm.commit command=sign hsm=hsm-1 nth=1"
    records = [
        reach("hsm.reply", "login", "login", "hsm-1"),
        reach("hsm.commit", "sign", "sign", "hsm-1"),
        struck(first),
        reach("hsm.commit", "sign", "sign", "hsm-2"),
        reach("hsm.reply", "login", "login", "hsm-1"),
        reach("hsm.reply", "sign", "sign", "hsm-2"),
    ]
    sweep = Sweep.of("crash", points="hsm.commit hsm.reply", depth=2)
    assert sweep.pairs((first,), History(records), 0, 5) == [
        (first, "crash @ hsm.commit command=sign hsm=hsm-2 nth=1"),
        (first, "crash @ hsm.reply command=login hsm=hsm-1 nth=2"),
    ]
    assert sweep.pairs(("crash @ hsm.start nth=1",), History(records), 0, 5) == []  # it did not strike


def test_defaults_are_crashes_and_lost_messages():
    """Without arguments HSMs crash and messages vanish."""
    sweep = Sweep.of()
    assert [str(effect) for effect in sweep.effects] == ["crash", "drop"]
    assert {point.place for point in sweep.points} == {"hsm", "wire"}
    assert (sweep.op, sweep.depth, sweep.shards) == (None, 1, 1)


# -- mistakes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, options, said",
    [
        (["crahs"], {}, "unknown effect 'crahs' (did you mean 'crash'?)"),
        ([""], {}, "an effect is text such as 'crash' or 'delay 30s'; got ''"),
        ([3], {}, "an effect is text such as 'crash' or 'delay 30s'; got 3"),
        (["pass"], {}, "'pass' breaks nothing; a sweep wants effects that do"),
        (["delay"], {}, "delay"),
        (["crash a b"], {}, "an effect takes one argument at most"),
        (["crash @ hsm.commit"], {}, "effects alone are wanted, points= says where"),
        (["crash"], {"points": "wire.*"}, "none of these points can take crash; client.route, client.send, "),
        (["drop"], {"points": "hsm.*"}, "none of these points can take drop; client.send, wire.request, "),
        ([], {"points": "hsm.comit"}, "points='hsm.comit' matches no point (did you mean 'hsm.commit'?); there are "),
        ([], {"points": "hsm.* wier.*"}, "points='wier.*' matches no point"),
        ([], {"points": ""}, "points= takes shell patterns of points, separated by blanks, such as 'hsm.* wire.*'"),
        ([], {"points": ["hsm.*"]}, "points= takes shell patterns of points"),
        ([], {"op": "insert_masked"}, "op='insert_masked' matches no operation"),
        ([], {"op": "generate_kye"}, "op='generate_kye' matches no operation (did you mean 'generate_key'?)"),
        ([], {"op": " "}, "op= takes shell patterns of operations"),
        ([], {"depth": 3}, "depth= is a whole number, 1 to 2; got 3"),
        ([], {"depth": True}, "depth= is a whole number, 1 to 2; got True"),
        ([], {"shards": 0}, "shards= is a whole number, 1 to 1000; got 0"),
        ([], {"shards": "2"}, "shards= is a whole number, 1 to 1000; got '2'"),
    ],
)
def test_each_mistake_is_told(arguments, options, said):
    """What is wrong, what is allowed, and the nearest right spelling."""
    with pytest.raises(UsageError) as caught:
        Sweep.of(*arguments, **options)
    assert said in str(caught.value)


def test_all_mistakes_are_told_at_once():
    """One line each."""
    with pytest.raises(UsageError) as caught:
        Sweep.of("crahs", "pass", points="hsm.comit", op="sing", depth=0, shards=-1)
    assert len(str(caught.value).splitlines()) == 6


@pytest.mark.parametrize("effect", [name for name in EFFECTS if name != "pass"])
def test_every_effect_can_be_swept(effect):
    """Each effect of the catalogue is taken somewhere."""
    text = {"delay": "delay 1s", "fail": "fail 0xBB"}.get(effect, effect)
    assert [one.name for one in Sweep.of(text, points="*").effects] == [effect]


def test_too_many_cases_are_told_with_what_would_narrow_them():
    """By point and by operation, the most frequent first, with how many cases each would make."""
    passages = [
        *(Passage(n, Point.HSM_COMMIT, "sign", "sign", "hsm-1", n + 1) for n in range(6)),
        *(Passage(n, Point.HSM_REPLY, None, "sign", "hsm-1", n + 1) for n in range(4)),
    ]
    assert narrower(passages, 20, 15).splitlines() == [
        "20 cases are above the limit of 15 (ini hsm_sweep_limit), and nothing was swept; narrow it:",
        "  points='hsm.commit' about 12, points='hsm.reply' about 8",
        "  op='sign' about 12",
    ]
