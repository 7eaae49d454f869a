"""How does a test say that a check must find exactly this?"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def finding(pattern: str) -> Iterator[None]:
    """Let an AssertionError through that says this; anything else fails the test, also one that is expected to fail.

    `xfail(strict=True, raises=AssertionError)` alone would be content with any AssertionError, about whatever.
    """
    __tracebackhide__ = True
    try:
        yield
    except AssertionError as error:
        if re.search(pattern, str(error)) is None:
            # pytest.fail() raises no AssertionError, so xfail does not swallow it.
            pytest.fail(f"the check should have found {pattern!r}; it says: {error}")
        raise
