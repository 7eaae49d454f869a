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
from tests.wire.test_frames import _KINDS, OFFERED

ROUND = 500
NUMBERS = {function.name: function.number for function in FUNCTIONS}
SMALL = st.integers(0, 6).map(lambda number: (number, struct.pack("<Q", number)))
MECHANISMS = (0x0, 0x1, 0x9, 0xD, 0x40, 0x250, 0x251, 0x350, 0x1040, 0x1041, 0x1050, 0x1054, 0x1080, 0x1082, 0x1085,
              0x1086, 0x1087, 0x80001087, 0x80000001, 0x3AC, 0x2109, 0x210A)  # fmt: skip


class World:
    """A cluster, and two applications at it: one that is fuzzed, and one that only works."""

    def __init__(self) -> None:
        self.cluster = HsmCluster(2, seed=1)
        token = self.cluster.token("a test")
        self.fuzzed = Application("fuzzed", lambda: {1: token}, {}, lambda called: None)
        self.honest = Application("honest", lambda: {1: token}, {}, lambda called: None)
        for one in (self.fuzzed, self.honest):
            assert _asked(one, "C_Initialize", 0, 0, 0, 0) == (0, b"")
        self.session = struct.unpack("<Q", _asked(self.honest, "C_OpenSession", 1, 6, 0, 0, 1)[1])[0]
        pin = f"{self.cluster.default_user}:{self.cluster.default_password}".encode()
        for one in (self.fuzzed, self.honest):
            number = struct.unpack("<Q", _asked(one, "C_OpenSession", 1, 6, 0, 0, 1)[1])[0]
            assert _asked(one, "C_Login", number, 1, len(pin), more=pin)[0] == 0
            if one is self.fuzzed:
                self.own = number

    def check(self) -> None:
        result, random = _asked(self.honest, "C_GenerateRandom", self.session, 8)
        assert result == 0 and len(random) == 16
        assert self.fuzzed.failures == []


def _asked(one: Application, name: str, *numbers: int, more: bytes = b"") -> tuple[int, bytes]:
    head = struct.pack("<IHH", 1, VERSION, NUMBERS[name])
    answer = one.answer(head + struct.pack(f"<{len(numbers)}Q", *numbers) + more)
    return struct.unpack_from("<Q", answer, 8)[0], answer[16:]


@contextmanager
def a_world() -> Iterator[World]:
    """A new one, closed afterwards."""
    made = World()
    try:
        yield made
    finally:
        made.cluster.close()


@st.composite
def frames(draw: st.DrawFn, own: int) -> bytes:
    """A frame of the right form, most often about a session that there is, by a mechanism that there is."""
    function: Function = draw(st.sampled_from([one for one in OFFERED if one.name not in ("C_Finalize", "C_Logout")]))
    parts = []
    for place, kind in enumerate(function.takes):
        _, raw = draw(SMALL | _KINDS[kind] if kind in ("ulong", "pointer", "number") else _KINDS[kind])
        if kind == "ulong" and place == 0 and draw(st.integers(0, 9)):
            raw = struct.pack("<Q", own)
        if kind == "mechanism" and len(raw) > 16 and draw(st.integers(0, 9)):
            raw = raw[:8] + struct.pack("<Q", draw(st.sampled_from(MECHANISMS))) + raw[16:]
        parts.append(raw)
    return struct.pack("<IHH", 7, VERSION, function.number) + b"".join(parts)


def any_call(world: World, data: st.DataObject) -> None:
    """Arguments of the right types with any values: an error or not, but no exception of ours."""
    sent = [data.draw(frames(world.own)) for _ in range(3)]
    for frame in sent:
        answer = world.fuzzed.answer(frame)
        assert len(answer) >= 16 and struct.unpack_from("<II", answer) == (7, 0)
    world.check()


def any_bytes(world: World, data: st.DataObject) -> None:
    """A frame that was changed, cut off or made longer, or that is no frame at all."""
    frame = bytearray(data.draw(frames(world.own) | st.binary(max_size=100)))
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
