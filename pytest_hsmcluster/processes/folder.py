"""Where do the disks of one cluster lie, and who removes them when all who could have been killed?

In a private folder for temporary files.  Whoever made it holds a lock on it while he lives, and removes it in the end.
A folder that nobody holds belongs to a run that was killed as a whole: the next run removes it.
"""

import errno
import fcntl
import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from ..errors import UsageError

PREFIX = "hsmcluster-rack-"
LONGEST_BYTES = 400
"""The longest path of a folder: SQLite opens no file whose path has more than 512 bytes."""

_OTHER_FOLDER = "set TMPDIR to a folder on a local disk"
_REMEDIES = {errno.EMFILE: "close some files, or raise the limit (ulimit -n)"}

_OURS = re.compile(PREFIX + r"[a-z0-9_]{8}")


class Folder:
    """A new folder that its owner alone may enter, for as long as the process that made it lives.

    Attributes:
        path: where it is.

    Raises:
        UsageError: there is no place for it.
    """

    def __init__(self) -> None:
        held: int | None = None
        while held is None:  # who sweeps at this very moment may take a newborn for rubbish
            self.path = _made()
            try:
                held = _hold(self.path)
            except OSError as error:
                self.path.rmdir()
                raise UsageError(
                    f"HSM processes keep their disks in a folder for temporary files, and {self.path.parent} allows no "
                    f"lock on one: {error.strerror}; {_REMEDIES.get(error.errno or 0, _OTHER_FOLDER)}"
                ) from None
        self._held = held

    def remove(self) -> None:
        """Remove it with all that is in it; doing it twice is harmless."""
        if self._held >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._held)
            self._held = -1


def sweep() -> None:
    """Remove the folders of this user that nobody holds any more."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                path = Path(entry.path)
                if entry.stat(follow_symlinks=False).st_uid == os.geteuid() and (held := _hold(path)) is not None:
                    shutil.rmtree(path, ignore_errors=True)
                    os.close(held)


def _made() -> Path:
    try:
        path = Path(tempfile.mkdtemp(prefix=PREFIX)).absolute()
    except OSError as error:
        raise UsageError(
            f"HSM processes keep their disks in a folder for temporary files, and none can be made: {error.strerror}; "
            "set TMPDIR to a folder that you may write to"
        ) from None
    if len(os.fsencode(path)) > LONGEST_BYTES:
        os.rmdir(path)
        raise UsageError(
            f"HSM processes keep their disks in a folder for temporary files, and the path of {path.parent} is too "
            f"long for a database; set TMPDIR to a folder of at most {LONGEST_BYTES - len(path.name) - 1} bytes"
        )
    return path


def _hold(path: Path) -> int | None:
    """Return a descriptor that holds the lock on a folder, or None: somebody else holds it, or it has gone.

    Raises:
        OSError: for another reason it cannot be locked.
    """
    try:
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(held), os.stat(path)):
            return held
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(held)
        raise
    os.close(held)
    return None
