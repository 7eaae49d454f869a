"""What is a failure mode, and which calls can meet it?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..checkers.operation import CREATES
from .evidence import Evidence

Mark = Literal["confirmed", "field report", "inferred", "guess"]
"""How sure it is that the service does so; the words are those of `docs/fidelity.md`."""

WITH_KEY = "with a key"
"""What an unwrap or a derive does besides making a key: it uses one."""

USES = ("encrypt", "decrypt", "sign", "verify", "wrap_key", "public_key", "get_attributes", WITH_KEY)
SHARES = ("share_key", "unshare_key", "set_attribute")
CHANGES = ("delete_key", *SHARES)
ASKED = (*CREATES, *USES, *CHANGES, "find_keys", "random")
"""What somebody who is logged in asks HSMs for."""


class Said:
    """Who says that the service does so, and how sure that is.

    Attributes:
        mark: how sure.
        sources: tags of `docs/fidelity.md`; `UG:page` is a page of the AWS CloudHSM User Guide.  A guess has none.
    """

    __slots__ = ("mark", "sources")

    def __init__(self, mark: Mark, *sources: str) -> None:
        self.mark = mark
        self.sources = sources

    def __str__(self) -> str:
        return f"{self.mark}: {', '.join(self.sources)}" if self.sources else self.mark


class Trait(NamedTuple):
    """What a call does, as far as it decides which failures it can meet.

    Attributes:
        operation: what is called, or `WITH_KEY`.
        sdk: 3 or 5.
        token: whether it is about a token key; None when it is about no key.
        guarded: whether creates have to reach a second HSM (a minimum above 1, or SDK 5's check).
        several: whether the cluster had more than one HSM.
    """

    operation: str
    sdk: int
    token: bool | None
    guarded: bool
    several: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One failure that somebody has written down.

    Attributes:
        name: its name in tables and files.
        group: the heading under which it stands.
        meaning: what happens, in one line.
        said: by whom, and how sure that is.
        how: a spec, or what to do, with which a test reaches it.
        met: whether one operation met it.
        operations: which operations can meet it.
        sdks: client software that can meet it.
        token: only calls about token keys (True) or session keys (False).
        guarded: only where creates have to reach a second HSM (True), or need not (False).
        several: only in clusters of several HSMs.
    """

    name: str
    group: str
    meaning: str
    said: Said
    how: str
    met: Callable[[Evidence], bool]
    operations: tuple[str, ...]
    sdks: tuple[int, ...] = (3, 5)
    token: bool | None = None
    guarded: bool | None = None
    several: bool = False

    def applies(self, trait: Trait) -> bool:
        """Whether a call of this sort can meet it."""
        return (
            trait.operation in self.operations
            and trait.sdk in self.sdks
            and self.token in (None, trait.token)
            and self.guarded in (None, trait.guarded)
            and (trait.several or not self.several)
        )


def traits_of(one: Evidence) -> Iterator[Trait]:
    """Yield what an operation shows of the place that called it."""
    several = one.hsms > 1
    yield Trait(one.name, one.sdk, one.token, one.guarded, several)
    if one.name in ("unwrap_key", "derive_key") and one.key_before is not None:
        yield Trait(WITH_KEY, one.sdk, one.key_before.token, one.guarded, several)
