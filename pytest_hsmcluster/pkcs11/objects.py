"""How does an application find keys, read their attributes, and delete them?"""

from typing import TYPE_CHECKING, Any

from ..client.handles import KeyHandle
from ..cryptoki import CKA, CKO, CKR
from ..wire.frames import UNAVAILABLE
from .handles import Object
from .refusals import Refused, bad_arguments
from .sessions import Session
from .templates import KIND_OF, Given, known, read_template, written

if TYPE_CHECKING:
    from .application import Application

Wanted = tuple[tuple[int, int | None], ...] | None


class ObjectFunctions:
    """The functions about objects."""

    def __init__(self, application: "Application") -> None:
        self._application = application

    def c_find_objects_init(self, session: Session, template: Given) -> list[Any]:
        if "find" in session.active:
            session.begin("find", None)
        wanted = read_template(template, CKR.ATTRIBUTE_TYPE_INVALID)
        session.begin("find", self._found(session, wanted))
        return []

    def _found(self, session: Session, wanted: dict[CKA, Any]) -> list[KeyHandle]:
        """Return the keys that fit: every HSM is asked once (a guess), and what is read later is this list.

        All keys are private objects: before a login there is none (PKCS #11 v2.40, 4.4).
        """
        access = session.access
        if not access.logged_in or wanted.get(CKA.CLASS, CKO.SECRET_KEY) not in CKO.__members__.values():
            return []
        if wanted.get(CKA.KEY_TYPE, 0) not in KIND_OF or wanted.get(CKA.PRIVATE) is False:
            return []
        return access.client.find_keys(template=wanted)

    def c_find_objects(self, session: Session, most: int | None) -> list[Any]:
        found: list[KeyHandle] = session.going_on("find")
        if most is None:
            raise bad_arguments("C_FindObjects needs an array, and a place for the number of objects")
        taken, found[:most] = found[:most], []
        return [[self._application.give(session, key) for key in taken]]

    def c_find_objects_final(self, session: Session) -> list[Any]:
        session.going_on("find")
        session.active.pop("find")
        return []

    def c_destroy_object(self, session: Session, handle: int) -> list[Any]:
        found = session.access.object(handle, session, "delete_key", CKR.OBJECT_HANDLE_INVALID)
        session.access.client.delete_key(found.key)
        session.access.objects.end(found, f"the key was deleted {session.access.instant()}")
        return []

    def c_get_attribute_value(self, session: Session, handle: int, wanted: Wanted) -> list[Any]:
        found = session.access.object(handle, session, "get_attributes", CKR.OBJECT_HANDLE_INVALID)
        if wanted is None:
            raise bad_arguments("the template is NULL")
        values = self._values(session, found, tuple(kind for kind, _ in wanted))
        results, worst = [], CKR.OK
        for (_, room), value in zip(wanted, values, strict=True):
            raw = None if isinstance(value, CKR) else written(value)
            if raw is None:
                worst = value if isinstance(value, CKR) else CKR.ATTRIBUTE_TYPE_INVALID
                results.append((UNAVAILABLE, b""))
            elif room is None:
                results.append((len(raw), b""))
            elif room < len(raw):
                worst = worst or CKR.BUFFER_TOO_SMALL
                results.append((UNAVAILABLE, b""))
            else:
                results.append((len(raw), raw))
        if worst is not CKR.OK:
            names = ", ".join(f"0x{kind:X}" for kind, _ in wanted)
            raise Refused(worst, f"of {names} not all can be read, or there is no room", (results,))
        return [results]

    def _values(self, session: Session, found: Object, kinds: tuple[int, ...]) -> list[Any]:
        """Return the attributes' values; who asks for lengths first and for values then makes an HSM answer once.

        python-pkcs11 asks for the lengths of ten and for the values of the eight that there are.
        """
        asked = session.active.pop("attributes", None)
        if asked is not None and asked[0] is found and all(kind in asked[1] for kind in kinds):
            return [asked[1][kind] for kind in kinds]
        names = known(kinds)
        read = [name for name in names if name is not None]
        told = session.access.client.read_attributes(found.key, read) if read else {}
        values = [CKR.ATTRIBUTE_TYPE_INVALID if name is None else told[name] for name in names]
        session.active["attributes"] = found, dict(zip(kinds, values, strict=True))
        return values
