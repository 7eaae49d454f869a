"""Where may an operation have been called, and by whom?

This stays beside the journal: no file name, line number or thread ever enters that, or its digest.
"""

from typing import NamedTuple


class Place(NamedTuple):
    """A line that calls the client.

    Attributes:
        path: relative to the root of the project, with `/`.
        line: number of the line, from 1.
        function: its qualified name; a lambda or an inner function counts as what it stands in.
        test: whether the line is a test's own, and not the application's.
    """

    path: str
    line: int
    function: str
    test: bool

    def __str__(self) -> str:
        return f"{self.path}:{self.line} ({self.function})"


OURS = Place("", 0, "", True)
"""The place of what a fixture of this plugin called: nobody's."""


class Site(NamedTuple):
    """One call's place and caller.

    Attributes:
        place: `OURS` for a fixture's call; None when nobody can be named.
        caller: which thread or task it was, a number with no other meaning; None when that cannot be told, as of a
            task that was made for this one call.
        why: what was wrong with the call itself, if it came through the PKCS#11 library and never reached an HSM.
    """

    place: Place | None
    caller: int | None
    why: str = ""


UNKNOWN = Site(None, None)
"""What is known of a call in a history from a file."""
