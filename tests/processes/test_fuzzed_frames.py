"""Is there anything that a client with a certificate can send that ends more than its own connection?

Its frames begin well and go on anyhow, with the names of real commands, the numbers of real keys and what else an HSM
would believe.  After each of them the HSM answers somebody else.
"""

import inspect
from collections.abc import Mapping, Sequence
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_hsmcluster import HsmCluster
from pytest_hsmcluster.cryptoki import CKA, CKD, CKM, CKO
from pytest_hsmcluster.keys.attributes import Attributes
from pytest_hsmcluster.keys.curves import CURVES
from pytest_hsmcluster.keys.kinds import KINDS
from pytest_hsmcluster.processes.codec import _FORMS, VERSION
from pytest_hsmcluster.processes.forms import PARAMS, Kind, Value
from pytest_hsmcluster.service.commands import DeleteKey, Logout, TombstoneKey
from tests.processes.strangers import HEAD, answer, context_of, frame, request, spoken_to

SESSION = 900
RANDOM = ["random", 8]
COMMANDS = {form.struct.__struct_config__.tag: len(form.names) for form in _FORMS.values()}
DERANDOMIZED = settings(
    derandomize=True, database=None, deadline=None, max_examples=150, suppress_health_check=list(HealthCheck)
)

handles = st.deferred(lambda: st.sampled_from(HANDLES * 3 + [-1, 0, (1 << 64) - 1]))
HANDLES = [0]
numbers = st.sampled_from([-1, 0, 1, 8, 16, 128, 192, 256, 1024, 2048, 1 << 31, 1 << 40, (1 << 64) - 1])
texts = st.sampled_from(
    [*KINDS, *CURVES, "crypto_user", "", "a" * 300, "\x00", "\udc80".encode("utf8", "replace").decode()]
)
blobs = (
    st.sampled_from([b"", b"x", bytes(16), bytes(24), bytes(32), bytes(1000), Attributes({}).packed()]) | st.binary()
)
attributes = st.sampled_from([int(one) for one in CKA]) | st.integers(0, 99)
mechanisms = st.sampled_from([int(one) for one in (*CKM, *CKD)]) | st.none()
plain = st.none() | st.booleans() | handles | numbers | texts | blobs | mechanisms | st.sampled_from([*map(int, CKO)])


def forms(inner):
    """What looks like a value in a wire form."""
    tagged = [
        st.tuples(st.just("text"), texts),
        st.tuples(st.just("ckr"), numbers),
        st.tuples(st.just("attributes"), blobs),
        st.tuples(st.just("template"), st.dictionaries(attributes, inner, max_size=4)),
        st.tuples(st.just("list"), st.lists(inner, max_size=3)),
        st.tuples(st.just("material"), st.sampled_from(list(KINDS)), numbers, blobs, numbers, st.none() | texts),
    ]
    params = [st.tuples(st.just(kind.__struct_config__.tag), *[inner] * len(kind.__struct_fields__)) for kind in PARAMS]
    return st.one_of(*tagged, *params).map(list)


values = st.recursive(plain, forms, max_leaves=6)


@st.composite
def commands(draw):
    """The name of a command, and as many arguments as it has, or nearly."""
    name, count = draw(st.sampled_from(sorted(COMMANDS.items())))
    count += draw(st.sampled_from([0, 0, 0, 0, 0, 0, -1, 1]))
    return [name, *draw(st.lists(values, min_size=max(count, 0), max_size=max(count, 0)))]


def typed(wire):
    """What the form takes for an argument of this type, so that the HSM and not the form judges it."""
    if get_origin(wire) in (Union, UnionType):
        return st.one_of([typed(one) for one in get_args(wire)])
    if get_origin(wire) in (dict, Mapping):
        return st.dictionaries(attributes, st.deferred(lambda: typed(Value)), max_size=3)
    if get_origin(wire) in (list, Sequence):
        return st.lists(attributes, max_size=3)
    if get_origin(wire) is Literal:
        return st.sampled_from(get_args(wire))
    if get_origin(wire) is Annotated:
        return st.sampled_from([*KINDS]) if wire == Kind else st.sampled_from([*CURVES])
    if inspect.isclass(wire) and issubclass(wire, Enum):
        return st.sampled_from([one.value for one in wire])
    if inspect.isclass(wire) and issubclass(wire, msgspec.Struct):
        fields = [typed(field.type) for field in msgspec.structs.fields(wire)]
        return st.tuples(st.just(wire.__struct_config__.tag), *fields).map(list)
    return PLAIN[wire]


PLAIN = {
    int: handles | handles | handles | numbers | mechanisms.filter(bool),
    str: texts,
    bytes: blobs,
    bool: st.booleans(),
    NoneType: st.none(),
}


@st.composite
def typed_commands(draw):
    """The name of a command with arguments of the right types; one that does not end the session or a key."""
    form = draw(
        st.sampled_from([form for form in _FORMS.values() if form.kind not in (Logout, DeleteKey, TombstoneKey)])
    )
    arguments = [draw(typed(field.type)) for field in msgspec.structs.fields(form.struct)]
    return [form.struct.__struct_config__.tag, *arguments]


@pytest.fixture(scope="module")
def cluster():
    with HsmCluster(1, sdk=3, network="processes", clock_rate=20) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def stranger(cluster):
    """A certificate whose owner is logged in, and has keys."""
    context = context_of(cluster)
    client = cluster.client()
    pairs = [
        client.generate_key_pair("EC", "secp256r1", label="ec"),
        client.generate_key_pair("RSA", 2048, label="rsa"),
    ]
    keys = [client.generate_key("AES", 256, label="aes"), client.import_key("GENERIC_SECRET", bytes(32), label="hmac")]
    HANDLES[:] = [key.number for key in (*keys, *(half for pair in pairs for half in (pair.public, pair.private)))]
    with spoken_to(cluster, context) as sock:
        sock.sendall(frame(request(["login", cluster.default_user, cluster.default_password], session=SESSION)))
        assert answer(sock) is not None
    return context


def survives(cluster, context, bytes_):
    """Send bytes over a connection of their own; then somebody else is answered."""
    with spoken_to(cluster, context) as sock:
        sock.sendall(bytes_ + frame(request(RANDOM, number=2, session=SESSION)))
        answer(sock)
    assert cluster.hsm("hsm-1").keys, "it has told what it did, and nobody has to wait for that to be read"
    with spoken_to(cluster, context) as sock:
        sock.sendall(frame(request(RANDOM, number=3, session=SESSION)))
        body = answer(sock)
        assert body is not None, "the HSM does not answer any more"
        assert msgspec.msgpack.decode(body)[1] == 3


@DERANDOMIZED
@given(st.binary(max_size=300), st.integers(0, 3))
def test_any_bytes(cluster, stranger, body, kind):
    survives(cluster, stranger, frame(body, kind))


@DERANDOMIZED
@given(st.lists(values, max_size=14))
def test_any_values(cluster, stranger, members):
    survives(cluster, stranger, frame(msgspec.msgpack.encode([VERSION, *members])))


@DERANDOMIZED
@given(commands() | typed_commands(), st.sampled_from([SESSION, SESSION, SESSION, 0, -1, 1 << 64]))
def test_any_command(cluster, stranger, command, session):
    try:
        body = request(command, session=session)
    except OverflowError:
        body = b""
    survives(cluster, stranger, frame(body))


@DERANDOMIZED
@given(commands(), st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_any_damage(cluster, stranger, command, place, bytes_):
    try:
        body = frame(request(command, session=SESSION))
    except OverflowError:
        return
    place = min(place + HEAD.size, len(body))
    survives(cluster, stranger, body[:place] + bytes_ + body[place + len(bytes_) :])
