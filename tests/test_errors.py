"""The error tree, as drawn and as it is."""

import inspect

import pytest

from pytest_hsmcluster import errors
from pytest_hsmcluster.cryptoki import CKR
from pytest_hsmcluster.errors import ClusterError, TooFewCopies

CLASSES = {
    name: one
    for name, one in vars(errors).items()
    if inspect.isclass(one) and issubclass(one, Exception) and one.__module__ == errors.__name__
}
APPLICATION = [one for one in CLASSES.values() if issubclass(one, ClusterError)]

PUBLISHED_HSM_CODES = {
    "KeyNotOnHsm": 0xA8,
    "HsmBusy": 0xBB,
    "HsmUnavailable": 0x30000085,
    "LoginFailed": 0xA3,
    "KeyAccessDenied": 0xC6,
    "SessionLimitReached": 0x8C,
}
RETURN_VALUES = {
    "KeyNotOnHsm": (CKR.KEY_HANDLE_INVALID, CKR.OBJECT_HANDLE_INVALID),
    "KeyUnavailable": (CKR.FUNCTION_FAILED, None),
    "HsmBusy": (CKR.FUNCTION_FAILED, CKR.OPERATION_ACTIVE),
    "HsmUnavailable": (CKR.DEVICE_ERROR, CKR.GENERAL_ERROR),
    "SessionLimitReached": (CKR.SESSION_COUNT, CKR.ARGUMENTS_BAD),
    "LoginFailed": (CKR.PIN_INCORRECT, None),
    "AccountLocked": (CKR.PIN_LOCKED, None),
}


def drawn():
    """Return (class, parent) of each line of the drawing, in order."""
    lines = [line for line in (errors.__doc__ or "").splitlines() if "──" in line]
    parents, found = {0: "Exception"}, []
    for line in lines:
        mark = max(line.find("├──"), line.find("└──"))
        depth = (mark - 4) // 4
        name = line[mark + 3 :].split()[0]
        parents[depth + 1] = name
        found.append((name, parents[depth]))
    return found


def test_drawing_shows_every_class_under_its_parent():
    """The docstring is the tree."""
    assert drawn() == [(name, one.__bases__[0].__name__) for name, one in sorted_by(drawn())]
    assert {name for name, _ in drawn()} == set(CLASSES)


def sorted_by(order):
    return [(name, CLASSES[name]) for name, _ in order]


@pytest.mark.parametrize("kind", APPLICATION)
def test_every_cluster_error_says_what_a_pkcs_11_user_sees(kind):
    """Each class has a return value, an HSM code or None, an outcome, and where it happened."""
    assert isinstance(kind.ckr, CKR)
    assert kind.ckr is not CKR.OK
    assert kind.ckr_sdk3 is None or isinstance(kind.ckr_sdk3, CKR)
    assert kind.hsm_code is None or isinstance(kind.hsm_code, int)
    assert kind.outcome in ("fail", "info")
    assert kind.hsm is None
    assert kind.__doc__


@pytest.mark.parametrize("kind", [one for one in APPLICATION if one is not TooFewCopies])
def test_every_instance_may_say_more_than_its_class(kind):
    """HSM, outcome, return value and HSM code are the instance's own, and the class keeps its."""
    error = kind("what happened", hsm="hsm-2", outcome="info", ckr=CKR.DEVICE_REMOVED, hsm_code=0xCE)

    assert str(error) == "what happened"
    assert (error.hsm, error.outcome, error.ckr, error.hsm_code) == ("hsm-2", "info", CKR.DEVICE_REMOVED, 0xCE)
    assert kind("again").hsm is None
    assert kind("again").ckr == kind.ckr


def test_too_few_copies_says_how_many_and_where_the_rest_is():
    """Numbers and HSMs are attributes too."""
    error = TooFewCopies("too few", copies=1, needed=2, leftovers=["hsm-1"], outcome="info")

    assert (error.copies, error.needed, error.leftovers, error.outcome) == (1, 2, ("hsm-1",), "info")
    assert TooFewCopies("too few", copies=1, needed=2).outcome == "fail"


@pytest.mark.parametrize("name", PUBLISHED_HSM_CODES)
def test_hsm_codes_are_the_published_ones(name):
    """As the tools of SDK 3 print them."""
    assert CLASSES[name].hsm_code == PUBLISHED_HSM_CODES[name]


@pytest.mark.parametrize("name", RETURN_VALUES)
def test_return_values_are_those_of_the_two_libraries(name):
    """SDK 5's, and SDK 3's where it differs."""
    assert (CLASSES[name].ckr, CLASSES[name].ckr_sdk3) == RETURN_VALUES[name]


def test_only_silence_and_death_are_unknown_by_class():
    """For all others the instance decides."""
    assert [one.__name__ for one in APPLICATION if one.outcome == "info"] == ["RequestTimeout", "ApplicationDied"]


def test_a_mistake_of_the_test_is_no_error_of_the_cluster():
    """An application that catches ClusterError does not hide a wrongly written test."""
    for name in ("UsageError", "ConfigError", "Stuck"):
        assert not issubclass(CLASSES[name], ClusterError)
