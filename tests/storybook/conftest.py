"""Fixtures of these tests."""

from tests.pasting import pasted as pasted
