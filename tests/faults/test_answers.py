"""Answers: which error `fail NAME` stands for."""

import pytest

from pytest_hsmcluster import errors
from pytest_hsmcluster.cryptoki import CKR
from pytest_hsmcluster.errors import ClusterError, InjectedError, UsageError
from pytest_hsmcluster.faults.answers import canonical, error_of

NO_ANSWERS = ("StaleSession", "TooFewCopies", "InjectedError", "ApplicationDied")
NAMED = [kind for kind in ClusterError.__subclasses__() if kind.__name__ not in NO_ANSWERS]


@pytest.mark.parametrize("text", ["0xBB", "0xbb", "0Xbb", "0x000000bb", "187"])
def test_a_code_has_one_spelling(text):
    """Hex in any case and decimal are the same code."""
    assert canonical(text) == "0xBB"


@pytest.mark.parametrize("text", ["0", "0x0", "4294967296"])
def test_a_code_out_of_range_is_refused(text):
    """Zero is success, and a code has 32 bits."""
    with pytest.raises(UsageError, match="from 0x1 to 0xFFFFFFFF"):
        canonical(text)


def test_success_is_no_error():
    """`fail CKR_OK` would not fail."""
    with pytest.raises(UsageError, match="pass lets the call succeed"):
        canonical("CKR_OK")


@pytest.mark.parametrize("name", [*NO_ANSWERS, "ClusterError"])
def test_errors_that_nobody_answers_are_refused_with_what_to_use(name):
    """The error says what makes this one instead."""
    with pytest.raises(UsageError, match=f"cannot answer with {name}: "):
        canonical(name)


@pytest.mark.parametrize(
    ("text", "hint"),
    [("CKR_DEVICE_EROR", "CKR_DEVICE_ERROR"), ("ckr_device_error", "CKR_DEVICE_ERROR"), ("HsmBussy", "HsmBusy")],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(text, hint):
    """Spelling and case matter, and the error helps."""
    with pytest.raises(UsageError, match=f"unknown error '{text}' .did you mean '{hint}'"):
        canonical(text)


@pytest.mark.parametrize("text", ["0xGG", "0x", "-1", "CKR_", 0xBB, None])
def test_what_names_no_error_is_refused(text):
    """The error says the three ways to name one."""
    with pytest.raises(UsageError, match=r"a code of the HSM \(0xBB\)"):
        canonical(text)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("0x1B", errors.SignatureInvalid),
        ("0x8C", errors.SessionLimitReached),
        ("0x9D", errors.LoginFailed),
        ("0xA3", errors.LoginFailed),
        ("0xA8", errors.KeyNotOnHsm),
        ("0xBB", errors.HsmBusy),
        ("0xC6", errors.KeyAccessDenied),
        ("0xCE", errors.LoginFailed),
        ("0x30000085", errors.HsmUnavailable),
        ("0x77", InjectedError),
    ],
)
def test_a_code_becomes_the_class_that_stands_for_it(code, kind):
    """The error carries the code; one without a class of its own is an `InjectedError`."""
    error = error_of(code, "hsm-1")

    assert type(error) is kind
    assert error.hsm_code == int(code, 16)
    assert error.ckr == kind.ckr


@pytest.mark.parametrize("name", [each.name for each in CKR if each is not CKR.OK])
def test_a_named_return_value_is_the_one_that_is_seen(name):
    """Whatever the class and the SDK, the application sees what the spec said."""
    answer = canonical(f"CKR_{name}")

    assert [error_of(answer, sdk=sdk).ckr for sdk in (3, 5)] == [CKR[name], CKR[name]]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("CKR_DEVICE_ERROR", errors.HsmUnavailable),
        ("CKR_KEY_HANDLE_INVALID", errors.KeyNotOnHsm),
        ("CKR_PIN_LOCKED", errors.AccountLocked),
        ("CKR_FUNCTION_FAILED", InjectedError),
        ("CKR_GENERAL_ERROR", InjectedError),
    ],
)
def test_a_return_value_becomes_the_class_that_it_points_to(answer, kind):
    """A return value that says too little becomes an `InjectedError`."""
    assert type(error_of(answer)) is kind


@pytest.mark.parametrize("kind", NAMED, ids=[kind.__name__ for kind in NAMED])
def test_every_class_that_an_hsm_can_answer_with_can_be_named(kind):
    """A class of the tree is either an answer or refused with a hint: none is forgotten."""
    error = error_of(canonical(kind.__name__), "hsm-1", sdk=3)

    assert type(error) is kind
    assert error.ckr == (kind.ckr_sdk3 or kind.ckr)
    assert error.hsm_code == kind.hsm_code


def test_each_sdk_sees_its_own_return_value():
    """A busy HSM is `CKR_OPERATION_ACTIVE` for SDK 3 and `CKR_FUNCTION_FAILED` for SDK 5."""
    assert error_of("0xBB", sdk=3).ckr is CKR.OPERATION_ACTIVE
    assert error_of("0xBB", sdk=5).ckr is CKR.FUNCTION_FAILED


def test_the_message_says_that_it_was_injected():
    """Nobody should look for a cause in the application."""
    assert str(error_of("0xBB", "hsm-1")) == "0xBB on hsm-1: injected by a fault"
    assert str(error_of("CKR_DEVICE_ERROR")) == "CKR_DEVICE_ERROR: injected by a fault"


@pytest.mark.parametrize(
    ("answer", "given", "seen"),
    [("0xBB", None, "fail"), ("0xBB", "info", "info"), ("RequestTimeout", None, "info"), ("0x77", "fail", "fail")],
)
def test_the_outcome_is_the_callers_or_the_class_s(answer, given, seen):
    """Who performs the fault knows whether anything happened; without that the class decides."""
    assert error_of(answer, outcome=given).outcome == seen
