"""Which key does an object handle mean, and since when does it mean none any more?

The handles that an application gets are not those of the HSMs: AWS staff say in issue 78 of
aws-samples/aws-cloudhsm-pkcs11-examples that an application should take one as valid only in the session that found
it, and PKCS #11 v2.40, C_Logout, that handles of private objects are void after a logout, even if somebody logs in
again.  All keys of CloudHSM are private.
"""

from dataclasses import dataclass
from itertools import count

from ..client.handles import KeyHandle
from ..history.places import Place

_NUMBERS = count(1)
"""Of objects: no number is given out twice in a process, so that one of another test is known for what it is."""


@dataclass(slots=True)
class Object:
    """One object handle of one application.

    Attributes:
        number: the handle.
        key: what it means.
        session: the session in which it was given out.
        place: the line of the application that got it, where that is known.
        ended: how it came to mean nothing any more; empty while it means its key.
    """

    number: int
    key: KeyHandle
    session: int
    place: Place | None
    ended: str = ""

    @property
    def story(self) -> str:
        """Where it comes from and what became of it, for people."""
        place = self.place
        stored = f" and stored by {place}" if place is not None and place.path else ""
        return f"object {self.number} was given out in session {self.session}{stored}; {self.ended}"


class Objects:
    """The object handles of one application at one token; no number is given out twice."""

    def __init__(self) -> None:
        self.all: dict[int, Object] = {}
        self._by_key: dict[int, Object] = {}

    def of(self, key: KeyHandle) -> Object | None:
        """Return the object of a key, if it has one."""
        return self._by_key.get(key.number)

    def give(self, key: KeyHandle, session: int, place: Place | None) -> Object:
        """Return a new object for a key."""
        number = next(_NUMBERS)
        found = self.all[number] = self._by_key[key.number] = Object(number, key, session, place)
        return found

    def end(self, found: Object, why: str) -> None:
        """Have a handle mean nothing from now on."""
        found.ended = found.ended or why
        self._by_key.pop(found.key.number, None)

    def end_all(self, why: str) -> None:
        """Have all of them mean nothing from now on."""
        for found in list(self._by_key.values()):
            self.end(found, why)

    def session_keys_of(self, session: int) -> list[Object]:
        """Return the session objects that were made or found first in a session."""
        return [one for one in self._by_key.values() if one.session == session and not one.key.token]
