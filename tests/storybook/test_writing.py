"""Does what is written down fail in the same way when it is pasted?"""

import ast
import re

from pytest_hsmcluster.faults.spec import parse_fault
from pytest_hsmcluster.stories.drawing import drawn
from pytest_hsmcluster.stories.playing import play
from pytest_hsmcluster.stories.shortening import shortest
from pytest_hsmcluster.stories.story import CHAOS, CLOCK, CLUSTER, Ref, Shape, Step, Story
from pytest_hsmcluster.stories.writing import regression_test, specs

OPEN = Step(CLUSTER, "client", ("app",), gives="app")
CREATE = Step("app", "generate_key", ("AES", 256), (("label", "kek"),), "key_1")
CHECKS = ("no_lost_keys", "no_orphan_keys", "no_resurrected_keys", "misses_retried")


def fault(spec, number=1):
    return Step(CHAOS, "inject", (parse_fault(spec),), gives=f"trouble_{number}")


def played(*steps, shape=Shape(), **options):  # noqa: B008  a value
    return play(Story(shape, (OPEN, *steps), checks=CHECKS, **options))


def body(text):
    """The lines of the test function, without its docstring."""
    function = ast.parse(text).body[-1]
    return [ast.unparse(node) for node in function.body if not isinstance(getattr(node, "value", None), ast.Constant)]


def found(count):
    """A few drawn stories that break promises, as short as they get."""
    for seed in range(300):
        story = Story(**{**{name: getattr(drawn(seed), name) for name in ("shape", "steps", "seed")}, "checks": CHECKS})
        names = play(story).findings.keys()
        if names:
            yield play(shortest(story, lambda one, names=names: play(one).findings.keys() == names))
            count -= 1
        if not count:
            return


def test_pasted_tests_find_the_same(pasted):
    """The very same findings, in a run of pytest that knows nothing of stories."""
    stories = list(found(12))
    result = pasted(*map(regression_test, stories))
    result.assert_outcomes(failed=len(stories))
    told = re.sub(r"\s+", " ", result.stdout.str())
    for one in stories:
        for text in one.findings.values():
            assert re.sub(r"\s+", " ", text) in told


def test_specs_do_the_same_from_the_beginning_of_a_test(pasted):
    """The calls alone break no promise; with `--hsm-chaos` they break the same one."""
    steps = (CREATE, fault("destroy source @ client.clone nth=2"), Step("app", "random", (1,)))
    late = played(
        *(CREATE, Step(CLOCK, "advance", (1,)), *steps[1:], Step(CHAOS, "install", ("crashed-hsm hsm=hsm-1",))),
        *(Step("app", "encrypt", (Ref("key_1"), b"data")), Step("app", "generate_key", ("AES", 128))),
        *(Step(CHAOS, "install", (f"destroyed-hsm hsm=hsm-{number}",)) for number in (1, 2)),
        *(
            Step("app", "random", (1,)),
            Step(CHAOS, "install", ("destroyed-hsm hsm=hsm-3",)),
            Step("app", "random", (1,)),
        ),
    )
    told = specs(late)
    assert "no_lost_keys" in late.findings
    assert any("during=" in spec for spec in told), told
    calm = regression_test(play(late.story.calm))
    pasted(calm).assert_outcomes(passed=1)
    result = pasted(calm, options=tuple(f"--hsm-chaos={spec}" for spec in told))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*lost key 'kek' (key-1*"])


def test_fault_is_placed_where_it_struck():
    """One that was installed in the middle counts from the beginning, about the operation and the HSM alone."""
    story = played(CREATE, fault("destroy @ hsm.reply nth=1"), CREATE, shape=Shape(1))
    assert story.findings.keys() == {"no_lost_keys"}
    assert specs(story) == ("destroy @ hsm.reply op=generate_key command=generate_key hsm=hsm-1 nth=2",)


def test_no_specs_are_given_where_nothing_was_installed():
    """An operator who removes the only HSM needs no fault."""
    story = played(CREATE, Step(CLUSTER, "remove_hsm", ("hsm-1",)), shape=Shape(1))
    assert story.findings.keys() == {"no_lost_keys"}
    assert specs(story) == ()


def test_what_struck_nobody_is_left_out():
    """With what takes it back; so are steps that made no sense."""
    text = regression_test(
        played(
            CREATE,
            fault("drop @ wire.response op=sign nth=1", 1),
            Step("trouble_1", "remove"),
            Step(CHAOS, "install", ("destroyed-hsm hsm=hsm-1",), gives="trouble_2"),
            Step(CHAOS, "install", ("crashed-hsm hsm=hsm-1",), gives="trouble_3"),
        )
    )
    assert body(text) == [
        "app = hsm_cluster.client('app')",
        "app.generate_key('AES', 256, label='kek')",
        "hsm_chaos.install('destroyed-hsm hsm=hsm-1')",
    ]


def test_answer_that_was_no_result_is_allowed_for():
    """Whichever answer it will be tomorrow."""
    text = regression_test(played(fault("drop @ wire.response op=generate_key command=generate_key nth=1"), CREATE))
    assert "from contextlib import suppress" in text
    assert "    with suppress(ClusterError):  # RequestTimeout\n        app.generate_key(" in text


def test_seed_is_named_only_where_something_was_drawn_by_lot():
    """Otherwise nothing depends on it, and in another version it would draw other things."""
    assert "seed=" not in regression_test(played(CREATE))
    by_route = regression_test(played(CREATE, shape=Shape(settings=(("routing", "random"),)), seed=7))
    by_chance = regression_test(played(fault("delay 1ms @ hsm.execute chance=0.5"), CREATE, seed=7))
    assert "seed=7" in by_route and "seed=7" in by_chance
    assert 'keys="seeded"' in by_route


def test_hardship_whose_cause_missed_may_miss():
    """`fail-cleanup` is kept for its consequences, and a test would fail because the cleanup never came."""
    shape = Shape(3, 3, 2)
    hardship = Step(CHAOS, "install", ("fail-cleanup hsm=hsm-3",), gives="trouble_1")
    story = played(hardship, Step("app", "generate_key", ("AES", 256)), shape=shape)
    text = regression_test(story)
    if "fail-cleanup" in text:
        assert ".allow_miss(" in text or story.told[1].result.hits
