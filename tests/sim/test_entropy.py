"""Are the dice fair, independent, and the same tomorrow?"""

import hashlib

import pytest

from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.sim.entropy import Entropy, derive_seed


def test_stream_is_sha256_in_counter_mode():
    """Known bytes: a new Python or a new version of ours must draw the same."""
    stream = Entropy(7).stream("keys")
    assert stream(4).hex() == hashlib.sha256(b"7/keys/" + bytes(8)).digest()[:4].hex() == "c4cdbfcd"
    assert (
        stream(40).hex()
        == (
            hashlib.sha256(b"7/keys/" + bytes(8)).digest()[4:]
            + hashlib.sha256(b"7/keys/" + bytes(7) + b"\x01").digest()[:12]
        ).hex()
    )


def test_stream_is_one_sequence_however_it_is_cut():
    whole, cut = Entropy(1).stream("s"), Entropy(1).stream("s")
    assert whole(100) == b"".join(cut(size) for size in (1, 0, 31, 32, 33, 3))


def test_streams_do_not_shift_each_other():
    """One more fault draws from a stream of its own."""
    quiet, busy = Entropy(1), Entropy(1)
    busy.stream("other")(1000)
    assert quiet.stream("mine")(32) == busy.stream("mine")(32)


def test_names_and_seeds_make_other_streams():
    drawn = {Entropy(seed).stream(name)(16) for seed in (0, 1, 11, -1) for name in ("a", "b", "1/a", "")}
    assert len(drawn) == 16


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 255, 256, 257, 1000, 1 << 64])
def test_below_stays_below(limit):
    stream = Entropy(3).stream(f"below {limit}")
    drawn = [stream.below(limit) for _ in range(300)]
    assert min(drawn) >= 0
    assert max(drawn) < limit


def test_below_gives_each_number_its_share():
    """Chi-squared over 10 numbers and 5,000 seeded draws stays under the 99.9 % bound for 9 degrees of freedom."""
    stream = Entropy(3).stream("shares")
    counts = [0] * 10
    for _ in range(5_000):
        counts[stream.below(10)] += 1
    assert sum((count - 500) ** 2 / 500 for count in counts) < 27.9


def test_below_has_no_bias_at_the_edge_of_a_byte():
    """Of 200 numbers in one byte, the 56 that are left over are drawn again, not folded back."""
    stream = Entropy(5).stream("edge")
    low = sum(stream.below(200) < 56 for _ in range(5_000))
    assert abs(low / 5_000 - 56 / 200) < 0.02


@pytest.mark.parametrize("limit", [0, -1])
def test_below_refuses_an_empty_range(limit):
    with pytest.raises(UsageError, match="nothing to draw from"):
        Entropy(0).stream("s").below(limit)


@pytest.mark.parametrize("probability", [0.001, 0.1, 0.5, 0.9])
def test_chance_comes_as_often_as_it_says(probability):
    stream = Entropy(9).stream(f"chance {probability}")
    hits = sum(stream.chance(probability) for _ in range(10_000))
    assert abs(hits / 10_000 - probability) < 0.015


def test_certain_and_impossible_are_what_they_say():
    stream = Entropy(9).stream("edges")
    assert all(stream.chance(1.0) for _ in range(100))
    assert not any(stream.chance(0.0) for _ in range(100))


def test_choice_gives_one_of_the_options():
    stream = Entropy(2).stream("choice")
    assert [stream.choice("abc") for _ in range(12)] == _again("abc", 12)
    assert set(_again("abc", 50)) == {"a", "b", "c"}


def _again(options, count):
    stream = Entropy(2).stream("choice")
    return [stream.choice(options) for _ in range(count)]


def test_derived_seed_is_fixed_by_base_identity_and_stream():
    """64 bits of SHA-256; a replay on another machine has the same."""
    assert derive_seed(7, "tests/test_vault.py::test_rotation") == int.from_bytes(
        hashlib.sha256(b"7\0tests/test_vault.py::test_rotation\0test").digest()[:8]
    )
    assert len({derive_seed(b, i, s) for b in (0, 1) for i in ("a", "b") for s in ("test", "faker")}) == 8
