"""What is a story, and how does it print?"""

import pytest

from pytest_hsmcluster import CKA, CKM, CounterKdfParams, HsmCluster, UsageError
from pytest_hsmcluster.faults.spec import parse_fault
from pytest_hsmcluster.stories.story import CHAOS, CLOCK, CLUSTER, Ref, Shape, Step, Story, source

OPEN = Step(CLUSTER, "client", ("app",), gives="app")


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (OPEN, 'app = hsm_cluster.client("app")'),
        (Step("app", "generate_key", ("AES", 256), (("label", "kek"),), "key_1"), None),
        (Step("app", "sign", (Ref("pair_1", "private"), b"data")), 'app.sign(pair_1.private, b"data")'),
        (Step("app", "set_attribute", (Ref("key_1"), CKA.TOKEN, True)), "app.set_attribute(key_1, CKA.TOKEN, True)"),
        (Step("app", "import_key", ("AES", b"\x01'\"")), "app.import_key(\"AES\", b'\\x01\\'\"')"),
        (Step("vault", "load", ("it's",), equals=(b"x",)), 'assert vault.load("it\'s") == b"x"'),
        (Step("Vault", "", (Ref("app"),), gives="vault"), "vault = Vault(app)"),
        (Step(CHAOS, "inject", (parse_fault("drop @ wire.request nth=1"),)), None),
        (Step("app", "use", ((1, "a"), {CKA.SIGN: False})), 'app.use((1, "a"), {CKA.SIGN: False})'),
    ],
    ids=lambda value: value.does if isinstance(value, Step) else "",
)
def test_step_prints_as_the_line_of_a_test(step, line):
    """Python that means the same."""
    known = {
        "generate_key": 'key_1 = app.generate_key("AES", 256, label="kek")',
        "inject": 'hsm_chaos.inject("drop @ wire.request nth=1")',
    }
    assert str(step) == (line or known[step.does])


def test_value_prints_as_what_evaluates_to_it():
    """Without what is as it is by default, so that it is right in another version too."""
    params = CounterKdfParams(label=b"l", prf=CKM.SHA384_HMAC, context=b"c")
    assert source(params) == 'CounterKdfParams(prf=CKM.SHA384_HMAC, label=b"l", context=b"c")'
    assert eval(source(params), {"CounterKdfParams": CounterKdfParams, "CKM": CKM}) == params


def test_shape_is_what_the_cluster_is_given():
    shape = Shape(4, 3, 2, (("sweep", False), ("zones", ("x", "y"))))
    assert shape.ids == ("hsm-1", "hsm-2", "hsm-3", "hsm-4")
    assert shape.zones == ("x", "y")
    with HsmCluster(**shape.arguments) as same, shape.cluster() as one:
        assert one.profile == same.profile
        assert [hsm.zone for hsm in one.hsms] == ["x", "y", "x", "y"]


def test_shape_leaves_the_seed_to_the_story():
    with pytest.raises(UsageError, match="seed is not"):
        Shape(settings=(("seed", 3),))


def test_calm_story_has_no_trouble_and_all_the_rest():
    """Faults and hardships go, with what takes them back."""
    trouble = Step(CHAOS, "install", ("crashed-hsm hsm-1",), gives="trouble_1")
    wait = Step(CLOCK, "advance", (60,))
    story = Story(Shape(), (OPEN, trouble, wait, Step("trouble_1", "end"), Step(CHAOS, "restart", ("hsm-1",))))
    assert story.calm.steps == (OPEN, wait, Step(CHAOS, "restart", ("hsm-1",)))
    assert str(story.calm).splitlines()[1] == "hsm_clock.advance(60)"
