"""Does a finding read as a sentence?"""

import pytest

from pytest_hsmcluster.checkers.operation import application
from pytest_hsmcluster.checkers.verdict import Finding, instant, listed, require_none


def finding(**other):
    fields = {"check": "no_lost_keys", "key": "key-3", "label": "kek", "handle": 262146, "hsms": ("hsm-1", "hsm-2")}
    return Finding(**{**fields, "since_ns": 1_500_000_000, "cause": "fire", **other})


def test_finding_says_what_broke_which_key_where_when_and_why():
    """In this order, and the setting last, if there is one."""
    assert str(finding()) == "lost key 'kek' (key-3, handle 262146) on hsm-1, hsm-2 since 1.500000 s: fire"
    assert str(finding(setting="x=2")).endswith(": fire; x=2 would have prevented it")
    assert str(finding(hsms=())) == "lost key 'kek' (key-3, handle 262146) since 1.500000 s: fire"


def test_check_of_another_package_is_named():
    """A check that has no words of ours is called by its name."""
    assert str(finding(check="no_kek_on_mondays")).startswith("no_kek_on_mondays: key 'kek' (key-3")


def test_instant_in_seconds_is_for_tests():
    """`.since` is a float of seconds, `.since_ns` is exact."""
    assert finding().since == 1.5
    assert instant(1) == "0.000000 s"
    assert instant(86_400_000_000_000) == "86400.000000 s"


def test_finding_is_a_value():
    """Equal when its fields are; it cannot be changed, and can be in a set."""
    assert finding() == finding()
    assert len({finding(), finding(), finding(label="dek")}) == 2
    with pytest.raises(AttributeError):
        finding().label = "other"


def test_no_finding_no_error():
    """Only findings raise."""
    require_none([])
    with pytest.raises(AssertionError) as raised:
        require_none([finding(), finding(label="dek")])
    assert str(raised.value).count("\n") == 1


def test_list_of_nothing_is_no_hsm():
    """An empty list in a sentence."""
    assert listed([]) == "no HSM"
    assert listed(["hsm-1", "hsm-2"]) == "hsm-1, hsm-2"


@pytest.mark.parametrize(
    ("process", "app"), [("app", "app"), ("app#2", "app"), ("a#b", "a#b"), ("#2", "#2"), ("a#1#12", "a#1"), ("", "")]
)
def test_process_belongs_to_its_application(process, app):
    """Only a number after the last # is a process."""
    assert application(process) == app
