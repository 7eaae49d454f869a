"""Specs: faults and scenarios as text, both ways."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_hsmcluster.cryptoki import CKR
from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.faults.effects import Corrupt, Crash, Delay, Destroy, Drop, Fail, Hold, Pass
from pytest_hsmcluster.faults.points import CREATING, Point
from pytest_hsmcluster.faults.spec import (
    Fault,
    Scenario,
    contradictions,
    parse_fault,
    parse_scenario,
    parse_spec,
)
from pytest_hsmcluster.faults.when import COMMANDS, OPERATIONS, PER, When
from pytest_hsmcluster.faults.words import SpecError

SETTLED = settings(deadline=None, derandomize=True, database=None)

SCENARIOS = ("kill-mid-create", "delay-sync", "lost-ack")

EXAMPLES = [
    (
        "crash @ hsm.commit command=insert_masked nth=1",
        Fault(Crash(), Point.HSM_COMMIT, When(command="insert_masked", nth=1)),
    ),
    ("delay 30s @ sync.sweep", Fault(Delay(30_000_000_000), Point.SYNC_SWEEP)),
    ("destroy source @ client.clone nth=2 per=op", Fault(Destroy("source"), Point.CLIENT_CLONE, When(nth=2, per="op"))),
    (
        "drop @ wire.response op=sign command=sign nth=1",
        Fault(Drop(), Point.WIRE_RESPONSE, When("sign", "sign", nth=1)),
    ),
    ("fail 0xBB @ hsm.receive hsm=hsm-2", Fault(Fail("187"), Point.HSM_RECEIVE, When(hsm="hsm-2"))),
    ("hold @ hsm.reply client=app#2 user=alice", Fault(Hold(), Point.HSM_REPLY, When(client="app#2", user="alice"))),
    ("pass @ sync.clone key='kek 1' chance=0.25", Fault(Pass(), Point.SYNC_CLONE, When(key="kek 1", chance=0.25))),
    ("corrupt payload @ wire.request", Fault(Corrupt(payload=True), Point.WIRE_REQUEST)),
    (
        "fail CKR_DEVICE_ERROR @ hsm.start during=10s..1m",
        Fault(Fail("CKR_DEVICE_ERROR"), Point.HSM_START, When(during="10s..60s")),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fault"), EXAMPLES, ids=[text for text, _ in EXAMPLES])
def test_a_fault_is_written_as_effect_at_point_with_keys(text, fault):
    """Both spellings are one object: the spec parses to the fault, the fault prints as the spec."""
    assert parse_fault(text) == fault
    assert str(fault) == text
    assert parse_spec(text, SCENARIOS) == fault


def test_order_of_keys_and_blanks_do_not_matter():
    """A spec is read by its words."""
    assert parse_fault(" crash  @ hsm.commit nth=1\n command=insert_masked ") == EXAMPLES[0][1]


IDS = st.sampled_from(["hsm-1", "hsm-2", "source", "10.0.0.3"])
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
EFFECTS = st.one_of(
    st.just(Pass()),
    st.builds(Delay, st.integers(0, 10**15)),
    st.just(Hold()),
    st.just(Drop()),
    st.builds(Corrupt, st.booleans()),
    st.builds(Fail, st.sampled_from([f"CKR_{each.name}" for each in CKR][1:] + ["HsmBusy"])),
    st.builds(Fail, st.integers(1, 2**32 - 1).map(str)),
    st.builds(Crash, st.none() | IDS),
    st.builds(Destroy, st.none() | IDS),
)


@st.composite
def whens(draw):
    nth = draw(st.none() | st.integers(1, 10**6))
    return When(
        op=draw(st.none() | st.sampled_from([*OPERATIONS, "*_key", "sig?"])),
        command=draw(st.none() | st.sampled_from([*COMMANDS, "*_masked"])),
        hsm=draw(st.none() | NAMES),
        client=draw(st.none() | NAMES),
        key=draw(st.none() | NAMES),
        user=draw(st.none() | NAMES),
        nth=nth,
        per=draw(st.none() | st.sampled_from(PER)) if nth else None,
        during=draw(st.none() | st.tuples(st.integers(0, 10**12), st.integers(10**12 + 1, 10**15))),
        chance=draw(st.none() | st.floats(0, 1, exclude_min=True)),
    )


@SETTLED
@given(EFFECTS, st.sampled_from(list(Point)), whens())
def test_every_fault_reads_back_and_every_contradiction_is_refused(effect, point, when):
    """What can be built prints as a spec that parses to an equal fault; the rest is refused both ways."""
    if contradictions(effect, point, when):
        with pytest.raises(UsageError, match="can never act"):
            Fault(effect, point, when)
        return
    fault = Fault(effect, point, when)

    assert parse_fault(str(fault)) == fault
    assert str(parse_fault(str(fault))) == str(fault)


@pytest.mark.parametrize("point", Point)
@pytest.mark.parametrize(
    "effect", ["pass", "delay 1s", "hold", "drop", "corrupt", "fail 0xBB", "crash", "destroy", "pause", "fill-disk"]
)
def test_a_point_refuses_the_effects_that_it_cannot_take(point, effect):
    """Refused early, with the effects that are allowed there."""
    text = f"{effect} @ {point}"
    if effect.split()[0] in point.effects:
        assert str(parse_fault(text)) == text
    else:
        with pytest.raises(SpecError, match=f"{point} cannot take {effect.split()[0]}; it takes pass, "):
            parse_fault(text)


@pytest.mark.parametrize(
    ("text", "wrong", "message"),
    [
        ("crahs @ hsm.commit", "crahs", "unknown effect 'crahs' (did you mean 'crash'?)"),
        ("crash @ hsm.comit", "hsm.comit", "unknown point 'hsm.comit' (did you mean 'hsm.commit'?)"),
        ("delay 30 @ sync.sweep", "30", "did you mean '30s'"),
        ("delay @ sync.sweep", "delay", "delay needs a duration"),
        ("drop it @ wire.request", "it", "drop takes no argument"),
        ("delay 1s 2s @ sync.sweep", "2s", "an effect takes one argument at most"),
        ("crash @ hsm.commit nth", "nth", "not key=value"),
        ("crash @ hsm.commit @", "@", "not key=value"),
        ("crash @ hsm.commit nth=1 nth=2", "nth=2", "nth= is given twice"),
        ("crash @ hsm.commit nth=0", "nth=0", "nth= takes a whole number from 1"),
        ("crash @ hsm.commit nht=1", "nht=1", "unknown key 'nht' (did you mean 'nth'?)"),
        ("crash @ hsm.commit op=insert_masked", "op=insert_masked", "you may mean command=insert_masked"),
        ("crash @ hsm.commit per=op", "per=op", "without nth= it changes nothing"),
        ("crash here @ client.route", "here", "no HSM is chosen yet at client.route"),
        ("crash source @ client.route", "source", "no HSM is chosen yet at client.route"),
        ("fail 0xBB @ client.route hsm=hsm-1", "hsm=hsm-1", "the HSM is about to be chosen"),
        ("delay 1s @ sync.clone op=sign", "op=sign", "op= can never match at sync.clone: there only hsm key are known"),
        ("delay 1s @ sync.sweep hsm=hsm-1", "hsm=hsm-1", "about no single operation, HSM or key"),
        ("delay 1s @ hsm.start client=app", "client=app", "there only hsm are known"),
        ("delay 1s @ hsm.stop user=u", "user=u", "user= can never match at hsm.stop"),
        ("fail 0xBB @ hsm.restore key=k", "key=k", "key= can never match at hsm.restore"),
        ("drop @ client.clone command=insert_masked", "command=insert_masked", "hsm.* and wire.* see the commands"),
        ("delay 1s @ sync.clone nth=2 per=client", "per=client", "client= can never match at sync.clone"),
        ("drop @ client.clone op=sign", "op=sign", "only operations that create keys come to client.clone"),
        ("drop @ client.cleanup op=delete_*", "op=delete_*", "only operations that create keys come to client.cleanup"),
        ("corrupt payload @ wire.request command=sign", "command=sign", "at wire.request only insert_masked"),
        ("corrupt payload @ wire.response command=insert_*", "command=insert_*", "only extract_masked carries one"),
        ("crash@hsm.commit", "crash@hsm.commit", "'@' stands alone, with blanks around it"),
        ("crash @hsm.commit", "@hsm.commit", "'@' stands alone, with blanks around it"),
        ("@ hsm.commit", "@", "what happens is missing; effects are pass, delay"),
        ("crash @", "@", "where it happens is missing; points are client.route"),
    ],
)  # fmt: skip
def test_a_wrong_part_is_shown(text, wrong, message):
    """One mistake, one caret line below the part that is wrong, with what is allowed."""
    with pytest.raises(SpecError) as refused:
        parse_fault(text)

    (mistake,) = refused.value.mistakes
    start = text.rindex(wrong)
    assert (mistake.start, mistake.end) == (start, start + len(wrong))
    assert message in mistake.message
    assert text in str(refused.value)


def test_all_mistakes_of_a_spec_are_told_at_once():
    """In the order of the text; a wrong `nth` is not reported again as a missing one."""
    with pytest.raises(SpecError) as refused:
        parse_fault("crahs @ hsm.comit nth=0 per=op foo")

    assert [mistake.start for mistake in refused.value.mistakes] == [0, 8, 18, 31]


def test_contradictions_are_told_beside_other_mistakes():
    """A point that cannot take the effect and a bad key come together."""
    with pytest.raises(SpecError) as refused:
        parse_fault("hold @ hsm.commit nth=0 command=sign")

    assert len(refused.value.mistakes) == 2


def test_a_spec_without_a_point_is_no_fault():
    """The caret stands where the point is missing."""
    with pytest.raises(SpecError, match=r"no '@ POINT' in it; a fault is EFFECT \[ARGUMENT\] @ POINT"):
        parse_fault("crash nth=1")


@pytest.mark.parametrize("op", [*CREATING, "generate_*", "*"])
def test_creating_operations_come_to_the_clone_point(op):
    """An operation that makes keys, or a pattern that matches one, is allowed."""
    assert parse_fault(f"drop @ client.clone op={op}").when.op == op


@pytest.mark.parametrize(
    "text",
    [
        "corrupt payload @ wire.request command=insert_masked",
        "corrupt payload @ wire.response command=*_masked",
        "corrupt @ wire.request command=sign",
    ],
)
def test_a_masked_object_can_be_corrupted_where_there_is_one(text):
    """In the request that inserts and in the answer that extracts; plain `corrupt` anywhere on the wire."""
    assert str(parse_fault(text)) == text


def test_an_application_can_crash_before_an_hsm_is_chosen():
    """Without a target, or with the id of an HSM, nothing needs to be chosen."""
    assert parse_fault("crash @ client.route").effect == Crash()
    assert parse_fault("crash hsm-2 @ client.route").effect == Crash("hsm-2")


def test_a_fault_in_python_is_refused_for_the_same_reasons():
    """`Fault` refuses what the spec refuses, all reasons at once."""
    with pytest.raises(
        UsageError, match=r"hold @ sync.sweep op=sign can never act: .*cannot take hold.*; op= can never"
    ):
        Fault(Hold(), Point.SYNC_SWEEP, When(op="sign"))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("crash", Point.HSM_COMMIT), "the effect of a fault is an effect, got 'crash'"),
        ((Crash, Point.HSM_COMMIT), "the effect of a fault is an effect"),
        ((Crash(), "hsm.commit"), "the point of a fault is a Point, got 'hsm.commit'"),
        ((Crash(), Point.HSM_COMMIT, {"nth": 1}), "the when of a fault is a When"),
    ],
)
def test_a_fault_is_made_of_an_effect_a_point_and_a_condition(parts, message):
    """Anything else is a mistake of the caller."""
    with pytest.raises(UsageError, match=message):
        Fault(*parts)


@pytest.mark.parametrize(
    ("text", "scenario"),
    [
        ("kill-mid-create", Scenario("kill-mid-create")),
        ("kill-mid-create after_copies=2", Scenario("kill-mid-create", (("after_copies", "2"),))),
        ("delay-sync 30s", Scenario("delay-sync", (), ("30s",))),
        (
            "partition 'app 1' '@' 'a=b' direction=to",
            Scenario("partition", (("direction", "to"),), ("app 1", "@", "a=b")),
        ),
        ("lost-ack op=sign key=''", Scenario("lost-ack", (("op", "sign"), ("key", "")))),
    ],
)  # fmt: skip
def test_a_scenario_is_a_name_with_arguments(text, scenario):
    """Both spellings are one object."""
    assert parse_scenario(text) == scenario
    assert str(scenario) == text


@SETTLED
@given(
    st.lists(st.tuples(st.sampled_from(["a", "after_copies", "k-1"]), NAMES), unique_by=lambda pair: pair[0]),
    st.lists(NAMES | st.just("x=y")),
)
def test_every_scenario_reads_back(arguments, positional):
    """Whatever the values contain."""
    scenario = Scenario("kill-mid-create", tuple(arguments), tuple(positional))

    assert parse_scenario(str(scenario)) == scenario


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("after_copies=2", "a scenario begins with its name"),
        ("'kill mid create'", "a scenario begins with its name"),
        ("lost-ack op=sign op=verify", "op= is given twice"),
        ("delay-sync period=1s 30s", "an argument without a key stands before those with one"),
    ],
)
def test_a_malformed_scenario_is_refused(text, message):
    """The error shows the part that is wrong."""
    with pytest.raises(SpecError, match=message):
        parse_scenario(text)


@pytest.mark.parametrize("words", [("kill mid create", ()), ("", ()), ("lost-ack", (("a b", "1"),))])
def test_a_scenario_in_python_is_refused_where_it_would_not_read_back(words):
    """Name and keys are single words."""
    with pytest.raises(UsageError, match="a scenario's name and keys are words"):
        Scenario(*words)


def test_a_spec_is_a_scenario_where_it_has_no_point():
    """An `@` inside a value makes no fault."""
    assert parse_spec("lost-ack op=sign key=me@home", SCENARIOS) == Scenario(
        "lost-ack", (("op", "sign"), ("key", "me@home"))
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kill-mid-creat", r"is called 'kill-mid-creat' \(did you mean 'kill-mid-create'\?\); there are delay-sync"),
        ("crahs", r"no scenario is called 'crahs' \(did you mean 'crash'\?\)"),
        ("crash", "no '@ POINT' in it"),
        ("crash@hsm.commit", "'@' stands alone"),
        ("kill-mid-create @ hsm.commit", "kill-mid-create is a scenario: it stands alone, without @ and a point"),
        ("crahs @ hsm.commit", "unknown effect 'crahs'"),
        ("", "an empty spec"),
    ],
)  # fmt: skip
def test_what_is_neither_is_refused_with_the_nearest_spelling(text, message):
    """The error says what there is."""
    with pytest.raises(SpecError, match=message):
        parse_spec(text, SCENARIOS)


DOCS = (Path(__file__).parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", re.findall(r"(?m)^\| `([a-z][^`]* @ [^`]*)` \|", DOCS))
def test_the_specs_of_the_docs_can_be_used(text):
    """What people copy from docs/faults.md parses."""
    assert parse_fault(str(parse_fault(text))) == parse_fault(text)


def test_the_table_of_points_in_the_docs_is_complete():
    """docs/faults.md lists every point with the effects that it takes."""
    rows = re.findall(r"(?m)^\| ((?:`[a-z]+\.[a-z]+` ?)+)\|[^|]*\| ([a-z -]+) \|", DOCS)
    listed = {point: tuple(effects.split()) for points, effects in rows for point in re.findall("`(.*?)`", points)}

    assert listed == {point.value: point.effects[1:] for point in Point}
