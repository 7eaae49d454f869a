"""Does what was sent arrive, does nothing else, and is no secret told on the way?"""

import hashlib
import inspect
import traceback
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_hsmcluster.cryptoki import CKA, CKM, CKO, CKR
from pytest_hsmcluster.errors import HsmBusy, UsageError
from pytest_hsmcluster.keys.attributes import Attributes
from pytest_hsmcluster.keys.mechanisms import EcdhParams
from pytest_hsmcluster.processes import codec
from pytest_hsmcluster.processes.codec import (
    VERSION,
    KeyRecord,
    Malformed,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
    key_of,
    record_of,
)
from pytest_hsmcluster.service.calls import Call
from pytest_hsmcluster.service.commands import (
    DeriveKey,
    FindKeys,
    GenerateKey,
    ImportKey,
    Login,
    ReadAttributes,
    Sign,
)
from tests.processes.examples import (
    AES,
    COMMANDS,
    ERRORS,
    PARAMS,
    PRIVATE,
    PUBLIC,
    SECRET,
    call_of,
    errors_of,
    exactly,
    made,
    stored,
)

SCHEMA = "11aa8c4d4311e0dd781eb8f1b7ae1d38c57383b1dadbf82ef8bada16162f1be9"
"""SHA-256 of what the frames of this version look like."""

SETTLED = settings(deadline=None, derandomize=True, database=None, max_examples=400)


def there_and_back(request):
    return decode_request(encode_request(1, call_of(request)), lane=0)[1].request


def answered(answer):
    return decode_answer(encode_answer(1, answer))[1]


# -- requests ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", COMMANDS)
def test_command_arrives_as_it_was_sent(kind):
    """The same class, and every argument with the same value of the same type."""
    for request in made(kind):
        received = there_and_back(request)

        assert type(received) is kind
        assert exactly(vars(received)) == exactly(vars(request))


@pytest.mark.parametrize("kind", PARAMS)
def test_parameters_arrive_as_they_were_sent(kind):
    """Those in others, too."""
    for params in made(kind):
        received = there_and_back(Sign(1, None, params, b"")).params

        assert exactly(received) == exactly(params)
        for name in inspect.signature(kind).parameters:
            assert exactly(getattr(received, name)) == exactly(getattr(params, name))


def test_call_arrives_without_what_is_the_receivers():
    """Its lane, its HSM and its deadline are given on the other side."""
    sent = call_of(Sign(262_144, CKM.ECDSA_SHA256, None, b"data"))

    id, call = decode_request(encode_request(9, sent), lane=12, hsm="hsm-1")

    own = ("request", "lane", "hsm", "deadline_ns", "task")
    told = [name for name in Call.__slots__ if name not in own]
    assert id == 9
    assert [getattr(call, name) for name in told] == [getattr(sent, name) for name in told]
    assert (call.lane, call.hsm, call.command) == (12, "hsm-1", "sign")
    assert decode_request(encode_request(9, sent), lane=12)[1].hsm is None


def test_call_of_the_service_itself_arrives():
    """It has neither client nor user."""
    call = decode_request(encode_request(1, Call(0, None, None, None, 0).at("hsm-1", FindKeys({}, None, None))), 0)[1]

    assert (call.op, call.op_name, call.client, call.user, call.key) == (0, None, None, None, None)


def test_attributes_in_a_template_arrive_as_attributes():
    """A template may be taken from another key."""
    inner = stored(AES).attributes

    received = there_and_back(GenerateKey("AES", 128, "k", True, {CKA.WRAP_TEMPLATE: inner})).template

    assert isinstance(received[CKA.WRAP_TEMPLATE], Attributes)
    assert received == {CKA.WRAP_TEMPLATE: inner}


def test_private_key_as_a_peer_arrives_without_its_bytes():
    """The HSM refuses it by what it is, and need not see it for that."""
    frame = encode_request(1, call_of(DeriveKey(1, None, EcdhParams(PRIVATE), "AES", 256, "k", True, None)))

    peer = decode_request(frame, 0)[1].request.params.peer
    assert PRIVATE.encoded not in frame
    assert (peer.part, peer.curve, peer.encoded) == (CKO.PRIVATE_KEY, "secp256r1", b"")


@pytest.mark.parametrize(
    "command, where",
    [
        (GenerateKey("AES", "256", "k", True, None), "generate_key, bits=…"),
        (GenerateKey("AES", 256, "k", True, {CKA.LABEL: 2.5}), "generate_key, template=…"),
        (GenerateKey("AES", 256, "k", True, {"LABEL": "k"}), "generate_key, template=…"),
        (GenerateKey("AES", 1 << 64, "k", True, None), "generate_key "),
        (ReadAttributes(1, [0x7777]), "read_attributes, wanted=…"),
        (Sign(1, None, object(), b"data"), "sign "),
        (Login("alice", f"\ud800{SECRET.decode()}"), "login "),
        (ImportKey("AES", CKO.SECRET_KEY, SECRET.decode(), "k", True, None), "import_key, raw=…"),
    ],
)
def test_argument_that_no_hsm_could_be_handed_is_refused_before_it_is_sent(command, where):
    """With the command and, where it is known, the argument, but not its value."""
    with pytest.raises(UsageError, match=f"^{where}.*cannot be sent to an HSM in a process of its own") as refused:
        encode_request(1, call_of(command))

    assert SECRET.decode() not in "".join(traceback.format_exception(refused.value))
    assert refused.value.__context__ is None


def test_template_that_contains_itself_is_refused():
    """And not followed for ever."""
    template = {}
    template[CKA.WRAP_TEMPLATE] = template

    with pytest.raises(UsageError, match="values within values"):
        encode_request(1, call_of(GenerateKey("AES", 256, "k", True, template)))


# -- answers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        None,
        True,
        False,
        256,
        b"",
        bytes(range(256)),
        {},
        {CKA.LABEL: "röd", CKA.ID: b"", CKA.SIGN: True, CKA.VALUE_LEN: 32, CKA.CHECK_VALUE: None},
        {CKA.VALUE: CKR.ATTRIBUTE_SENSITIVE, CKA.VALUE_LEN: 17, CKA.WRAP_TEMPLATE: stored(AES).attributes},
    ],
)
def test_answer_arrives_as_it_was_given(answer):
    """A return value in an attribute's place is no number there."""
    assert exactly(answered(answer)) == exactly(answer)


@pytest.mark.parametrize("kind", ERRORS)
def test_error_arrives_as_it_was_raised(kind):
    """Class, message, and what was set for it; what was not set stays the class's own."""
    for error in errors_of(kind):
        received = answered(error)

        assert type(received) is kind
        assert received.args == error.args
        assert exactly(dict(sorted(vars(received).items()))) == exactly(dict(sorted(vars(error).items())))
        assert exactly(received.ckr) == exactly(error.ckr)


def test_notes_on_an_error_stay_where_they_were_made():
    error = HsmBusy("busy", hsm="hsm-1")
    error.add_note("in the actor 'a'")

    assert vars(answered(error)) == {"hsm": "hsm-1"}


@pytest.mark.parametrize("material", [AES, PRIVATE, PUBLIC])
def test_key_in_an_answer_tells_everything_but_the_secret(material):
    """Only the bytes of a public key travel."""
    key = stored(material)
    frame = encode_answer(1, (key,))

    (received,) = decode_answer(frame)[1]

    public = material is PUBLIC
    assert (material.encoded in frame) is public
    assert received.material.encoded == (material.encoded if public else b"")
    for name in ("handle", "name", "mat", "attributes", "owner", "shares", "session", "changed", "cls"):
        assert exactly(getattr(received, name)) == exactly(getattr(key, name))
    for name in ("kind", "part", "bits", "curve"):
        assert exactly(getattr(received.material, name)) == exactly(getattr(material, name))


def test_one_key_a_tuple_and_a_list_of_keys_are_told_apart():
    key = stored(PUBLIC, session=None, shares=(), changed=())

    assert answered(key) == key
    assert answered((key, key)) == (key, key)
    assert answered([key, key]) == [key, key]
    assert answered([]) == []
    assert answered(()) == ()


def test_answer_with_a_secret_in_it_is_malformed():
    """A client takes none, whoever sends it."""
    frame = codec._ENCODER.encode(codec._Answer(1, record_of(stored(AES))))

    with pytest.raises(Malformed):
        decode_answer(frame)


# -- whole keys ----------------------------------------------------------------------------


@pytest.mark.parametrize("material", [AES, PRIVATE, PUBLIC])
def test_record_holds_the_whole_key(material):
    """There and back, and through msgpack."""
    key = stored(material)

    record = msgspec.msgpack.decode(msgspec.msgpack.encode(record_of(key)), type=KeyRecord)

    assert record == record_of(key)
    assert key_of(record) == key
    assert key_of(record).material.encoded == material.encoded


def test_record_with_damaged_attributes_is_malformed():
    """Attributes are unpacked when they are first read, which would be late for this."""
    record = record_of(stored(AES))

    for damaged in (b"", record.attributes[:-1], record.attributes + b"x", b"\xff" * 40):
        with pytest.raises(Malformed):
            key_of(msgspec.structs.replace(record, attributes=damaged))


def test_what_travels_shows_no_bytes():
    """Not in a traceback with local variables either."""
    record = record_of(stored(AES))
    wire = codec._REQUESTS.decode(encode_request(1, call_of(Login("alice", SECRET.decode()))))

    assert repr(record) == "<KeyRecord key-1 262144 AES SECRET_KEY 128>"
    for shown in (record, wire, wire.request, codec._Answer(1, SECRET)):
        assert SECRET.decode() not in repr(shown)
        assert not list(shown.__rich_repr__())


# -- versions ------------------------------------------------------------------------------


def drawn(node: msgspec.inspect.Type, known: dict[type, None]) -> str:
    """Return a type as text that is the same for every Python and every msgspec; `known` ones by their name only."""
    match node:
        case msgspec.inspect.StructType() if node.cls in known:
            return node.cls.__name__
        case msgspec.inspect.StructType():
            known[node.cls] = None
            fields = ", ".join(f"{field.encode_name}: {drawn(field.type, known)}" for field in node.fields)
            return f"{node.cls.__name__} {node.tag!r} {'[]' if node.array_like else '{}'} ({fields})"
        case msgspec.inspect.UnionType():
            return " | ".join(drawn(one, known) for one in sorted(node.types, key=sort_key))
        case msgspec.inspect.EnumType():
            return f"{node.cls.__name__}({', '.join(f'{one.name}={one.value}' for one in node.cls)})"
        case msgspec.inspect.LiteralType():
            return repr(sorted(node.values))
        case msgspec.inspect.DictType():
            return f"dict({drawn(node.key_type, known)}, {drawn(node.value_type, known)})"
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType():
            return f"array({drawn(node.item_type, known)})"
        case msgspec.inspect.TupleType():
            return f"tuple({', '.join(drawn(one, known) for one in node.item_types)})"
        case msgspec.inspect.StrType():
            return f"str({node.pattern})"
    return type(node).__name__


def sort_key(node: msgspec.inspect.Type) -> tuple[str, str]:
    return type(node).__name__, str(getattr(node, "tag", ""))


def test_version_belongs_to_the_form_of_the_frames():
    """Whoever changes the arguments of a command, or an error's attributes, raises `VERSION`."""
    known: dict[type, None] = {}
    frames = (codec._Request, codec._Answer)
    drawing = "\n".join(drawn(msgspec.inspect.type_info(frame), known) for frame in frames)

    assert VERSION == 1
    assert hashlib.sha256(drawing.encode()).hexdigest() == SCHEMA, (
        "frames have another form now: raise VERSION in processes/codec.py, then write the new number and the new "
        f"digest down here. The form is\n{drawing}"
    )


def test_frame_of_another_version_is_malformed():
    """It is refused at its first element, before anything is made of it."""
    frame = bytearray(encode_request(1, call_of(FindKeys({}, None, None))))
    assert frame[1] == VERSION
    frame[1] += 1

    with pytest.raises(Malformed, match=r"^this is not a request of version 1: something unknown - at `\$\[0\]`$"):
        decode_request(bytes(frame), 0)


# -- what is malformed ---------------------------------------------------------------------


def bytes_of(*frame: Any) -> bytes:
    return msgspec.msgpack.encode(frame)


HEAD = (VERSION, 1, 7, "sign", "app", "alice", 4, None, None, None, None)
TEXT = SECRET.decode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        SECRET,
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        bytes_of(),
        bytes_of(TEXT, 1),
        bytes_of(*HEAD, [TEXT, 1]),
        bytes_of(*HEAD, ["sign", 1, None, None, TEXT]),
        bytes_of(*HEAD, ["sign", 1, None, None]),
        bytes_of(*HEAD, ["sign", 1, None, None, SECRET, SECRET]),
        bytes_of(*HEAD, ["sign", 1, None, ["Nonsense", TEXT], SECRET]),
        bytes_of(*HEAD, ["sign", 1, None, ["OaepParams", TEXT, None, b""], SECRET]),
        bytes_of(*HEAD, ["delete_key", 1, TEXT]),
        bytes_of(*HEAD, ["delete_key", 1, f"{TEXT} - at `$[0]`\n{TEXT}"]),
        bytes_of(*HEAD, ["find_keys", ["template", {TEXT: 1}], None, None]),
        bytes_of(*HEAD, ["find_keys", ["template", {3: 1.5}], None, None]),
        bytes_of(*HEAD, ["find_keys", ["template", {3: ["attributes", SECRET]}], None, None]),
        bytes_of(*HEAD, ["find_keys", ["template", {3: ["attributes", b""]}], None, None]),
        bytes_of(*HEAD, ["find_keys", ["template", {}], None, 99]),
        bytes_of(*HEAD, ["sign", 1, None, ["EcdhParams", ["material", "EC", 2, SECRET, 256, None], 1, b"", None], b""]),
        bytes_of(*HEAD, ["logout", TEXT]),
        bytes_of(*HEAD, ["logout", True], TEXT),
        bytes_of(*HEAD, ["logout", True]) + SECRET,
        bytes_of(*HEAD, ["logout", True]).replace(b"alice", b"\xff" * 5),
        bytes_of(*HEAD[:-1], TEXT.encode(), ["logout", True]),
        bytes_of(*HEAD, ["find_keys", ["template", {3: 0}], None, None]).replace(
            b"\x81\x03\x00", b"\x81\x03" + b"\x92\xa4list\x91" * 20_000
        ),
    ],
)
def test_malformed_request_is_refused_without_its_bytes(data):
    """Neither in the message nor in what led to it."""
    with pytest.raises(Malformed, match="^this is not a request of version 1: ") as refused:
        decode_request(data, 0)

    assert "hunter2" not in "".join(traceback.format_exception(refused.value))
    assert refused.value.__context__ is None


@pytest.mark.parametrize(
    "answer",
    [
        1.5,
        TEXT,
        ["NoSuchError", TEXT, {}],
        ["HsmBusy", TEXT, {TEXT: 1}],
        ["HsmBusy", TEXT, {"handle": 1}],
        ["HsmBusy", TEXT, {"outcome": TEXT}],
        ["HsmBusy", 1, {}],
        ["template", {3: ["ckr", TEXT]}],
        ["keys", [["key", 1]], True],
        msgspec.msgpack.Ext(5, SECRET),
    ],
)
def test_malformed_answer_is_refused_without_its_bytes(answer):
    with pytest.raises(Malformed, match="^this is not an answer of version 1: ") as refused:
        decode_answer(bytes_of(VERSION, 1, answer))

    assert "hunter2" not in "".join(traceback.format_exception(refused.value))
    assert refused.value.__context__ is None


FRAMES = [
    *(encode_request(1, call_of(request)) for kind in COMMANDS for request in made(kind)[-2:]),
    *(encode_request(1, call_of(Sign(1, None, params, b"data"))) for kind in PARAMS for params in made(kind)[:1]),
    *(encode_answer(1, [stored(material)]) for material in (AES, PRIVATE, PUBLIC)),
    *(encode_answer(1, error) for kind in ERRORS for error in errors_of(kind)[-2:]),
    encode_answer(1, {CKA.VALUE: CKR.ATTRIBUTE_SENSITIVE, CKA.WRAP_TEMPLATE: stored(AES).attributes}),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a frame of which some bytes were changed, added or taken away."""
    frame = bytearray(draw(st.sampled_from(FRAMES)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(frame)))
        frame[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(frame)


@SETTLED
@given(st.binary(max_size=80) | mutated())
def test_whatever_comes_is_decoded_or_malformed(data):
    """Nothing else is raised, now or when the attributes are read."""
    for decode in (lambda: decode_request(data, 0), lambda: decode_answer(data)):
        try:
            _, told = decode()
        except Malformed:
            continue
        for key in told if isinstance(told, list | tuple) else ():
            assert key.label is not None and dict(key.attributes)


@SETTLED
@given(mutated())
def test_what_is_decoded_could_have_been_encoded(data):
    """So no two frames mean the same by accident, and a request that came in can be passed on."""
    try:
        id, call = decode_request(data, 0)
    except Malformed:
        return

    again = encode_request(id, call)
    assert exactly_call(decode_request(again, 0)[1]) == exactly_call(call)


def exactly_call(call: Call) -> Any:
    told = {name: getattr(call, name) for name in Call.__slots__ if name != "request"}
    return exactly(told | vars(call.request))
