"""Whatever frame comes, does Python answer with a frame, and do others go on working?

The test suite tries some hundred examples; `python -m tests.pkcs11.fuzz.python_end MINUTES [ROUND]` goes on for so
long, in rounds, each with a new cluster and its number as seed, and says how many it has tried, or in which round one
failed.
"""

import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from pytest_hsmcluster import HsmCluster
from pytest_hsmcluster.pkcs11.application import Application
from pytest_hsmcluster.wire.functions import FUNCTIONS, VERSION, Function
from tests.wire.test_frames import _KINDS, OFFERED, b, n

ROUND = 500
NUMBERS = {function.name: function.number for function in FUNCTIONS}
LEFT_OUT = ("C_Finalize", "C_Logout", "C_CloseAllSessions", "C_CloseSession")  # nothing would be left to try
KNOWN = b"known"  # the label of the keys
SMALL = st.integers(0, 6).map(n)
MECHANISMS = [
    *(n(1, number, 0, 0) for number in (0x0, 0x1, 0x40, 0x250, 0x1040, 0x1041, 0x1044, 0x1080, 0x108A, 0x2109, 0x210A)),
    *(n(1, number, 0) + b(bytes(16)) for number in (0x1082, 0x1085)),
    n(1, 0x1087, 2) + b(bytes(12)) + b(b"aad") + n(128),
    n(1, 0x9, 4, 0x250, 2, 1) + b(b""),
]
USES = [  # what, by which mechanism, with which key
    ("Digest", n(1, 0x250, 0, 0), None),
    ("Encrypt", n(1, 0x1085, 0) + b(bytes(16)), 0),
    ("Decrypt", n(1, 0x1085, 0) + b(bytes(16)), 0),
    ("Encrypt", n(1, 0x1087, 2) + b(bytes(12)) + b(b"aad") + n(128), 0),
    ("Sign", n(1, 0x108A, 0, 0), 0),
    ("Verify", n(1, 0x108A, 0, 0), 0),
    ("Verify", n(1, 0x1044, 0, 0), 1),
    ("Sign", n(1, 0x1044, 0, 0), 2),
    ("Sign", n(1, 0x1041, 0, 0), 2),
]
TEMPLATES = [
    n(0),
    n(1, 0x161) + b(n(32)),
    n(2, 0x161) + b(n(16)) + n(1) + b(b"\1"),
    n(1, 0x180) + b(bytes.fromhex("06082a8648ce3d030107")),
]
ATTRIBUTES = (0x0, 0x1, 0x3, 0x11, 0x100, 0x102, 0x120, 0x161, 0x162, 0x180, 0x181, 0x40000211)


class World:
    """A cluster, and two applications at it: one that is fuzzed, and one that only works."""

    def __init__(self) -> None:
        self.cluster = HsmCluster(2, seed=1)
        client = self.cluster.client()
        client.generate_key("AES", 256, label=KNOWN.decode())
        client.generate_key_pair("EC", "secp256r1", label=KNOWN.decode())
        token = self.cluster.token("a test")
        self.fuzzed = Application("fuzzed", lambda: {1: token}, {}, lambda called: None)
        self.honest = Application("honest", lambda: {1: token}, {}, lambda called: None)
        self._pin = f"{self.cluster.default_user}:{self.cluster.default_password}".encode()
        self.session = self._begun(self.honest)
        self.begin(initialize=True)

    def begin(self, *, initialize: bool = False) -> None:
        """Leave the fuzzed application with one session, logged in, and the handles of three keys."""
        if not initialize:
            _asked(self.fuzzed, "C_Finalize", n(0))
        self.own = self._begun(self.fuzzed)
        assert _asked(self.fuzzed, "C_FindObjectsInit", n(self.own, 1, 3) + b(KNOWN))[0] == 0
        result, found = _asked(self.fuzzed, "C_FindObjects", n(self.own, 1, 3))
        assert _asked(self.fuzzed, "C_FindObjectsFinal", n(self.own))[0] == result == 0
        self.keys = struct.unpack("<3Q", found[16:])

    def _begun(self, one: Application) -> int:
        assert _asked(one, "C_Initialize", n(0, 0, 0, 0)) == (0, b"")
        result, session = _asked(one, "C_OpenSession", n(1, 6, 0, 0, 1))
        number: int = struct.unpack("<Q", session)[0]
        assert (result, _asked(one, "C_Login", n(number, 1) + b(self._pin))[0]) == (0, 0)
        return number

    def check(self) -> None:
        result, random = _asked(self.honest, "C_GenerateRandom", n(self.session, 8))
        assert result == 0 and len(random) == 16
        assert self.fuzzed.failures == []


def _asked(one: Application, name: str, arguments: bytes) -> tuple[int, bytes]:
    answer = one.answer(struct.pack("<IHH", 1, VERSION, NUMBERS[name]) + arguments)
    return struct.unpack_from("<Q", answer, 8)[0], answer[16:]


@contextmanager
def a_world() -> Iterator[World]:
    """A new one, closed afterwards."""
    made = World()
    try:
        yield made
    finally:
        made.cluster.close()


def _likely(world: World, name: str, kind: str, place: int) -> st.SearchStrategy[bytes]:
    """Return what makes sense here, so that more than the first check is reached."""
    if kind == "ulong" and place == 0:
        return st.just(n(world.own))
    if kind == "ulong" and name != "C_DestroyObject":
        return st.sampled_from(range(3)).map(lambda place: n(world.keys[place]))
    if kind == "mechanism":
        return st.sampled_from(MECHANISMS)
    if kind == "template":
        return st.sampled_from(TEMPLATES)
    if kind == "attributes":
        return st.lists(st.sampled_from(ATTRIBUTES), max_size=4).map(
            lambda kinds: n(len(kinds)) + b"".join(n(kind, 100) for kind in kinds)
        )
    if kind in ("output", "list"):
        return st.sampled_from([n(1, 0), n(2, 1000)])
    return SMALL if kind in ("ulong", "pointer", "number") else st.nothing()


@st.composite
def frames(draw: st.DrawFn, world: World, what: str = "") -> bytes:
    """A frame of the right form, most often one that makes sense.

    Args:
        draw: Hypothesis's.
        world: whose sessions and keys there are.
        what: a part of the function's name.
    """
    names = [one for one in OFFERED if one.name not in LEFT_OUT and what in one.name]
    function: Function = draw(st.sampled_from(names))
    parts = []
    for place, kind in enumerate(function.takes):
        likely, any_at_all = _likely(world, function.name, kind, place), _KINDS[kind].map(lambda pair: pair[1])
        sensible = draw(st.integers(0, 9)) > 0 and not likely.is_empty
        parts.append(draw(likely if sensible else any_at_all))
    return _frame(function.name, b"".join(parts))


def _frame(name: str, arguments: bytes) -> bytes:
    return struct.pack("<IHH", 7, VERSION, NUMBERS[name]) + arguments


@st.composite
def work(draw: st.DrawFn, world: World) -> list[bytes]:
    """Calls: some at random, or the beginning of an operation and what may come behind it."""
    if draw(st.booleans()):
        return [draw(frames(world)) for _ in range(3)]
    what, mechanism, key = draw(st.sampled_from(USES))
    first = _frame(f"C_{what}Init", n(world.own) + mechanism + (b"" if key is None else n(world.keys[key])))
    return [first, *(draw(frames(world, what)) for _ in range(3))]


def any_call(world: World, data: st.DataObject) -> None:
    """Arguments of the right types with any values: an error or not, but no exception of ours."""
    for frame in data.draw(work(world)):
        answer = world.fuzzed.answer(frame)
        assert len(answer) >= 16 and struct.unpack_from("<II", answer) == (7, 0)
    world.check()


def any_bytes(world: World, data: st.DataObject) -> None:
    """A frame that was changed, cut off or made longer, or that is no frame at all."""
    frame = bytearray(data.draw(frames(world) | st.binary(max_size=100)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(frame)))
        frame[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    assert len(world.fuzzed.answer(bytes(frame))) >= 16
    world.check()


def tried(check: Callable[[World, st.DataObject], None], examples: int, number: int | None = None) -> int:
    """Try a check with examples, and return how many there were.

    Args:
        check: `any_call` or `any_bytes`.
        examples: how many at the most.
        number: of the round; None: by chance.
    """
    count = 0

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def trying(data: st.DataObject) -> None:
        nonlocal count
        count += 1
        world.begin()
        check(world, data)

    with a_world() as world:
        (trying if number is None else seed(number)(trying))()
    return count


def main(minutes: float, number: int) -> None:
    """Try both checks in turn, until the time is over.

    Args:
        minutes: of the wall clock.
        number: of the first round.
    """
    done = {any_call: 0, any_bytes: 0}
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        for check in done:
            try:
                done[check] += tried(check, ROUND, number)
            except BaseException:
                print(f"{check.__name__} in round {number}")  # noqa: T201
                raise
        number += 1
    print(*(f"{one.__name__}: {count} examples" for one, count in done.items()), sep=", ")  # noqa: T201


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns())
