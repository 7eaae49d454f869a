"""Do the rules admit what they say, and is a slip told from a stranger?"""

import pytest

from pytest_hsmcluster.client.config_rules import (
    FLAG,
    HOSTNAME,
    PORT,
    TEXT,
    YES_NO,
    Each,
    examine,
    misspelt,
    nearest,
    refuse,
    whole,
)
from pytest_hsmcluster.errors import ConfigError

SHAPE = {"client": {"zoneid": whole(0), "port": PORT}, "server": {"port": PORT}, "all": Each({"enable": FLAG})}


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (whole(1, 3), [1, 2, 3], [0, 4, -1, True, False, 1.0, "1", None, [], {}]),
        (whole(-1), [-1, 0, 10**30], [-2, False, 0.0]),
        (PORT, [1, 2223, 65535], [0, 65536, True]),
        (FLAG, [True, False], [0, 1, "true", None]),
        (YES_NO, ["yes", "no"], ["Yes", "", True, None, []]),
        (TEXT, ["", "x"], [None, 1, b"x"]),
        (
            HOSTNAME,
            ["10.0.0.1", "::1", "fe80::1", "hsm-1.example", "localhost"],
            ["", " ", "a b", "a,b", "a\n", "%%HSM_IP_ADDRESS%%", None, 1],
        ),
    ],
)
def test_a_rule_admits_what_it_says_and_nothing_else(rule, good, bad):
    """Booleans are no integers, words are spelled exactly, an address is one address."""
    assert [value for value in good if not rule.admits(value)] == []
    assert [value for value in bad if rule.admits(value)] == []


def test_a_mistake_names_the_way_to_the_value():
    """Sections by name, entries of an array by number; unknown keys may hold anything."""
    document = {"client": {"zoneid": -1, "own": {"zoneid": -1}}, "all": [{}, {"enable": 1}, 2], "server": 3, "own": []}
    assert list(examine(document, SHAPE)) == [
        "client.zoneid is -1; allowed: an integer, 0 or more",
        "all[1].enable is 1; allowed: true or false",
        "all[2] is 2; allowed: an object",
        "server is 3; allowed: an object",
    ]


def test_a_known_key_in_the_wrong_place_is_told_its_place():
    """Only where there is one such place: `port` is known twice, so it says nothing."""
    document = {"zoneid": 1, "all": [{"zoneid": 2, "port": 3}], "server": {"enable": True}, "client": 1}
    assert list(misspelt(document, SHAPE)) == [
        "zoneid is kept and has no effect here; its place is client.zoneid",
        "all[0].zoneid is kept and has no effect here; its place is client.zoneid",
        "server.enable is kept and has no effect here; its place is all[].enable",
    ]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("zone_id", "zoneid"),
        ("ZoneID", "zoneid"),
        ("zonid", "zoneid"),
        ("zones", None),
        ("", None),
        ("zoneid", "zoneid"),
    ],
)
def test_the_nearest_word_is_near(word, meant):
    """A slip of a letter, of case, of a dash: yes. Another word: no."""
    assert nearest(word, {"zoneid": 1, "port": 2}) == meant


def test_one_mistake_is_one_line_and_none_is_silence():
    """Several mistakes are listed below the file's name."""
    refuse("a.cfg", [])
    with pytest.raises(ConfigError, match="^a.cfg: one$"):
        refuse("a.cfg", ["one"])
    with pytest.raises(ConfigError, match="^a.cfg has 2 mistakes:\n  one\n  two$"):
        refuse("a.cfg", ["one", "two"])
