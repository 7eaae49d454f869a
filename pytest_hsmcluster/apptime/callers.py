"""Whose time is simulated: who asks, and on which thread?"""

import sys
from threading import get_ident
from types import FrameType

from ..drivers.company import AT_WORK, Company

REAL_TIME = (
    "_pytest",
    "pytest",
    "pluggy",
    "xdist",
    "execnet",
    "coverage",
    "hypothesis",
    "pytest_hsmcluster",
    "trio",
    "subprocess",
    "multiprocessing",
    "selectors",
    "socket",
    "socketserver",
    "ssl",
)
"""Top-level packages that keep real time: who runs tests, and who waits for the real world; `pytest_…` does, too."""


ON_BEHALF = ("threading", "queue", "concurrent.futures._base", "concurrent.futures.thread")
"""Modules that wait because somebody else called them: he is meant."""


def keeps_real_time(module: str) -> bool:
    """Whether what a module measures and waits for is real."""
    root = module.partition(".")[0]
    return root in REAL_TIME or root.startswith("pytest_")


def company_of(frame: FrameType) -> Company | None:
    """Return the company in whose time a caller lives, or None if it keeps real time.

    Args:
        frame: the caller's.
    """
    company = AT_WORK.get(get_ident())
    if company is None or not company.acts_here():
        return None
    module = frame.f_globals.get("__name__", "")
    if module in ON_BEHALF:
        while module in ON_BEHALF and frame.f_back is not None:
            frame = frame.f_back
            module = frame.f_globals.get("__name__", "")
        if module in ON_BEHALF or module.startswith("pytest_hsmcluster."):
            return company  # the thread itself called, and we had it run
    return None if keeps_real_time(module) else company


def here() -> Company | None:
    """Return the company in whose time the caller of a standing-in function lives, or None."""
    return company_of(sys._getframe(2)) if AT_WORK else None
