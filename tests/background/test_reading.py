"""A budget file says what it promises, and everything that is wrong with it at once."""

import re
from pathlib import Path

import pytest

from pytest_hsmcluster.background.budget import HARDSHIPS, FaultLine
from pytest_hsmcluster.background.reading import SHIPPED, budget_of, read_budget, shipped
from pytest_hsmcluster.errors import ConfigError, UsageError
from pytest_hsmcluster.scenarios import SCENARIOS

PROMISE = """
[promise]
faults = 3
untouched = 1
longest = "10s"
together = "30s"
"""

SURVIVABLE = """
[promise]
faults = 3
untouched = 2
longest = "10s"
together = "30s"
survivable = true
"""


def wrong(text: str) -> str:
    """Return what is said about a file."""
    with pytest.raises(ConfigError) as caught:
        budget_of(text, "team.toml")
    return str(caught.value)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_budgets_are_files_to_copy(name, tmp_path):
    """A copy means the same as the name, and a cluster of three HSMs can keep it."""
    (tmp_path / "mine.toml").write_text(shipped(name), encoding="utf-8")
    named, copied = read_budget(name, tmp_path), read_budget("mine.toml", tmp_path)
    assert (copied.promise, copied.lines) == (named.promise, named.lines)
    assert (named.name, copied.name) == (name, "mine.toml")
    named.check_keepable(3)


def test_light_can_be_survived_and_heavy_cannot_by_everybody():
    """Light leaves two HSMs alone and loses nothing; heavy loses an HSM."""
    light, heavy = (read_budget(name, Path()) for name in SHIPPED)
    assert light.promise.survivable
    assert (light.promise.untouched, light.promise.destroyed, light.promise.crashed) == (2, 0, 0)
    assert (heavy.promise.survivable, heavy.promise.untouched, heavy.promise.destroyed) == (False, 1, 1)
    assert not any(line.destroys or line.crashes or line.ends_process for line in light.lines)


def test_a_promise_is_told_in_one_line():
    """For the header of a run."""
    budget = budget_of(PROMISE + 'crashed = 1\n[faults]\n"crash @ hsm.commit" = 1', "team.toml")
    assert str(budget) == (
        "team.toml: up to 3 faults a test, 1 HSM left alone, none lost for good, up to 1 off to the end, "
        "no trouble longer than 10s, 30s together"
    )


def test_what_a_file_leaves_out_is_never():
    """Only four keys are needed; the others begin at nothing."""
    budget = budget_of(PROMISE + "[hardships]\ncrashed-hsm = 1", "team.toml")
    promise = budget.promise
    assert (promise.destroyed, promise.crashed, promise.deaths, promise.sweep_late_ns) == (0, 0, 0, 0)
    assert (budget.only, budget.never) == (("*",), ())


def test_a_line_keeps_its_own_conditions():
    """`op=`, `command=` and `nth=` of a line stay; its HSM is drawn."""
    budget = budget_of(PROMISE + '[faults]\n"drop @ wire.response op=sign command=sign nth=2" = 7', "team.toml")
    (line,) = budget.lines
    assert isinstance(line, FaultLine)
    assert (str(line), line.weight, line.aimed) == ("drop @ wire.response op=sign command=sign nth=2", 7, True)


def test_all_mistakes_of_a_file_are_told_at_once():
    """Each with its place, its value, what is allowed and the nearest spelling."""
    said = wrong(
        """
        [promise]
        faults = 0
        untouchd = 1
        longest = 10
        together = "30"
        [fautls]
        [faults]
        "drop @ wire.respnse" = 1
        "drop @ wire.request" = -1
        [hardships]
        crashd-hsm = 1
        [tests]
        only = "tests/*"
        """
    )
    assert said.startswith("team.toml cannot be used: 10 mistakes\n")
    for line in (
        "fautls: unknown table (did you mean 'faults'?); there are promise, faults, hardships, tests",
        "promise.faults = 0: a whole number from 1 to 100 is wanted",
        "promise.untouchd: unknown key (did you mean 'untouched'?); [promise] takes faults, untouched, longest",
        'promise.longest = 10: a duration in quotes is wanted, such as "10s"',
        "promise.together = \"30\": '30' is not a duration (did you mean '30s'?)",
        "promise: untouched is missing",
        'faults."drop @ wire.respnse": this spec cannot be used:\n',
        "               ^^^^^^^^^^^^ unknown point 'wire.respnse' (did you mean 'wire.response'?)",
        'faults."drop @ wire.request" = -1: a weight is a whole number from 0 (never) to 1000',
        "hardships.crashd-hsm: unknown hardship (did you mean 'crashed-hsm'?); there are crashed-hsm, gray-failure",
        'tests.only = "tests/*": a list of shell patterns of node ids, such as ["tests/app/*"]',
    ):
        assert line in said
    assert all(re.match(r" {4,}\S", line) for line in said.splitlines()[1:])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "promise: faults, untouched, longest, together are missing"),
        (PROMISE, "nothing could ever happen: neither [faults] nor [hardships] has a line with a weight above 0"),
        (PROMISE + "[hardships]\ncrashed-hsm = 0", "nothing could ever happen"),
        ("promise = 3", "promise = 3: a table is wanted: [promise]"),
        (PROMISE.replace('"30s"', '"5s"'), 'promise.together = "5s": shorter than longest = "10s"'),
        (PROMISE.replace('"10s"', '"1ms"'), 'promise.longest = "1ms": 10ms or more is wanted'),
        (PROMISE + 'begin = "0s"', 'promise.begin = "0s": 1ms or more is wanted'),
        (PROMISE.replace('"10s"', "true"), 'promise.longest = true: a duration such as "30s" is wanted'),
        (PROMISE.replace("1\n", "true\n"), "promise.untouched = true: a whole number from 0 to 28 is wanted"),
        (PROMISE + "survivable = 1", "promise.survivable = 1: true or false is wanted"),
        (PROMISE + "[hardships]\ncrashed-hsm = true", "hardships.crashed-hsm = true: a weight is a whole number"),
        (PROMISE + "[tests]\nonyl = []", "tests.onyl: unknown key (did you mean 'only'?); [tests] takes only, never"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(text, said):
    """One example of each kind."""
    assert f"    {said}" in wrong(text)


@pytest.mark.parametrize(
    ("table", "line", "said"),
    [
        ("faults", '"destroy @ hsm.commit"', "an HSM would be lost for good, and promise.destroyed = 0: raise that"),
        ("faults", '"crash @ hsm.commit"', "an HSM would be off to the end of the test, and promise.crashed = 0"),
        ("faults", '"crash @ client.send"', "an application process would be ended, and promise.deaths = 0"),
        ("faults", '"drop @ sync.sweep"', 'the service\'s sweep would be late, and promise.sweep_late = "0s"'),
        ("faults", '"delay 11s @ wire.request"', "longer than promise.longest = 10s"),
        ("faults", '"fail 0xBB @ hsm.receive nth=11"', "nth=11 is beyond promise.passages = 10"),
        ("faults", '"pass @ hsm.commit"', "pass lets nothing happen; leave the line out"),
        ("faults", '"pause @ hsm.commit"', "pause lasts until somebody ends it; use gray-failure in [hardships]"),
        ("faults", '"fill-disk @ hsm.commit"', "fill-disk lasts until somebody ends it; use full-disk in [hardships]"),
        ("faults", '"drop @ wire.request hsm=hsm-2"', "names an HSM: which HSMs are left alone is drawn for each test"),
        ("faults", '"crash source @ client.clone"', "names an HSM"),
        ("faults", '"drop @ client.clone nth=1 per=op"', "per=op would let it strike again and again"),
        ("faults", '"fail CKR_DEVICE_ERROR @ hsm.start"', "hsm.start is about an HSM's power, not about a call"),
        ("faults", "crashed-hsm", "is a hardship: it belongs into [hardships]"),
        ("faults", "kill-mid-create", "cannot be aimed at the HSMs that may be touched, or strikes without end"),
        ("hardships", "rolling-restart", "cannot be aimed at the HSMs that may be touched, or strikes without end"),
        ("hardships", '"drop @ wire.request"', "is a fault: it belongs into [faults]"),
        ("hardships", '"crashed-hsm hsm-2"', "is a hardship with arguments: which HSM and when is drawn"),
        ("hardships", "destroyed-hsm", "an HSM would be lost for good, and promise.destroyed = 0"),
        ("hardships", "stall-sync", 'the service\'s sweep would be late, and promise.sweep_late = "0s"'),
    ],
)
def test_a_line_that_the_promise_forbids_is_refused(table, line, said):
    """Whoever reads the line would expect what never comes."""
    text = wrong(f"{PROMISE}[{table}]\n{line} = 1")
    assert f"    {table}.{line}: {said}" in text


def test_a_line_that_is_switched_off_may_contradict_the_promise():
    """Weight 0 is how a copy leaves something out."""
    budget = budget_of(PROMISE + '[faults]\n"destroy @ hsm.commit" = 0\n"drop @ wire.request" = 1', "team.toml")
    assert [line.weight for line in budget.lines] == [0, 1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("true", "true\ndestroyed = 1", "promise.destroyed = 1: promise.survivable = true: what only a lost HSM had"),
        ("true", "true\ncrashed = 1", "promise.crashed = 1: promise.survivable = true: what an HSM has that stays off"),
        ("true", "true\ndeaths = 2", "promise.deaths = 2: promise.survivable = true: an application process that was"),
        ("untouched = 2", "untouched = 1", "promise.untouched = 1: promise.survivable = true: SDK 5 makes and uses no"),
        ('"30s"', '"2m"', "promise.together = 2m: promise.survivable = true: whoever tries again for 1m may have"),
        ("0xBB", "LoginFailed", 'faults."fail LoginFailed @ hsm.receive": promise.survivable = true: LoginFailed says'),
    ],
)
def test_what_retries_cannot_survive_is_refused_where_it_is_promised(old, new, said):
    """`survivable = true` is a promise like the others."""
    text = SURVIVABLE + '[faults]\n"fail 0xBB @ hsm.receive" = 1'
    budget_of(text, "team.toml")
    assert f"    {said}" in wrong(text.replace(old, new))


def test_what_is_no_toml_is_told_with_its_line():
    """And the file's name."""
    assert re.fullmatch(r"team\.toml is no TOML file: .*line 2.*", wrong("[promise]\nfaults: 3"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("team.toml", r"team\.toml: there is no such file in .*; or say light or heavy"),
        ("lihgt", r"lihgt: there is no such file in .* \(did you mean 'light'\?\); or say light or heavy"),
        (".", r"\. cannot be read: .*"),
        ("latin.toml", r"latin\.toml cannot be read: .*utf-8.*"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path, name, said):
    """Missing, a folder, no text."""
    (tmp_path / "latin.toml").write_bytes("# Schlüssel".encode("latin-1"))
    with pytest.raises(ConfigError, match=said):
        read_budget(name, tmp_path)


@pytest.mark.parametrize(
    ("hsms", "said"),
    [
        (1, "promise.untouched = 2: a cluster has 1 HSM here, so that many cannot be left alone; 0 to 1 can"),
        (2, "promise.untouched = 2: all HSMs of a cluster are left alone, and every line strikes at one of them"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(hsms, said):
    """More HSMs left alone than there are, or nobody left to touch."""
    budget = budget_of(SURVIVABLE + "[hardships]\ncrashed-hsm = 1", "team.toml")
    budget.check_keepable(3)
    with pytest.raises(UsageError, match=re.escape(said)):
        budget.check_keepable(hsms)


def test_what_is_about_no_hsm_needs_nobody_to_touch():
    """The sweep may be late also where all HSMs are left alone."""
    text = SURVIVABLE + 'sweep_late = "1m"\n[hardships]\ncrashed-hsm = 1\nstall-sync = 1'
    budget_of(text, "team.toml").check_keepable(2)


def test_every_hardship_that_a_budget_takes_is_a_scenario():
    """And the others are those that name no HSM, strike without end, or only whoever comes anew."""
    assert set(SCENARIOS) - set(HARDSHIPS) == {
        *("kill-mid-create", "fail-cleanup", "lost-ack", "failed-ack", "glitch"),
        *("rolling-restart", "joining-hsm", "full-sessions"),
    }
    assert set(HARDSHIPS) <= set(SCENARIOS)


DOCS = (Path(__file__).parents[2] / "docs" / "background.md").read_text(encoding="utf-8")


def test_the_file_of_the_docs_can_be_used():
    """Whoever copies it from the page has a budget."""
    budget = budget_of(re.search(r"```toml\n(.*?)```", DOCS, re.DOTALL)[1], "chaos.toml")
    assert len(budget.lines) == 5
    assert budget.never == ("tests/test_naive.py::*",)


def test_the_docs_name_every_key_and_every_hardship():
    """And no other."""
    table = DOCS[DOCS.index("| `[promise]` |") : DOCS.index("A line of `[faults]`")]
    told = [name for row in table.split("\n|")[2:] for name in re.findall(r"`(\w+)`", row.split("|")[0])]
    with pytest.raises(ConfigError) as caught:
        budget_of("[promise]\nnonsense = 1", "team.toml")
    allowed = re.search(r"\[promise\] takes (.*)", str(caught.value))[1].split(", ")
    assert sorted(told) == sorted(allowed)
    listed = DOCS[DOCS.index("`[hardships]` takes") : DOCS.index("Weight 0 switches")]
    assert sorted(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", listed)) == sorted(HARDSHIPS)
