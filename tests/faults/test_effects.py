"""Effects: what can be made to happen, and how it is spelled."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_hsmcluster.errors import HsmBusy, UsageError
from pytest_hsmcluster.faults.effects import (
    EFFECTS,
    Corrupt,
    Crash,
    Delay,
    Destroy,
    Drop,
    Fail,
    FillDisk,
    Hold,
    Pass,
    Pause,
    duration_ns,
    duration_text,
    effect_of,
)

SETTLED = settings(deadline=None, derandomize=True, database=None)

SPELLINGS = [
    (Pass(), "pass"),
    (Delay(30_000_000_000), "delay 30s"),
    (Hold(), "hold"),
    (Drop(), "drop"),
    (Corrupt(), "corrupt"),
    (Corrupt(payload=True), "corrupt payload"),
    (Fail("CKR_DEVICE_ERROR"), "fail CKR_DEVICE_ERROR"),
    (Fail("0xbb"), "fail 0xBB"),
    (Fail("KeyNotOnHsm"), "fail KeyNotOnHsm"),
    (Crash(), "crash"),
    (Crash("source"), "crash source"),
    (Destroy(), "destroy"),
    (Destroy("hsm-2"), "destroy hsm-2"),
    (Pause(), "pause"),
    (Pause("source"), "pause source"),
    (FillDisk(), "fill-disk"),
    (FillDisk("here"), "fill-disk here"),
]


@pytest.mark.parametrize(("effect", "text"), SPELLINGS, ids=[text for _, text in SPELLINGS])
def test_an_effect_prints_as_its_spelling_and_reads_back(effect, text):
    """`str(effect)` is what a spec says, and reads back as an equal effect."""
    assert str(effect) == text
    assert effect_of(*text.split()) == effect
    assert hash(effect_of(*text.split())) == hash(effect)


def test_every_effect_has_its_name_and_a_meaning():
    """The table of effects is keyed by their names; each says what it does."""
    assert list(EFFECTS) == [
        "pass",
        "delay",
        "hold",
        "drop",
        "corrupt",
        "fail",
        "crash",
        "destroy",
        "pause",
        "fill-disk",
    ]
    assert all(kind.name == name and kind.meaning for name, kind in EFFECTS.items())


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("250ms", 250_000_000),
        ("30s", 30_000_000_000),
        ("5m", 300_000_000_000),
        ("1.5s", 1_500_000_000),
        ("2h", 7_200_000_000_000),
        ("0.5us", 500),
        ("7ns", 7),
        ("0s", 0),
        ("0.1m", 6_000_000_000),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text, ns):
    """h, m, s, ms, us and ns are exact, with decimals too."""
    assert duration_ns(text) == ns


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5us"),
        (100_000_000, "100ms"),
        (250_000_000, "250ms"),
        (1_500_000_000, "1.5s"),
        (60_000_000_000, "1m"),
        (90_000_000_000, "90s"),
        (100_000_000_000, "100s"),
        (3_600_000_000_000, "1h"),
        (86_400_000_000_000, "24h"),
        (1_000_000_001, "1000000001ns"),
    ],
)
def test_a_duration_prints_short(ns, text):
    """The shortest exact spelling in a unit that is not longer than the duration; whole numbers first."""
    assert duration_text(ns) == text


@SETTLED
@given(st.integers(min_value=0, max_value=10**24))
def test_every_duration_reads_back(ns):
    """Printing loses nothing."""
    assert duration_ns(duration_text(ns)) == ns


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 s", "nan", "nans", "1e3s", "inf", "30sec", "١s", "1.s", ".5s"])
def test_what_is_no_duration_is_refused(text):
    """The error says how a duration is written."""
    with pytest.raises(UsageError, match="is not a duration; write a number and one of h m s ms us ns, such as 30s"):
        duration_ns(text)


def test_a_number_without_a_unit_is_refused_with_a_guess():
    """Seconds are the most likely meaning of a bare number."""
    with pytest.raises(UsageError, match="did you mean '30s'"):
        duration_ns("30")


def test_less_than_a_nanosecond_is_refused():
    """Simulated time has whole nanoseconds."""
    with pytest.raises(UsageError, match="not a whole number of nanoseconds"):
        duration_ns("1.5ns")


def test_a_delay_reads_a_duration():
    """`Delay.of` takes the text of a spec."""
    assert Delay.of("1.5s") == Delay(1_500_000_000)


@pytest.mark.parametrize("ns", ["30s", 1.5, True, None])
def test_a_delay_takes_whole_nanoseconds(ns):
    """The error shows how a duration is read instead."""
    with pytest.raises(UsageError, match=r"Delay\.of\('30s'\)"):
        Delay(ns)


def test_a_negative_delay_is_refused():
    """Nothing happens earlier."""
    with pytest.raises(UsageError, match="cannot be negative, got -1 ns"):
        Delay(-1)


@pytest.mark.parametrize("kind", [Crash, Destroy])
@pytest.mark.parametrize("target", ["", 2, "hsm 2", "hsm-*", "@"])
def test_a_target_is_the_id_of_an_hsm(kind, target):
    """What could be no id is refused."""
    with pytest.raises(UsageError, match=f"{kind.name} takes the id of an HSM, 'source', 'here' or nothing"):
        kind(target)


def test_fail_makes_the_error_that_it_names():
    """`Fail.error` is an error of the class that the answer stands for."""
    error = Fail("0xBB").error("hsm-2", "fail", sdk=5)

    assert isinstance(error, HsmBusy)
    assert error.hsm == "hsm-2"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("crahs",), r"unknown effect 'crahs' \(did you mean 'crash'\?\); effects are pass, delay"),
        (("delay",), "delay needs a duration: delay 30s"),
        (("fail",), "fail needs a PKCS#11 return value"),
        (("drop", "it"), "drop takes no argument, got 'it'"),
        (("hold", "30s"), "hold takes no argument"),
        (("pass", "by"), "pass takes no argument"),
        (("corrupt", "header"), "corrupt takes nothing or 'payload', got 'header'"),
    ],
)
def test_a_wrong_effect_is_refused(words, message):
    """The error says what the effect takes, or the nearest effect."""
    with pytest.raises(UsageError, match=message):
        effect_of(*words)
