"""What happens to keys when an HSM cluster is not perfect, and what can a nightly job do about it?

Run it with `python -m examples.key_custodian.demo`.  It prints the same every time.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill

from pytest_hsmcluster import Chaos, Finding, HsmCheck, HsmCluster, Pkcs11Door
from pytest_hsmcluster.apptime.apptime import AppTime
from pytest_hsmcluster.timeline.text import timeline_text

from .company import Company
from .inventory import Inventory, load_inventory
from .notes import Notes

WIDTH = 110

PROMISES = ("no_lost_keys", "misses_retried", "no_orphan_keys", "no_duplicate_labels")


@dataclass(frozen=True, slots=True)
class Chapter:
    """One way to lose track of a key.

    Attributes:
        title: what goes wrong.
        broken: what is broken on purpose, in the words of the plugin.
        look: the findings that it leads to.
        minimum: `create_object_minimum_nodes` for the naive job; the hardened one always asks for 2.
    """

    title: str
    broken: Callable[[Chaos], Iterable[AbstractContextManager[object]]]
    look: Callable[[HsmCheck], Sequence[Finding]]
    minimum: int = 1


CHAPTERS = (
    Chapter(
        "1. Lost with its HSM",
        lambda chaos: [chaos.inject("destroy source @ client.clone nth=1")],
        HsmCheck.lost_keys,
    ),
    Chapter(
        "2. Missed by routing",
        lambda chaos: [chaos.inject("drop @ client.clone hsm=hsm-2 nth=1")],
        HsmCheck.routing_misses,
    ),
    Chapter(
        "3. An orphan left",
        lambda chaos: [chaos.stall_sync(), chaos.fail_clone(), chaos.fail_cleanup()],
        HsmCheck.orphan_keys,
        minimum=2,
    ),
    Chapter(
        "4. A duplicate after a retry",
        lambda chaos: [chaos.lose_response("generate_key")],
        HsmCheck.duplicate_labels,
    ),
)


def main() -> None:
    """Tell the story."""
    logging.getLogger("pytest_hsmcluster").addHandler(logging.NullHandler())  # the SDK's own log is not the story
    inventory = load_inventory(Path(__file__).with_name("inventory.toml"))
    with TemporaryDirectory() as folder:
        print("KEY CUSTODIAN: a nightly job creates, shares, rotates and deletes the keys of a company's services.")
        print("First a single key on three HSMs, SDK 3; in each chapter another thing is broken in the first night.")
        one_key = replace(inventory, keys=inventory.keys[:1])
        for chapter in CHAPTERS:
            _tell(chapter, one_key, Path(folder))
        _tell_month(inventory, Path(folder))


def _tell(chapter: Chapter, inventory: Inventory, folder: Path) -> None:
    print(f"\n\n{chapter.title}\n{'=' * len(chapter.title)}")
    with HsmCluster(3, sdk=3, seed=1, create_object_minimum_nodes=chapter.minimum) as cluster:
        company = Company(cluster, inventory, folder / f"naive {chapter.title}.json")
        broken = _first_night(company, company.naive, chapter)
        print("broken:  " + "\n         ".join(broken))
        print(f"\nThe naive job, with create_object_minimum_nodes = {chapter.minimum}:\n")
        _show(company.reports)
        findings = chapter.look(cluster.check)
        for finding in findings:
            print("\n" + fill(str(finding), WIDTH, initial_indent="  ✗ ", subsequent_indent="    "))
        print("\n" + timeline_text(cluster.history, width=WIDTH, limit=14, marks=findings))
    with HsmCluster(3, sdk=3, seed=1, create_object_minimum_nodes=2) as cluster:
        company = Company(cluster, inventory, folder / f"hardened {chapter.title}.json")
        _first_night(company, company.hardened, chapter)
        company.replace_lost_hsms()
        company.days(3, company.hardened)  # it is run once more at noon, and on two more nights
        print("\nThe hardened job, with create_object_minimum_nodes = 2, up to two nights later:\n")
        _show(company.reports)
        _show_promises(cluster)
    with HsmCluster(3, sdk=3, seed=1, create_object_minimum_nodes=2) as cluster, Pkcs11Door(cluster) as door:
        with AppTime(cluster.order):
            cluster.join_application()
            company = Company(cluster, inventory, folder / f"production {chapter.title}.json", day_s=7200, door=door)
            _first_night(company, company.production, chapter)
            company.replace_lost_hsms()
            company.days(3, company.production)
        print("\nThe production form of the job, through a PKCS #11 library and python-pkcs11, the same nights:\n")
        _show(company.reports)
        _show_promises(cluster)


def _first_night(company: Company, job: Callable[[], Notes], chapter: Chapter) -> list[str]:
    """Break what the chapter breaks, run the job, and return what was broken."""
    with ExitStack() as stack:
        broken = list(chapter.broken(company.cluster.chaos))
        for hardship in broken:
            stack.enter_context(hardship)
        company.night(job)
    return [str(hardship) for hardship in broken]


MONTH = {
    2: "lost-ack generate_key",
    4: "replaced-hsm {first}",
    6: "gray-failure {first}",
    7: "user-drift hsm={last} user=webshop_app",
    8: "kill-mid-create after_copies=2",
    12: "az-outage {zone}",
    14: "flapping {last}",
    16: "kill-mid-create",
}


def _tell_month(inventory: Inventory, folder: Path) -> None:
    title = "5. Three weeks of bad weather, SDK 5, the hardened job and three keys"
    print(f"\n\n{title}\n{'=' * len(title)}")
    with HsmCluster(3, sdk=5, seed=1) as cluster:
        company = Company(cluster, inventory, folder / "month.json")
        for night in range(21):
            with ExitStack() as stack:
                if night in MONTH:
                    first, _, last = cluster.hsms
                    scenario = MONTH[night].format(first=first.id, last=last.id, zone=last.zone)
                    stack.enter_context(cluster.chaos.install(scenario))
                    print(f"night {night:>2}  ⚡ {scenario}")
                report = company.night(company.hardened)
            _show([report])
            company.day()
        _show_promises(cluster)
        print(f"  {len(cluster.history)} events, {cluster.clock.now / 86_400:.0f} days of cluster time")


def _show(reports: Sequence[Notes]) -> None:
    for report in reports:
        for note in report.notes:
            line = f"night {report.day:>2}  {note}"
            print(line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…")


def _show_promises(cluster: HsmCluster) -> None:
    for name in (*PROMISES, "durable", "in_sync", "no_resurrected_keys", "no_undecryptable_data"):
        cluster.check.run(name)
    print(f"\n  ✓ {', '.join(PROMISES)}")
    print("  ✓ durable, in_sync, no_resurrected_keys, no_undecryptable_data")


if __name__ == "__main__":
    main()
