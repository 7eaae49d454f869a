"""What does chaos do to a vault, and what does the vault do about it?

Four stories, each told of the naive and of the hardened vault: what was broken, what the vault did, what a check finds,
and a timeline; then, in brief, of the production form.

`python -m examples.document_vault.demo` tells all, with a number after it only that one, and always in
the same words.
"""

import logging
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pytest_hsmcluster import ClusterError, Finding, HsmCheck, HsmCluster, Pkcs11Door
from pytest_hsmcluster.apptime.apptime import AppTime
from pytest_hsmcluster.timeline.text import timeline_text

from . import hardened
from .hardened import HardenedVault
from .hsm import VaultUnavailable
from .naive import NaiveVault
from .production import ProductionVault
from .store import Store

WIDTH = 110
QUIET = ("C_GetAttributeValue",)
"""python-pkcs11 asks for attributes that CloudHSM does not have, at each object."""
DOCUMENTS = ("README.md", "hardened.py")


@dataclass(frozen=True, slots=True)
class Story:
    """One hardship, and the check that tells how a vault came through.

    Attributes:
        title: the classic reason.
        text: what happens, for people.
        faults: specs, installed before the vault starts.
        check: name of the promise.
        findings: its list twin.
        naive, hardened: how the cluster is set up for each.
    """

    title: str
    text: str
    faults: tuple[str, ...]
    check: str
    findings: Callable[[HsmCheck], list[Finding]]
    naive: dict[str, Any]
    hardened: dict[str, Any]


STORIES = (
    Story(
        "lost with its HSM",
        "The HSM that makes the first key dies before another one has a copy.",
        ("destroy source @ client.clone nth=1",),
        "no_lost_keys",
        HsmCheck.lost_keys,
        {"sdk": 3, "create_object_minimum_nodes": 1},
        {"sdk": 3, "create_object_minimum_nodes": 2},
    ),
    Story(
        "missed by routing",
        "hsm-3 takes no copies, and the service's sweep, which would bring them later, stands still.",
        ("fail-clone hsm-3", "stall-sync"),
        "misses_retried",
        HsmCheck.routing_misses,
        {"sdk": 5},
        {"sdk": 5},
    ),
    Story(
        "orphan left",
        "hsm-2 and hsm-3 take no copies, so a create on hsm-1 fails; and what it left there is not cleaned up.",
        ("fail-cleanup hsm-1",),
        "no_orphan_keys",
        HsmCheck.orphan_keys,
        {"sdk": 3, "create_object_minimum_nodes": 2},
        {"sdk": 3, "create_object_minimum_nodes": 2},
    ),
    Story(
        "duplicate after a retry",
        "A key is made, and the answer is lost.",
        ("lost-ack generate_key",),
        "no_duplicate_labels",
        HsmCheck.duplicate_labels,
        {"sdk": 5},
        {"sdk": 5},
    ),
)


def main(arguments: Sequence[str]) -> None:
    """Tell all stories, or those whose numbers are given."""
    for number, story in enumerate(STORIES, 1):
        if arguments and str(number) not in arguments:
            continue
        heading(f"document vault, story {number} of {len(STORIES)}: {story.title}", "=")
        print(textwrap.fill(story.text, WIDTH))
        for name, settings in (("naive", story.naive), ("hardened", story.hardened)):
            heading(f"{name} vault, {', '.join(f'{key}={value}' for key, value in settings.items())}", "-")
            with HsmCluster(3, seed=1, **settings) as cluster, overheard(cluster):
                tell(story, cluster, name == "hardened")
        heading("production form, set up likewise, through a PKCS #11 library and python-pkcs11", "-")
        with HsmCluster(3, seed=1, **story.hardened) as cluster, overheard(cluster):
            tell_production(story, cluster)


def tell(story: Story, cluster: HsmCluster, is_hardened: bool) -> None:
    """Break the cluster, let the vault live, and print what came of it."""
    for fault in story.faults:
        say(cluster, f"broken on purpose: {cluster.chaos.install(fault)}")
    documents = {name: (Path(__file__).parent / name).read_bytes() for name in DOCUMENTS}
    store, client = Store(), cluster.client("vault")
    vault = HardenedVault(client, store, sleep=cluster.clock.advance) if is_hardened else NaiveVault(client, store)

    if attempt(cluster, "start()", vault.start):
        for name, document in documents.items():
            attempt(cluster, f"put({name!r}), {len(document):,} bytes", partial(vault.put, name, document))
    cluster.clock.advance(60)
    say(cluster, f"a minute later, with {len(store.names())} of {len(documents)} documents in the database")
    if isinstance(vault, HardenedVault):
        attempt(cluster, "maintain()", vault.maintain)
    for name in store.names():
        attempt(cluster, f"get({name!r}), byte for byte", partial(compare, vault, name, documents[name]))
    store.close()

    broken = found(cluster, story.check)
    print(f"\n{story.check}: {'BROKEN' if broken else 'holds'}")
    for line in broken:
        print(textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="    "))
    print()
    marks = [finding for finding in story.findings(cluster.check) if str(finding) in broken]
    print(timeline_text(cluster.history, width=WIDTH, limit=30, marks=marks))


def tell_production(story: Story, cluster: HsmCluster) -> None:
    """Break the cluster likewise, and let a vault live that is given a module path and a PIN; be brief."""
    for fault in story.faults:
        say(cluster, f"broken on purpose: {cluster.chaos.install(fault)}")
    documents = {name: (Path(__file__).parent / name).read_bytes() for name in DOCUMENTS}
    with closing(Store()) as store, Pkcs11Door(cluster) as door, AppTime(cluster.order):
        cluster.join_application()
        vault = ProductionVault(door.module, door.token_label, door.user_pin, store)
        if attempt(cluster, "start()", vault.start):
            for name, document in documents.items():
                attempt(cluster, f"put({name!r}), {len(document):,} bytes", partial(vault.put, name, document))
        cluster.clock.advance(60)
        say(cluster, f"a minute later, with {len(store.names())} of {len(documents)} documents in the database")
        attempt(cluster, "maintain()", vault.maintain)
        for name in store.names():
            attempt(cluster, f"get({name!r}), byte for byte", partial(compare, vault, name, documents[name]))
        refused = [called for called in door.calls if called.result and called.function not in QUIET]
        kinds = Counter(str(called).partition(":")[0] for called in refused)
        told = "; ".join(text if times == 1 else f"{text} ({times} times)" for text, times in kinds.items())
        print("\n" + textwrap.fill(f"Of {len(door.calls)} calls of the library were refused: {told or 'none'}", WIDTH))
        broken = found(cluster, story.check)
        print(f"{story.check}: {'BROKEN' if broken else 'holds'}")


def attempt(cluster: HsmCluster, what: str, call: Callable[[], None]) -> bool:
    """Make a call, print what came of it, and say whether it worked."""
    try:
        call()
    except (ClusterError, VaultUnavailable) as error:
        say(cluster, f"{what}: {type(error).__name__}")
        return False
    say(cluster, f"{what}: ok")
    return True


def compare(vault: HardenedVault | NaiveVault, name: str, document: bytes) -> None:
    """Read a document and insist that it is what was stored."""
    assert vault.get(name) == document


def found(cluster: HsmCluster, check: str) -> list[str]:
    """Return what a check finds, one line each."""
    try:
        cluster.check.run(check)
    except AssertionError as error:
        return str(error).splitlines()
    return []


def heading(text: str, line: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{line * len(text)}")


def say(cluster: HsmCluster, text: str) -> None:
    """Print a line with the simulated time."""
    print(f"{cluster.clock.now:10.3f} s  {text}")


@contextmanager
def overheard(cluster: HsmCluster) -> Iterator[None]:
    """Print what the hardened vault and the SDK write to their logs."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            who = "vault" if record.name == hardened.log.name else "SDK"
            say(cluster, f"    {who} log: {record.getMessage()}")

    listener, loggers = Listener(), [hardened.log, logging.getLogger("pytest_hsmcluster.client")]
    before = hardened.log.level
    hardened.log.setLevel(logging.INFO)
    for logger in loggers:
        logger.addHandler(listener)
    yield
    for logger in loggers:
        logger.removeHandler(listener)
    hardened.log.setLevel(before)


if __name__ == "__main__":
    main(sys.argv[1:])
