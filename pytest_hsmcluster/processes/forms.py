"""In which form does an object travel from one process to another?

As its constructor's arguments: an array that begins with a word for its class, and in which `msgspec` checks every
type.  `Form` derives that array from the constructor's signature, so a new class needs no line here.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import reduce
from operator import attrgetter, or_
from types import NoneType
from typing import Annotated, Any, Final, get_args, get_type_hints

from msgspec import Meta, Struct, defstruct, structs

from ..cryptoki import CKA, CKD, CKM, CKO, CKR
from ..keys.attributes import Attributes
from ..keys.curves import CURVES
from ..keys.kinds import KINDS
from ..keys.material import Material, import_material
from ..keys.mechanisms import Mechanism, MechanismParams

Kind = Annotated[str, Meta(pattern=rf"^({'|'.join(KINDS)})\Z")]
Curve = Annotated[str, Meta(pattern=rf"^({'|'.join(CURVES)})\Z")]


class Wire(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """An array whose first element says what it is.  It may hold PINs, data and keys, so it shows nothing."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


# In one union `msgspec` tells arrays apart by what they begin with, but not text from bytes, nor an enum from numbers.


class Text(Wire, tag="text", frozen=True):
    """A text where there could be bytes."""

    text: str


class ReturnValue(Wire, tag="ckr", frozen=True):
    """A `CKR` where there could be a number: why an attribute is not given out."""

    number: int


class Packed(Wire, tag="attributes", frozen=True):
    """`Attributes`, packed."""

    packed: bytes


class Template(Wire, tag="template", frozen=True):
    """A mapping of attributes."""

    values: dict[int, "Value"]


class Several(Wire, tag="list", frozen=True):
    """Values in their order."""

    members: list["Value"]


class PublicMaterial(Wire, tag="material", frozen=True):
    """Key material as far as it may be told: `encoded` is empty unless the key is public."""

    kind: Kind
    part: CKO
    encoded: bytes
    bits: int
    curve: Curve | None


Value = None | bool | int | bytes | Text | ReturnValue | Packed | Template | Several
"""What an attribute's value is on the wire."""

_NATIVE: Final = frozenset((NoneType, bool, int, bytes))
_CKAS, _CKDS, _CKMS, _CKRS = ({int(one): one for one in numbers} for numbers in (CKA, CKD, CKM, CKR))


def sent(value: Any) -> Any:
    """Return a value in its wire form; one that has none is left for `msgspec` to refuse."""
    if type(value) in _NATIVE:
        return value
    change = _SENT.get(type(value))
    if change is not None:
        return change(value)
    return _sent_template(value) if isinstance(value, Mapping) else value


def received(value: Any) -> Any:
    """Return what a wire form stands for.

    Raises:
        ValueError, ClusterError, and what comes of unpacking damaged attributes: `codec` knows them all.
    """
    change = _RECEIVED.get(type(value))
    return value if change is None else change(value)


def one_of(*types: Any) -> Any:
    """Return the union of types."""
    return reduce(or_, types)


def told(material: Material) -> bytes:
    """Return what everybody may know of a key's bytes."""
    return material.encoded if material.part is CKO.PUBLIC_KEY else b""


def return_value(number: int) -> CKR | int:
    """Return a return value, known or not."""
    return _CKRS.get(number, number)


def received_attributes(packed: bytes) -> Attributes:
    """Return attributes that were unpacked to the last byte: later on, nobody expects damage."""
    made = Attributes(
        {
            key: received_attributes(value.packed()) if isinstance(value, Attributes) else value
            for key, value in Attributes.unpack(packed).items()
        }
    )
    if made.packed() != packed:
        raise ValueError("attributes of too many bytes, or too few")
    return made


def _sent_template(template: Mapping[CKA, Any]) -> Template:
    return Template({key: sent(value) for key, value in template.items()})


def _received_template(template: Template) -> dict[CKA | int, Any]:
    return {_CKAS.get(key, key): received(value) for key, value in template.values.items()}


def _sent_material(material: Material) -> PublicMaterial:
    return PublicMaterial(material.kind, material.part, told(material), material.bits, material.curve)


def _received_material(material: PublicMaterial) -> Material:
    if material.part is CKO.PUBLIC_KEY:
        return import_material(material.kind, material.part, material.encoded)  # an HSM is about to use it
    return Material(material.kind, material.part, b"", material.bits, material.curve)


def _sent_list(members: list[Any] | tuple[Any, ...]) -> Several:
    return Several([sent(member) for member in members])


_SENT: Final[dict[type, Callable[[Any], Any]]] = {
    str: Text,
    CKR: ReturnValue,
    Attributes: lambda attributes: Packed(attributes.packed()),
    dict: _sent_template,
    list: _sent_list,
    tuple: _sent_list,
    Material: _sent_material,
}
_RECEIVED: Final[dict[type, Callable[[Any], Any]]] = {
    Text: lambda text: text.text,
    ReturnValue: lambda value: return_value(value.number),
    Packed: lambda attributes: received_attributes(attributes.packed),
    Template: _received_template,
    Several: lambda several: [received(member) for member in several.members],
    PublicMaterial: _received_material,
}


class Form:
    """How objects of one class travel.

    Args:
        kind: the class; its objects keep each argument as an attribute of the same name, or with an underscore before.
        tag: what the array begins with.
        otherwise: how to get each argument from an object that does not keep them.

    Attributes:
        names: of the arguments, in the order in which they travel.
        struct: the array, for `msgspec`.
    """

    def __init__(self, kind: type, tag: str, otherwise: Mapping[str, Callable[[Any], Any]] | None = None) -> None:
        hints = get_type_hints(kind.__init__)  # type: ignore[misc]
        types = {name: WIRE_TYPES.get(hints[name], (hints[name], None)) for name in inspect.signature(kind).parameters}
        self.kind = kind
        self.names = tuple(types)
        self.struct: Any = defstruct(
            kind.__name__, [(name, wire) for name, (wire, _) in types.items()], bases=(Wire,), tag=tag, module=__name__
        )
        self._changed = [place for place, (_, change) in enumerate(types.values()) if change is received]
        self._restored = [(name, change) for name, (_, change) in types.items() if change is not None]
        self._otherwise = otherwise
        self._arguments: Callable[[Any], Any] | None = None

    def sent(self, value: Any) -> Any:
        """Return an object in its wire form."""
        if self._arguments is None:
            self._arguments = self._found(value)
        arguments = list(self._arguments(value))
        for place in self._changed:
            arguments[place] = sent(arguments[place])
        return self.struct(*arguments)

    def received(self, wire: Any) -> Any:
        """Return an object like the one that was sent."""
        arguments = structs.asdict(wire)
        for name, change in self._restored:
            arguments[name] = change(arguments[name])
        return self.kind(**arguments)

    def _found(self, value: Any) -> Callable[[Any], Any]:
        """Return what gets the arguments from an object: where it keeps them, only an object shows."""
        if self._otherwise is not None:
            getters = [self._otherwise[name] for name in self.names]
            return lambda value: [get(value) for get in getters]
        kept = [name if hasattr(value, name) else f"_{name}" for name in self.names]
        get = attrgetter(*kept)
        return get if len(kept) > 1 else lambda value: (get(value),)


WIRE_TYPES: Final[dict[Any, tuple[Any, Callable[[Any], Any]]]] = {
    # Numbers on which the service passes judgement come through, known or not.
    Mechanism | None: (int | str | None, lambda number: _CKMS.get(number, number)),
    CKM: (int, lambda number: _CKMS.get(number, number)),
    CKD: (int, lambda number: _CKDS.get(number, number)),
    Mapping[CKA, Any]: (Template, received),
    Mapping[CKA, Any] | None: (Template | None, received),
    Material | bytes: (PublicMaterial | bytes, received),
}
"""The type hint of an argument → its type on the wire, and how it is received; what is not here is sent as it is."""


for _kind in get_args(MechanismParams):
    _form = Form(_kind, _kind.__name__)
    _SENT[_kind], _RECEIVED[_form.struct] = _form.sent, _form.received
    WIRE_TYPES[_kind] = _form.struct, received  # parameters within others

PARAMS: Final = tuple(WIRE_TYPES[kind][0] for kind in get_args(MechanismParams))
WIRE_TYPES[Any] = one_of(Value, *PARAMS), received
