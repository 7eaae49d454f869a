"""Each hardship has a name that markers and the command line know; its text parses back."""

import re
from pathlib import Path

import pytest

from pytest_hsmcluster import Fault, UsageError
from pytest_hsmcluster.chaos import Chaos, Hardship, ScenarioKind
from pytest_hsmcluster.faults.words import SpecError
from pytest_hsmcluster.scenarios import SCENARIOS

# A call of the verb → the text of its scenario.
VERBS = {
    "crashed-hsm hsm=hsm-2": lambda chaos: chaos.crash("hsm-2"),
    "destroyed-hsm hsm=hsm-2": lambda chaos: chaos.destroy("hsm-2"),
    "kill-mid-create after_copies=2": lambda chaos: chaos.kill_mid_create(2),
    "replaced-hsm hsm=hsm-2": lambda chaos: chaos.replace("hsm-2"),
    "replaced-hsm hsm=hsm-2 backup=backup-1": lambda chaos: chaos.replace("hsm-2", "backup-1"),
    "delay-sync seconds=30": lambda chaos: chaos.delay_sync(),
    "delay-sync seconds=0.25": lambda chaos: chaos.delay_sync(0.25),
    "stall-sync": lambda chaos: chaos.stall_sync(),
    "fail-clone": lambda chaos: chaos.fail_clone(),
    "fail-clone hsm=hsm-2": lambda chaos: chaos.fail_clone("hsm-2"),
    "fail-cleanup": lambda chaos: chaos.fail_cleanup(),
    "fail-cleanup hsm=hsm-2": lambda chaos: chaos.fail_cleanup("hsm-2"),
    "lost-ack op=sign": lambda chaos: chaos.lose_response("sign"),
    "failed-ack op=sign code=CKR_ATTRIBUTE_VALUE_INVALID": lambda chaos: chaos.fail_response("sign"),
    "glitch op=sign code=CKR_DEVICE_ERROR": lambda chaos: chaos.glitch("sign", "CKR_DEVICE_ERROR"),
    "partition a=app b=hsm-2 direction=both": lambda chaos: chaos.partition("app", "hsm-2"),
    "partition a=hsm-2 b=app direction=one-way": lambda chaos: chaos.partition("hsm-2", "app", "one-way"),
    "gray-failure hsm=hsm-2": lambda chaos: chaos.pause("hsm-2"),
    "throttled hsm=hsm-2": lambda chaos: chaos.throttle("hsm-2"),
    "full-hsm hsm=hsm-2": lambda chaos: chaos.fill("hsm-2"),
    "full-disk hsm=hsm-2": lambda chaos: chaos.fill_disk("hsm-2"),
    "full-sessions hsm=hsm-2": lambda chaos: chaos.exhaust_sessions("hsm-2"),
    "joining-hsm zone=b": lambda chaos: chaos.join("b"),
    "az-outage zone=b": lambda chaos: chaos.lose_zone("b"),
    "rolling-restart down_s=30 gap_s=30": lambda chaos: chaos.rolling_restart(),
    "flapping hsm=hsm-2 up_s=30 down_s=1.5": lambda chaos: chaos.flap("hsm-2", down_s=1.5),
    "routed-to hsm=hsm-2 next=3": lambda chaos: chaos.route_to("hsm-2", 3),
    "user-drift hsm=hsm-2 user=crypto_user": lambda chaos: chaos.drop_user("hsm-2", "crypto_user"),
}


@pytest.fixture
def cluster(make):
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    cluster.backup()
    return cluster


@pytest.mark.parametrize(("text", "verb"), VERBS.items(), ids=VERBS)
def test_a_hardship_prints_as_the_scenario_that_does_the_same(make, cluster, text, verb):
    """`str(hardship)` installed in another cluster gives an equal hardship, with equal text."""
    one = verb(cluster.chaos)
    assert isinstance(one, Hardship)
    assert str(one) == text
    assert repr(one) == f"<Hardship {text} active>"

    other = make(sdk=3, create_object_minimum_nodes=2)
    other.backup()
    again = other.chaos.install(text)
    assert (str(again), again.name) == (text, one.name)
    for hardship in (one, again):
        hardship.end()
        assert not hardship.active


def test_every_scenario_is_tried():
    """The table of the tests is the table of the package."""
    assert {text.split()[0] for text in VERBS} == set(SCENARIOS)
    assert all(kind.name == name and kind.meaning for name, kind in SCENARIOS.items())


@pytest.mark.parametrize(
    ("short", "text"),
    [
        ("kill-mid-create 2", "kill-mid-create after_copies=2"),
        ("kill-mid-create", "kill-mid-create after_copies=1"),
        ("delay-sync 30s", "delay-sync seconds=30"),
        ("delay-sync 5m", "delay-sync seconds=300"),
        ("delay-sync seconds=250ms", "delay-sync seconds=0.25"),
        ("delay-sync 30", "delay-sync seconds=30"),
        ("lost-ack sign", "lost-ack op=sign"),
        ("az-outage a", "az-outage zone=a"),
        ("replaced-hsm hsm-1", "replaced-hsm hsm=hsm-1"),
        ("rolling-restart gap_s=1m", "rolling-restart down_s=30 gap_s=60"),
    ],
)
def test_a_scenario_has_a_short_spelling(cluster, short, text):
    """The main argument may stand without its key; durations are written as everywhere."""
    assert str(cluster.chaos.install(short)) == text


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("kill-mid-creat", r"did you mean 'kill-mid-create'"),
        ("kill-mid-create copies=2", r"has no argument 'copies' \(did you mean 'after_copies'\?\)"),
        ("kill-mid-create after_copies=two", r"after_copies= is a whole number; got 'two'"),
        ("kill-mid-create after_copies=1.5", r"a whole number"),
        ("kill-mid-create after_copies=4", r"1 to 3"),
        ("kill-mid-create 1 2", r"takes arguments by key"),
        ("kill-mid-create 1 after_copies=2", r"after_copies= is given twice"),
        ("delay-sync soon", r"seconds= is a duration such as 30s"),
        ("delay-sync seconds=-1", r"0 or more"),
        ("stall-sync 5", r"stall-sync takes arguments by key: during"),
        ("crashed-hsm", r"crashed-hsm needs hsm="),
        ("gray-failure hsm-9", r"no HSM 'hsm-9'"),
        ("fail-clone hsm-9", r"there is no 'hsm-9'"),
        ("partition app hsm-1", r"takes arguments by key: a, b, direction"),
        ("partition a=app", r"partition needs b="),
        ("partition a=app b=hsm-1 direction=up", r"direction is 'both' or 'one-way'"),
        ("lost-ack", r"lost-ack needs op="),
        ("lost-ack op=digest", r"one HSM answers"),
        ("az-outage z", r"no HSM is in zone 'z'"),
        ("user-drift hsm=hsm-1 user=nobody", r"has no user 'nobody'"),
        ("replaced-hsm hsm-1 backup=none", r"there is no backup 'none'"),
        ("throttled hsm-1 @ hsm.receive", r"is a scenario: it stands alone"),
    ],
)
def test_a_scenario_that_is_written_wrongly_is_refused(cluster, spec, words):
    """What is wrong, what is allowed; nothing has begun."""
    with pytest.raises(UsageError, match=words):
        cluster.chaos.install(spec)
    assert cluster.chaos.hardships == []
    assert cluster.service.world.faults.installed == []
    assert [str(hsm.state) for hsm in cluster.hsms] == ["up"] * 3


def test_install_takes_faults_as_well(cluster):
    """One door for markers and the command line."""
    fault = cluster.chaos.install("pass @ hsm.commit")
    assert isinstance(fault.fault, Fault)
    with pytest.raises(SpecError):
        cluster.chaos.install("crahs @ hsm.commit")
    fault.remove()


@pytest.mark.parametrize("arguments", [{"sdk": 3}, {"sdk": 3, "create_object_minimum_nodes": 1}, {"sdk": 5}])
def test_failing_cleanup_needs_a_create_that_can_fail(make, arguments):
    """With a minimum of 1 nothing is ever cleaned up: refused when it is installed."""
    chaos = make(**arguments).chaos
    with pytest.raises(UsageError, match="fail-cleanup needs create_object_minimum_nodes of 2 or more"):
        chaos.install("fail-cleanup")
    assert chaos.hardships == []


def test_failing_cleanup_brings_refused_copies_along(cluster, holders):
    """On all other HSMs; the create fails, and what it left on the named one stays."""
    cluster.chaos.install("fail-cleanup hsm-1")
    with pytest.raises(Exception, match="copies may be left on hsm-1"):
        cluster.client().generate_key("AES", 256, label="kek")
    assert holders(cluster, "kek") == ["hsm-1"]


def test_other_packages_can_add_scenarios(make):
    """A function of the chaos; what it returns is what `install` returns, or a hardship that began at once."""
    cluster = make(sdk=3)

    def both_off(chaos, pause: int = 2):
        for number in range(1, pause + 1):
            chaos.pause(f"hsm-{number}")

    cluster.chaos.scenarios = {**SCENARIOS, "both-off": ScenarioKind("both-off", "two are silent", both_off, "pause")}
    hardship = cluster.chaos.install("both-off 2")
    assert (str(hardship), hardship.hits) == ("both-off pause=2", 1)
    assert [str(hsm.state) for hsm in cluster.hsms] == ["paused", "paused", "up"]


def test_the_table_in_the_docs_names_every_verb_and_scenario():
    """docs/faults.md, "Hardships and scenarios": nothing is missing, nothing is invented."""
    page = Path(__file__).parents[2].joinpath("docs", "faults.md").read_text(encoding="utf-8")
    rows = [row.split("|") for row in page.split("## Hardships and scenarios")[1].splitlines() if row.startswith("| ")]
    verbs = [verb for row in rows for verb in re.findall(r"`(\w+)\(", row[1])]
    scenarios = [name for row in rows for name in re.findall(r"`([a-z-]+)[ `]", row[2])]
    assert sorted(verbs) == sorted(name for name in vars(Chaos) if not name.startswith("_"))
    assert sorted(scenarios) == sorted(SCENARIOS)
