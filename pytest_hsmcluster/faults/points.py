"""Where can a fault strike, and what can happen there?

A point is reached just before the thing that it names.  Points 2 to 10 of the list are
passed by every command that is sent to an HSM; `client.clone` and `client.cleanup` only by
operations that create a token key.
"""

import difflib
from collections.abc import Iterable
from enum import StrEnum
from typing import Self

from ..errors import UsageError

_COMMAND = "op command hsm client key user"
_COPY = "op hsm client key user"
_AIMED = "crash destroy pause fill-disk"


class Point(StrEnum):
    """A place on the path of a call, of the service's sweep, or in the life of an HSM.

    Attributes:
        meaning: what happens next, in one line.
        effects: names of the effects that it can take, `pass` first.
        facts: the keys of `When` that a passage here can ever match: what is known at this place.
    """

    meaning: str
    effects: tuple[str, ...]
    facts: tuple[str, ...]

    CLIENT_ROUTE = (
        "client.route",
        "the client picks an HSM that it believes is up",
        "fail delay crash",
        "op command client key user",
    )
    CLIENT_SEND = "client.send", "the request's deadline is set", "fail delay drop crash", _COMMAND
    WIRE_REQUEST = "wire.request", "the request travels to the HSM", "delay hold drop corrupt", _COMMAND
    HSM_RECEIVE = "hsm.receive", "the request enters the HSM's queue", f"fail delay {_AIMED}", _COMMAND
    HSM_AUTHORIZE = "hsm.authorize", "the HSM looks at login and rights", f"fail {_AIMED}", _COMMAND
    HSM_EXECUTE = "hsm.execute", "the work is done, with real keys", f"fail delay hold {_AIMED}", _COMMAND
    HSM_COMMIT = "hsm.commit", "the result enters the key store", f"fail {_AIMED}", _COMMAND
    HSM_REPLY = "hsm.reply", "the answer is about to leave", f"fail delay hold {_AIMED}", _COMMAND
    WIRE_RESPONSE = "wire.response", "the answer travels to the client", "delay hold drop corrupt", _COMMAND
    CLIENT_RECEIVE = "client.receive", "the request's deadline is lifted", "fail delay crash", _COMMAND
    CLIENT_CLONE = "client.clone", "the key is copied to one more HSM", f"fail delay drop {_AIMED}", _COPY
    CLIENT_CLEANUP = "client.cleanup", "one leftover of a failed create is removed", "fail delay drop crash", _COPY
    CLIENT_REPORT = "client.report", "the application is told", f"delay {_AIMED}", _COPY
    SYNC_SWEEP = "sync.sweep", "the service starts one round of its sweep", "delay drop fail", ""
    SYNC_CLONE = "sync.clone", "the sweep copies one key to one HSM", "delay drop fail", "hsm key"
    HSM_START = "hsm.start", "an HSM is powered on", "fail delay", "hsm"
    HSM_STOP = "hsm.stop", "an HSM is powered off", "fail delay", "hsm"
    HSM_RESTORE = "hsm.restore", "an HSM comes up from a snapshot", "fail delay", "hsm"

    def __new__(cls, text: str, meaning: str, effects: str, facts: str) -> Self:
        point = str.__new__(cls, text)
        point._value_ = text
        point.meaning = meaning
        point.effects = ("pass", *effects.split())
        point.facts = tuple(facts.split())
        return point

    @property
    def place(self) -> str:
        """Who is there: `client`, `wire`, `hsm` or `sync`."""
        return self.partition(".")[0]

    @classmethod
    def of(cls, text: str) -> "Point":
        """Return the point that is spelled `text`, such as `hsm.commit`.

        Raises:
            UsageError: there is none; names the nearest one.
        """
        for point in cls:
            if point == text:
                return point
        names = [point.value for point in cls]
        raise UsageError(f"unknown point {text!r}{nearest(text, names)}; points are {', '.join(names)}")


CREATING = ("generate_key", "generate_key_pair", "import_key", "unwrap_key", "derive_key")
"""Operations that make token keys: the only ones that pass `client.clone` and `client.cleanup`."""


def nearest(wrong: str, right: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the member of `right` that is most like `wrong`, or an empty string."""
    spellings = {name.lower(): name for name in right}
    found = difflib.get_close_matches(wrong.lower(), spellings, n=1, cutoff=0.5)
    return f" (did you mean {spellings[found[0]]!r}?)" if found else ""
