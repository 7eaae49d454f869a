"""At which passages of a point does a fault strike?

`When` answers from what is known of a passage; counting (`nth`, `per`), the clock
(`during`) and the dice (`chance`) belong to the injection, which lives longer than a passage.
"""

import contextlib
import fnmatch
import math
import re
from dataclasses import dataclass, field, fields
from typing import Protocol

from ..errors import UsageError
from .effects import duration_ns, duration_text
from .points import nearest

OPERATIONS = (
    "generate_key",
    "generate_key_pair",
    "import_key",
    "wrap_key",
    "unwrap_key",
    "derive_key",
    "encrypt",
    "decrypt",
    "sign",
    "verify",
    "public_key",
    "find_keys",
    "get_attributes",
    "set_attribute",
    "delete_key",
    "share_key",
    "unshare_key",
    "digest",
    "random",
    "login",
    "logout",
)
"""What an application can call."""

COMMANDS = (
    "generate_key",
    "generate_key_pair",
    "import_key",
    "wrap_key",
    "unwrap_key",
    "derive_key",
    "encrypt",
    "decrypt",
    "sign",
    "verify",
    "public_key",
    "find_keys",
    "get_attributes",
    "set_attribute",
    "delete_key",
    "tombstone_key",
    "share_key",
    "unshare_key",
    "random",
    "login",
    "logout",
    "extract_masked",
    "insert_masked",
    "check_key",
)
"""What one HSM can be asked to do."""

LIBRARY_ONLY = ("read_attributes", "validate_key")
"""Operations and commands that the PKCS#11 library adds: `C_GetAttributeValue`, and the question of each `C_…Init`."""

PER = ("op", "client", "hsm", "key")
"""Where the count of `nth` can start anew."""


class Facts(Protocol):
    """What is known of one passage; None where there is no such thing."""

    @property
    def op_name(self) -> str | None: ...
    @property
    def command(self) -> str | None: ...
    @property
    def hsm(self) -> str | None: ...
    @property
    def client(self) -> str | None: ...
    @property
    def key(self) -> str | None: ...
    @property
    def label(self) -> str | None: ...
    @property
    def handle(self) -> int | str | None: ...
    @property
    def user(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class When:
    """A condition on passages; without any key it holds for all.

    Names match exactly or, with `*`, `?` or `[`, as shell patterns that respect case.

    Attributes:
        op: what the application called; never a command.
        command: what one HSM is asked to do.
        hsm: id of the HSM that the passage is about.
        client: application process; `app` is also its later processes `app#2`, `app#3`.
        key: name in the journal (`key-3`), label or handle number.
        user: name of the user that is logged in.
        nth: only this passage of those that the other keys match, from 1.
        per: the count of `nth` starts anew for each operation, client, HSM or key.
        during: only in this window, `30s` or `10s..40s`, since the fault was installed;
            kept as (from, to) in ns, `to` excluded.
        chance: probability in (0, 1] with which a passage is struck.

    Raises:
        UsageError: a key that is wrong or could never hold.
    """

    op: str | None = None
    command: str | None = None
    hsm: str | None = None
    client: str | None = None
    key: str | None = None
    user: str | None = None
    nth: int | None = None
    per: str | None = None
    during: str | tuple[int, int] | None = None
    chance: float | None = None
    _tests: "tuple[_Test, ...]" = field(init=False, repr=False, compare=False)
    _window: tuple[int, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in KEYS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, checked(name, value))
        if self.per is not None and self.nth is None:
            raise UsageError(f"per={self.per} says where nth= counts anew; without nth= it changes nothing")
        window = self.during if isinstance(self.during, tuple) else (0, math.inf)
        object.__setattr__(self, "_window", window)
        named = [(name, getattr(self, name)) for name in NAMES]
        object.__setattr__(self, "_tests", tuple(_test(name, wanted) for name, wanted in named if wanted is not None))

    def matches(self, facts: Facts) -> bool:
        """Whether the passage is of the named op, command, HSM, client, key and user."""
        for test in self._tests:
            if not test.holds(facts):
                return False
        return True

    def open_at(self, elapsed_ns: int) -> bool:
        """Whether an instant, `elapsed_ns` after installation, lies in the window."""
        return self._window[0] <= elapsed_ns < self._window[1]

    @property
    def given(self) -> tuple[tuple[str, str], ...]:
        """The keys that were given with their values as text, unquoted, in the order of the fields."""
        return tuple((name, _text(getattr(self, name))) for name in KEYS if getattr(self, name) is not None)


NAMES = ("op", "command", "hsm", "client", "key", "user")
"""Keys whose value is a name."""

KEYS = tuple(each.name for each in fields(When) if each.init)
"""All keys, in the order in which they are written."""


def value_of(name: str, text: str) -> str | int | float | tuple[int, int]:
    """Return the value of the key `name` that is spelled `text` in a spec, ready for `When`.

    Raises:
        UsageError: unknown key, or a value that it cannot take.
    """
    if name not in KEYS:
        raise UsageError(f"unknown key {name!r}{nearest(name, KEYS)}; keys are {', '.join(KEYS)}")
    if name == "nth" and re.fullmatch(r"[0-9]{1,2000}", text):
        return checked(name, int(text))
    if name == "chance" and re.fullmatch(r"[0-9.]+([eE][-+]?[0-9]+)?", text):
        with contextlib.suppress(ValueError):
            return checked(name, float(text))
    return checked(name, text)


def checked(name: str, value: object) -> str | int | float | tuple[int, int]:
    """Return the value that `When` keeps for the key `name`.

    Raises:
        UsageError: the key cannot take it, or it could never hold.
    """
    if name == "nth":
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return value
        raise UsageError(f"nth= takes a whole number from 1, got {value!r}")
    if name == "chance":
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
            return float(value)
        raise UsageError(f"chance= takes a number above 0 and up to 1, got {value!r}")
    if name == "during":
        return _checked_window(value)
    if not (isinstance(value, str) and value):
        raise UsageError(f"{name}= takes a name, got {value!r}")
    if name == "per" and value not in PER:
        raise UsageError(f"per= takes one of {', '.join(PER)}, got {value!r}{nearest(value, PER)}")
    if name == "op":
        _check_known("operation", value, (*OPERATIONS, *LIBRARY_ONLY), f"command={value}" if value in COMMANDS else "")
    if name == "command":
        _check_known("command", value, (*COMMANDS, *LIBRARY_ONLY), f"op={value}" if value in OPERATIONS else "")
    return value


@dataclass(frozen=True, slots=True)
class _Test:
    """One name to compare, and the compiled pattern if it is one."""

    attribute: str
    wanted: str
    pattern: re.Pattern[str] | None

    def holds(self, facts: Facts) -> bool:
        value = getattr(facts, self.attribute)
        return value is not None and self.fits(value)

    def fits(self, value: str) -> bool:
        return value == self.wanted or (self.pattern is not None and self.pattern.match(value) is not None)


class _ClientTest(_Test):
    """A process `app#2` is the application `app` after a death or an unknown outcome."""

    __slots__ = ()

    def fits(self, value: str) -> bool:
        return _Test.fits(self, value) or ("#" in value and _Test.fits(self, value.rpartition("#")[0]))


class _KeyTest(_Test):
    """A key goes by its name in the journal, its label and its handle number."""

    __slots__ = ()

    def holds(self, facts: Facts) -> bool:
        if facts.key is not None and self.fits(facts.key):
            return True
        if facts.label is not None and self.fits(facts.label):
            return True
        return facts.handle is not None and self.fits(str(facts.handle))


def _test(name: str, wanted: str) -> _Test:
    pattern = re.compile(fnmatch.translate(wanted)) if _is_pattern(wanted) else None
    if name == "key":
        return _KeyTest("key", wanted, pattern)
    if name == "client":
        return _ClientTest("client", wanted, pattern)
    return _Test("op_name" if name == "op" else name, wanted, pattern)


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[")


def _check_known(what: str, value: str, known: tuple[str, ...], twin: str) -> None:
    """Refuse an operation or command that does not exist: the fault could never strike."""
    if any(fnmatch.fnmatchcase(each, value) for each in known):
        return
    hint = f"; you may mean {twin}" if twin else f"{nearest(value, known)}; there are {', '.join(known)}"
    raise UsageError(f"no {what} is called {value!r}{hint}")


def _checked_window(during: object) -> tuple[int, int]:
    if isinstance(during, str):
        first, dots, last = during.partition("..")
        from_ns, to_ns = (duration_ns(first), duration_ns(last)) if dots else (0, duration_ns(first))
    elif isinstance(during, tuple) and len(during) == 2 and all(type(end) is int for end in during):
        from_ns, to_ns = during
    else:
        raise UsageError(f"during= takes a window such as '30s', '10s..40s' or (from_ns, to_ns), got {during!r}")
    if not 0 <= from_ns < to_ns:
        raise UsageError(f"during= takes a window that ends after it begins, got {during!r}")
    return from_ns, to_ns


def _text(value: object) -> str:
    if isinstance(value, tuple):
        first, last = value
        return f"{duration_text(first)}..{duration_text(last)}" if first else duration_text(last)
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)
