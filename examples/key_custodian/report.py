"""What did the job do tonight, on the client of the emulated cluster?"""

from typing import ClassVar

from pytest_hsmcluster import ApplicationDied, ClusterError

from .notes import Notes


class Report(Notes):
    """One night."""

    refusals: ClassVar[tuple[type[Exception], ...]] = (ClusterError,)
    fatal: ClassVar[tuple[type[Exception], ...]] = (ApplicationDied,)  # a killed process reports nothing
