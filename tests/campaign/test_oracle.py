"""Does the repository's own campaign notice what is wrong, and nothing else?"""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from campaign.__main__ import main
from campaign.journal import broken_rules
from campaign.recount import Installed, miscounted
from campaign.seeds import THEMES, broken
from campaign.staging import cluster, met
from pytest_hsmcluster.client.creation import Creator
from pytest_hsmcluster.client.process import Process
from pytest_hsmcluster.faults.spec import parse_fault
from pytest_hsmcluster.service.hsm import Hsm
from pytest_hsmcluster.service.replication import Sweep
from pytest_hsmcluster.sim.entropy import Stream

ROOT = Path(__file__).parents[2]


def test_nothing_disagrees():
    """In some of each kind: short and long stories, clean ones, themes."""
    assert [found for seed in range(100) if (found := broken(seed))] == []


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.__name__)
def test_every_theme_ends_as_it_should(theme):
    assert [*theme(Stream(1, "a")), *theme(Stream(2, "b"))] == []


@pytest.mark.parametrize(
    ("where", "name", "wrong"),
    [
        (Creator, "_targets", lambda creator, copies: []),
        (Creator, "_clean_up", lambda creator, call, copies: (yield from ()) or []),
        (Sweep, "_wanted", lambda sweep, handle: False),
        (Hsm, "end_all_sessions", lambda hsm, cause: None),
        (Process, "next_generation", lambda process: None),
        (Process, "connection_lost", lambda process, hsm: None),
    ],
    ids=["no copies", "no cleanup", "no sweep", "sessions survive", "one process", "deaf to resets"],
)
def test_wrong_cluster_is_noticed(monkeypatch, where, name, wrong):
    """Within a hundred seeds, whatever is changed."""
    monkeypatch.setattr(where, name, wrong)
    assert any(broken(seed) for seed in range(100))


# -- rules that no right journal breaks ----------------------------------------------------


@pytest.fixture(scope="module")
def records():
    """A journal in which a key is made, copied, used and deleted, and an HSM goes off."""
    with cluster(2) as one:
        app = one.client()
        key = app.generate_key("AES", 256, label="k")
        app.generate_key("AES", 256, label="t", token=False)
        with one.chaos.lose_response("sign"):
            met(app.sign, key, b"data")
        one.clock.advance(10)
        one.chaos.crash("hsm-2")
        app.delete_key(key)
    return list(one.history.records)


def first(records, kind, **fields):
    """The index of the first record of a kind with these fields, by place."""
    places = {"point": 3, "hsm": 6, "cause": 6, "command": 5}
    return next(
        index
        for index, record in enumerate(records)
        if record[0] == kind and all(record[places[name]] == value for name, value in fields.items())
    )


def test_right_journal_breaks_no_rule(records):
    assert list(broken_rules(records)) == []


SWEPT = ("sync.clone", None, None, "hsm-3", None, None, "key-1")


@pytest.mark.parametrize(
    ("doctor", "rule"),
    [
        (lambda r: r.append((r[-1][0], 0, *r[-1][2:])), "time runs backwards"),
        (lambda r: r.append(r[first(r, "invoke")]), "is invoked twice"),
        (lambda r: r.append(r[first(r, "ok")]), "ends twice"),
        (lambda r: r.insert(first(r, "held"), r[first(r, "held")]), "comes to hsm-1, which has it"),
        (lambda r: r.insert(first(r, "held"), ("down", 0, "hsm-1", "a", "chaos")), "hsm-1 is down and works on"),
        (
            lambda r: r.insert(first(r, "reach", point="hsm.commit", command="generate_key"), r[first(r, "held")]),
            "before operation",
        ),
        (lambda r: r.pop(first(r, "held", cause="create")), "tells of"),
        (lambda r: r.append(("gone", r[-1][1], 0, "hsm-1", "key-9", 9, "delete")), "which did not have it"),
        (
            lambda r: r.insert(first(r, "gone"), ("lost", r[first(r, "gone")][1], "hsm-1", "a", "chaos")),
            "is lost and has",
        ),
        (lambda r: r.append(("reach", r[-1][1], 0, *SWEPT)), "the sweep goes to hsm-3, which is None"),
    ],
)
def test_doctored_journal_breaks_a_rule(records, doctor, rule):
    """Each rule notices what it is about."""
    doctored = list(records)
    doctor(doctored)
    told = list(broken_rules(doctored))
    assert any(rule in line for line in told), told


def test_message_through_a_partition_breaks_a_rule(records):
    end = len(records)
    assert any(
        "comes to hsm-1 through a partition" in line for line in broken_rules(records, [("app", "hsm-1", 0, end)])
    )
    assert any("comes to app through" in line for line in broken_rules(records, [("hsm-1", "app", 0, end)]))
    assert list(broken_rules(records, [("app", "hsm-1", end, end)])) == []


def test_passages_are_counted_once_more(records):
    """The fault that struck should have; another count, or none, would not have."""
    right = parse_fault("drop @ wire.response op=sign command=sign nth=1")
    end = len(records)
    assert list(miscounted([Installed(right, 0, end, 0)], records)) == []
    for wrong in ("drop @ wire.response op=sign command=sign nth=2", "drop @ wire.response op=sign hsm=hsm-2"):
        assert list(miscounted([Installed(parse_fault(wrong), 0, end, 0)], records))


# -- the command --------------------------------------------------------------------------


def test_command_says_that_nothing_disagrees():
    done = subprocess.run(
        [sys.executable, "-m", "campaign", "--seeds", "0..20"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "20 seeds, 0 disagree\n", "")


def test_command_names_the_first_seed_that_disagrees(monkeypatch, capsys):
    """With its story; an exception of the emulation's own is a find too."""
    monkeypatch.setattr(Sweep, "_wanted", lambda sweep, handle: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["campaign", "--seeds", "0..100"])
    assert main() == 1
    told = capsys.readouterr().out
    assert "seed " in told and "ZeroDivisionError: division by zero" in told
    assert signal.alarm(0) == 0, "nothing strikes later"


@pytest.mark.parametrize("text", ["5", "5..5", "a..b", "9..3"])
def test_wrong_range_is_refused(monkeypatch, capsys, text):
    monkeypatch.setattr(sys, "argv", ["campaign", "--seeds", text])
    with pytest.raises(SystemExit):
        main()
    assert "is no range of seeds, such as 0..1000" in capsys.readouterr().err
