"""What do teams report from the field, and which scenario stages it?

The rows of docs/fidelity.md, "Problems that teams report", that concern keys, users, sessions, throttling, capacity or
membership.  Those that need a door that is not there yet stand on that page as open.
"""

from typing import NamedTuple


class Report(NamedTuple):
    """A problem that somebody has had.

    Attributes:
        number: its row on the page.
        problem: as the page says it.
        sources: tags of the page.
        scenarios: names of those that stage it, alone or together.
    """

    number: int
    problem: str
    sources: tuple[str, ...]
    scenarios: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.number}: {self.problem} {' '.join(f'[{source}]' for source in self.sources)}"


REPORTS = (
    Report(1, '"Key not found" just after a create', ("KS-old", "MIEKG#112"), ("fail-clone", "routed-to")),
    Report(2, "Key lost though its create succeeded", ("KS-old",), ("kill-mid-create",)),
    Report(3, "Create fails with a minimum of 2, orphan left", ("UG:ts-client-sync-fail",), ("fail-cleanup",)),
    Report(4, "Error returned, but the key exists", ("CRYPTO11#105",), ("failed-ack",)),
    Report(5, "Duplicate labels after retries", ("UG:java-lib-keys_5",), ("lost-ack",)),
    Report(
        6,
        "Works for hours, fails after a restart while one of two HSMs is down",
        ("PIX",),
        ("crashed-hsm", "az-outage"),
    ),
    Report(7, "Calls hang for about 87 s", ("PIX",), ("fail-clone",)),
    Report(8, 'Login works "sometimes"', ("UG:troubleshoot-sdk5-inconsistent-value",), ("user-drift",)),
    Report(9, "KMS custom key store: `USER_NOT_FOUND`", ("CFN#12",), ("joining-hsm",)),
    Report(10, "A new HSM lacks recent users and policies", ("PIX",), ("replaced-hsm", "joining-hsm")),
    Report(13, "Session keys vanish", ("JCEEX",), ("rolling-restart", "crashed-hsm")),
    Report(14, "Throttling under a burst", ("UG:troubleshoot-hsm-throttling",), ("throttled",)),
    Report(15, "Sessions run out", ("UG:limits", "UG:ki-jce-sdk"), ("full-sessions",)),
    Report(16, "Key capacity reached", ("UG:limits", "UG:ki-all"), ("full-hsm",)),
    Report(17, "Stale PKCS #11 context after a device error", ("XKS", "KRILL#761"), ("glitch",)),
    Report(
        19,
        "Single operations fail during a backup or replacement, and work when repeated",
        ("UG:ki-hsm2m-medium",),
        ("glitch",),
    ),
    Report(20, "A deleted key reappears or lingers", (), ("crashed-hsm",)),
    Report(21, "Shares and attributes drift apart", ("UG:cloudhsm_mgmt_util-shareKey",), ("crashed-hsm",)),
)


def reported(scenario: str) -> str:
    """Return what teams report of a scenario, with sources; empty for one that nobody has reported."""
    return "; ".join(str(report) for report in REPORTS if scenario in report.scenarios)
