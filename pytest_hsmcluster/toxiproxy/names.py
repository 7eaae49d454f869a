"""Whose is a proxy on a server that others use too, and does its owner still live?

The name says it: machine, worker, process and a random part.  Who was killed leaves proxies behind; the next run may
delete those whose process is dead.  A number alone would not do: another container's processes have the same numbers,
and numbers are used again, so a name also carries the boot and the namespace, and when the process began.
"""

import os
import re
import secrets
import zlib
from pathlib import Path
from typing import Final

PREFIX: Final = "hsmcluster"
_OWNED: Final = re.compile(rf"{PREFIX}-(?P<place>[0-9a-f]{{8}})-p(?P<pid>\d+)-(?P<began>\d+)-")


class Names:
    """Makes names for the proxies of one user of a server in this process, and knows them again.

    Args:
        worker: `main` or the name of an xdist worker.
    """

    def __init__(self, worker: str) -> None:
        pid = os.getpid()
        self.prefix = f"{PREFIX}-{_place()}-p{pid}-{_began(pid)}-{_plain(worker)}-{secrets.token_hex(4)}-"
        self._made = 0

    def new(self, client: str, hsm: str) -> str:
        """Return a name that nobody has; tells people which application and HSM it is about."""
        self._made += 1
        return f"{self.prefix}{self._made}-{_plain(client)}-{_plain(hsm)}"


def is_leftover(name: str) -> bool:
    """Whether a proxy was made by a process of this machine that is dead."""
    owner = _OWNED.match(name)
    if owner is None or owner["place"] != _place():
        return False
    began = _began(int(owner["pid"]))
    return began != owner["began"] and (began is not None or not _lives(int(owner["pid"])))


def _place() -> str:
    """Return eight digits for this boot of this machine, as far as our process numbers go."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{zlib.crc32((boot + os.readlink('/proc/self/ns/pid')).encode()):08x}"


def _began(pid: int) -> str | None:
    """Return when a process began, in ticks since the boot; None for one that is dead, or that we may not look at."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]  # a zombie is only waited for


def _lives(pid: int) -> bool:
    """Whether there is such a process of somebody else, of which /proc may tell us nothing (`hidepid`)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return False  # one of our own, of which /proc tells: a zombie


def _plain(name: str) -> str:
    """Return a name as it may stand in the path of an address."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)
