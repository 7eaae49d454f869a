"""Whatever frame comes, Python answers with a frame; and others go on working.  `make fuzz` goes on for longer."""

from tests.pkcs11.fuzz.python_end import any_bytes, any_call, tried


def test_any_call_is_answered() -> None:
    """Arguments of the right types with any values: an error or not, but no exception of ours."""
    assert tried(any_call, examples=200) >= 200


def test_any_bytes_are_answered() -> None:
    """A frame that was changed, cut off or made longer, or that is no frame at all."""
    assert tried(any_bytes, examples=200) >= 200
