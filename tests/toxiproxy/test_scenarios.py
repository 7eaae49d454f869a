"""Is each trouble of a link a scenario, and does it print as one?"""

import re
from pathlib import Path

import pytest

from pytest_hsmcluster import HsmCluster
from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.faults.spec import parse_scenario
from pytest_hsmcluster.markers import LINKS as NAMES
from pytest_hsmcluster.markers import about_links
from pytest_hsmcluster.scenarios import SCENARIOS
from pytest_hsmcluster.toxiproxy.scenarios import LINKS
from pytest_hsmcluster.toxiproxy.server import ToxiproxyServer

TOXICS = {
    "slow-link hsm=hsm-1 seconds=0.2": ("latency", {"latency": 200, "jitter": 0}),
    "slow-link hsm=hsm-1 seconds=2 jitter_s=1": ("latency", {"latency": 2000, "jitter": 1000}),
    "jittery-link hsm=hsm-1 seconds=0.2 jitter_s=0.1": ("latency", {"latency": 200, "jitter": 100}),
    "thin-link hsm=hsm-1 kb_s=64": ("bandwidth", {"rate": 64}),
    "slow-close hsm=hsm-1 seconds=3 client=app": ("slow_close", {"delay": 3000}),
    "dead-link hsm=hsm-1": ("timeout", {"timeout": 0}),
    "dead-link hsm=hsm-1 seconds=5": ("timeout", {"timeout": 5000}),
    "reset-link hsm=hsm-1 toxicity=0.5": ("reset_peer", {"timeout": 0}),
    "sliced-link hsm=hsm-1 average_bytes=64 delay_s=0.001": (
        "slicer",
        {"average_size": 64, "size_variation": 0, "delay": 1000},
    ),
    "cut-link hsm=hsm-1 bytes=1000 direction=upstream": ("limit_data", {"bytes": 1000}),
    "link-down hsm=hsm-1": None,
}


@pytest.fixture
def cluster():
    with HsmCluster(2) as cluster:
        yield cluster


@pytest.mark.parametrize(("text", "wanted"), TOXICS.items(), ids=TOXICS)
def test_a_scenario_begins_its_trouble_and_takes_it_back(proxied, roads, cluster, text, wanted):
    """The server has the toxic, `str()` is the spec that was given, and the end of the block ends both."""
    cluster.chaos.toxiproxy = proxied
    roads.connect()
    with cluster.chaos.install(text) as hardship:
        assert (str(hardship), hardship.hits) == (text, 1)
        (trouble,) = proxied.troubles
        found = proxied.toxics("app", "hsm-1")
        assert trouble.type == ("down" if wanted is None else wanted[0])
        assert {(one.type, *one.attributes.items()) for one in found} == (
            set() if wanted is None else {(wanted[0], *wanted[1].items())}
        )
        assert LINKS[hardship.name].arguments(parse_scenario(str(hardship))) == hardship.arguments
    assert proxied.troubles == proxied.toxics("app", "hsm-1") == ()


def test_the_hsm_may_stand_without_a_key_and_durations_have_units(proxied, cluster):
    """As everywhere."""
    cluster.chaos.toxiproxy = proxied
    assert (
        str(cluster.chaos.install("slow-link hsm-2 seconds=250ms direction=both")) == "slow-link hsm=hsm-2 seconds=0.25"
    )
    cluster.chaos.undo_all()
    assert proxied.troubles == ()


def test_without_a_toxiproxy_it_says_what_is_missing(cluster):
    """A simulated network has no links to put something on."""
    with pytest.raises(UsageError, match='slow-link needs network="processes" and the fixture hsm_toxiproxy'):
        cluster.chaos.install("slow-link hsm-1 seconds=1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("slow-link hsm-1", "slow-link needs seconds="),
        ("jittery-link hsm-1 seconds=1", "jittery-link needs jitter_s="),
        ("slow-link hsm-1 ms=3", "no argument 'ms'"),
        ("thin-link hsm-1 kb_s=much", "kb_s= is a whole number"),
    ],
)
def test_wrong_arguments_are_told_before_a_server_is_asked(cluster, text, says):
    """As those of other scenarios; so a marker is refused at collection."""
    with pytest.raises(UsageError, match=says):
        cluster.chaos.install(text)


def test_each_is_tried_and_known_to_the_plugin():
    """The plugin knows the names without the room that has them."""
    assert list(LINKS) == list(NAMES)
    assert {text.split()[0] for text in TOXICS} == set(LINKS)
    assert not set(LINKS) & set(SCENARIOS)
    assert about_links(["drop @ wire.request", "link-down hsm-1"])
    assert not about_links(["drop @ wire.request", "crashed-hsm hsm-1", ""])


def test_the_table_in_the_docs_names_every_verb_and_scenario():
    """docs/toxiproxy.md: nothing is missing, nothing is invented."""
    page = Path(__file__).parents[2].joinpath("docs", "toxiproxy.md").read_text(encoding="utf-8")
    rows = [row.split("|") for row in page.splitlines() if row.startswith("| `")]
    verbs = [verb for row in rows for verb in re.findall(r"`(\w+)\(", row[1])]
    scenarios = [name for row in rows for name in re.findall(r"`([a-z-]+)[ `]", row[2])]
    others = {"attach", "close", "detach", "remove_leftovers", "toxics", "troubles", "version"}
    assert set(verbs) == {name for name in vars(ToxiproxyServer) if not name.startswith("_")} - others
    assert sorted(scenarios) == sorted(LINKS)
