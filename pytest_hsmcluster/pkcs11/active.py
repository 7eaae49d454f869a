"""Which slots are there in this process now, and who answers the library that is loaded in it?

A PKCS#11 library is loaded once in a process, initialised once, and never unloaded, while tests come and go.  So the
slots stand in one table of the process, its only module state: each test's cluster is a new slot behind the one loaded
library, and its number is never used again.
"""

import atexit
import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

from ..errors import UsageError
from .application import Application, Called
from .token import Token

MODULE: Final = Path(__file__).parent / "libhsmcluster_pkcs11.so"
"""Path of the shared library."""

_Exchange = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong)


class Slots:
    """The slots of this process.

    Attributes:
        tokens: number → token, of those that there are.
        gone: number → why it is not there any more.
    """

    def __init__(self) -> None:
        self.tokens: dict[int, Token] = {}
        self.gone: dict[int, str] = {}
        self._numbers = count(1)
        self._listeners: list[Callable[[Called], object]] = []
        self._application: Application | None = None
        self._carrier: Any = None
        self._kept: list[Any] = []

    def add(self, token: Token) -> int:
        """Put a token into a slot of its own, and return the slot's number."""
        number = next(self._numbers)
        self.tokens[number] = token
        return number

    def remove(self, number: int) -> None:
        """Take a token out; what an application still has there is void, and says so."""
        token = self.tokens.pop(number)
        whose = f"{token.cluster} of {token.test}" if token.test else token.cluster
        why = self.gone[number] = f"it belonged to {whose}, which is over"
        if self._application is not None:
            self._application.remove(number, why)

    @property
    def application(self) -> Application:
        """The application in this process."""
        if self._application is None:
            self._application = Application("app", lambda: self.tokens, self.gone, self._tell)
        return self._application

    @contextmanager
    def listening(self, listener: Callable[[Called], object]) -> Iterator[None]:
        """Have somebody told of each call of this process within the block."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def carry(self) -> None:
        """Have the library in this process bring its calls here, from now on.

        Raises:
            UsageError: there is no library: the package was built without a C compiler.
        """
        if self._carrier is not None:
            return
        if not self._kept:
            os.register_at_fork(after_in_child=self._begin_anew)
        library = ctypes.CDLL(str(module()))
        answer = self.application.answer

        def exchange(request: int, length: int, place: int, room: int) -> int:
            # An exception would leave garbage in the return value.
            try:
                answered = answer(ctypes.string_at(request, length))
                if len(answered) > room:
                    return -1
                ctypes.memmove(place, answered, len(answered))
                return len(answered)
            except BaseException as error:
                self.application.failures.append(error)
                return -1

        # Library and function are kept as long as the process lives; before the interpreter ends it is taken out.
        self._carrier = library, _Exchange(exchange)
        self._kept.append(self._carrier)
        library.hsmcluster_carry(self._carrier[1])
        atexit.register(library.hsmcluster_carry, None)

    def _begin_anew(self) -> None:
        """Carry nothing in a forked child, unless a door is opened there: the library has let go of us by then."""
        self._carrier = self._application = None

    def _tell(self, called: Called) -> None:
        for listener in self._listeners:
            listener(called)


SLOTS: Final = Slots()


def module() -> Path:
    """Return the path of the shared library.

    Raises:
        UsageError: there is none.
    """
    if not MODULE.exists():
        raise UsageError(
            f"there is no {MODULE.name}: this package was installed without a C compiler. Install one "
            "(Debian: apt-get install gcc libc6-dev), then "
            "pip install --force-reinstall --no-cache-dir pytest-hsmcluster"
        )
    return MODULE
