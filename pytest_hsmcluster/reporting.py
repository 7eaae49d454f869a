"""What does a person read about a test's clusters?"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from .identities import replay_command
from .options import Settings
from .tally import counted, tally_of
from .trial import Trial

if TYPE_CHECKING:
    from .cluster import HsmCluster

TIMELINE = "HSM timeline"
"""How the title of each timeline's section begins."""

REPLAY = "HSM replay"
"""The title of the section with the command."""

_TWINS = {
    "durable": "at_risk_keys",
    "no_lost_keys": "lost_keys",
    "no_orphan_keys": "orphan_keys",
    "no_resurrected_keys": "resurrected_keys",
    "misses_retried": "routing_misses",
    "no_duplicate_labels": "duplicate_labels",
    "in_sync": "differences",
    "no_undecryptable_data": "undecryptable_data",
}
"""Check → the list of its findings."""


def header(settings: Settings) -> str:
    """Return the line above a run in which something of ours is configured."""
    given = dict(settings.defaults)
    clock, sdk = given.get("clock", "virtual"), given.get("sdk", 5)
    chaos = "".join(f", chaos {spec!r}" for spec in settings.chaos)
    order = "" if settings.order is None else f", order {settings.order}"
    return f"hsmcluster: seed {settings.seed} ({settings.seed_from}), {clock} clock, SDK {sdk}{order}{chaos}"


def tell(trial: Trial, report: pytest.TestReport, error: BaseException | None) -> None:
    """Add our sections to a finished report; with the last phase count the test's clusters."""
    if report.failed and trial.case:
        report.sections += trial.case.sections
    if not trial.clusters:
        return
    if trial.settings.coverage:
        from .covering import covering_of

        covering_of(trial.item.config).count(trial, report)
    if report.when == "call" or report.failed:
        report.sections += sections(trial, report, error)
        report.user_properties += properties(trial, report)
    if report.when == "teardown":
        tally_of(trial.item.config).count(trial)


def sections(trial: Trial, report: pytest.TestReport, error: BaseException | None) -> Iterator[tuple[str, str]]:
    """Yield (title, text) of what a report says about the clusters of its test.

    Args:
        trial: of the test.
        report: of the phase that has just ended.
        error: what ended it, or None.
    """
    settings = trial.settings
    if report.failed:
        if report.when == "call" and not getattr(error, "of_hsmcluster", False) and trial.findings():
            yield "HSM findings at the end of the test", "\n".join(trial.findings())
        if trial.refusals:
            yield "HSM PKCS #11 calls that were refused", "\n".join(trial.refusals)
        for cluster in trial.clusters:
            if text := _faults(cluster):
                yield _title("HSM faults", trial, cluster), text
    if settings.timeline == "always" or (report.failed and settings.timeline == "on-failure"):
        for cluster in trial.clusters:
            yield _title(TIMELINE, trial, cluster), _timeline(trial, cluster, str(error or ""))
    if report.failed:
        for cluster in trial.clusters:
            for added in reversed(trial.item.ihook.pytest_hsm_report(item=trial.item, cluster=cluster)):
                yield from added
        yield REPLAY, "\n".join(_replay(trial))


def _replay(trial: Trial) -> Iterator[str]:
    """Yield the lines about a replay, which is not always one to the byte."""
    settings = trial.settings
    yield f"seed {settings.seed} ({settings.seed_from})"
    yield replay_command(trial.item)
    if any(cluster.network_kind == "processes" for cluster in trial.clusters):
        yield "HSMs were processes: this installs the same faults at the same points; what comes first in between is"
        yield "up to chance again (network='simulated' repeats a run to the byte)"


def properties(trial: Trial, report: pytest.TestReport) -> list[tuple[str, object]]:
    """Return what machines read, for JUnit and report logs, and let the test's later reports have it too."""
    said: dict[str, object] = {"hsm_seed": trial.settings.seed}
    if report.failed:
        said["hsm_replay"] = replay_command(trial.item)
    kept = trial.item.user_properties
    # A rerun says it anew.
    kept[:] = [pair for pair in kept if pair[0] not in said] + list(said.items())
    return list(said.items())


def sections_of(reports: list[Any], beginning: str) -> Iterator[tuple[str, str]]:
    """Yield (title, text) of those sections of reports whose title begins so."""
    for report in reports:
        for title, text in getattr(report, "sections", ()):
            if title.startswith(beginning):
                yield f"{title}: {report.nodeid}", text


def _title(what: str, trial: Trial, cluster: "HsmCluster") -> str:
    return what if len(trial.clusters) == 1 else f"{what} of {cluster.id}"


def _faults(cluster: "HsmCluster") -> str:
    lines = [f"struck {counted(one.hits, 'time')}: {one}" for one in cluster.chaos.injections]
    lines += [f"in force to the end: {one}" for one in cluster.chaos.hardships if not one.injections]
    if (toxiproxy := cluster.chaos.toxiproxy) is not None:
        lines += [f"in force to the end: {one!r}" for one in toxiproxy.troubles if not one.scenario]
    return "\n".join(lines)


def _timeline(trial: Trial, cluster: "HsmCluster", error: str) -> str:
    from .timeline.text import timeline_text

    marks = [one for name in trial.checks if name in _TWINS for one in getattr(cluster.check, _TWINS[name])()]
    return timeline_text(
        cluster.history,
        width=trial.settings.width,
        ascii=trial.settings.ascii,
        keys=sorted(set(re.findall(r"\bkey-\d+\b", error))),
        marks=marks,
    )
