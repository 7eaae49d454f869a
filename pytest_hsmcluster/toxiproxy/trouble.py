"""What has a test put between applications and an HSM, and how does it end?"""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from .answers import Toxic


class Trouble:
    """Something that proxies do to connections; a context manager that ends it.

    Attributes:
        hsm: id of the HSM.
        client: name of the application, None for all.
        type: Toxiproxy's type of the toxic, or `down`.
        parts: its toxics, none of `down`.
        active: whether it has not ended.
        met: how many connections' ways it has come upon: pairs of an application and an HSM.
        scenario: that it was begun as, or "".
    """

    def __init__(
        self, end: "Callable[[Trouble], None]", hsm: str, client: str | None, type: str, parts: tuple[Toxic, ...]
    ) -> None:
        self.hsm = hsm
        self.client = client
        self.type = type
        self.active = True
        self.met = 0
        self.scenario = ""
        self._end = end
        self.parts = parts

    def strikes(self, client: str, hsm: str) -> bool:
        """Whether it is about the connections of an application to an HSM."""
        return self.hsm == hsm and self.client in (None, client)

    def end(self) -> None:
        """Take it back.  Doing it twice is harmless.

        Raises:
            ToxiproxyError: the server does not answer; the rest is taken back nevertheless.
        """
        self._end(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def __repr__(self) -> str:
        whom = self.client or "all clients"
        return f"<Trouble {self.type} between {whom} and {self.hsm}, {'active' if self.active else 'ended'}>"
