"""How are secrets kept inside of a process, and how is a process kept from outliving another one?"""

import ctypes
import os
import resource
import signal

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def keep_secret() -> None:
    """Leave no core file, let no process of the same user look into this one's memory, and nobody else read its files.

    Processes that are forked from now on inherit it.
    """
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def descriptors(wanted: int) -> int:
    """Return how many of so many files and sockets this process may have open, once it has asked for them all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def die_with(parent: int, death: signal.Signals = signal.SIGKILL) -> None:
    """End this process when the thread that forked it ends; at once if it has ended already.

    Args:
        parent: the process of that thread.
        death: the signal that ends it.
    """
    _prctl(PR_SET_PDEATHSIG, death, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), death)
