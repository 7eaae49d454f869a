"""What is a token: one cluster, as a PKCS#11 application sees it?"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..drivers.turnstile import Turnstile
from ..service.profile import Profile

if TYPE_CHECKING:
    from ..client.sites import Sites
    from .library_client import LibraryClient

LABELS = {3: "cavium", 5: "hsm1"}
"""SDK → label of its token.

Source:
    Issue 7 of awsdocs/aws-cloudhsm-user-guide and issue 18 of crypto11 (SDK 3), issue 421 of mtrojnar/osslsigncode
    (SDK 5): field reports.  That the tokens of several clusters have the same one is a guess.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """One cluster behind the door.

    Attributes:
        cluster: its id.
        test: the test that it belongs to, for people; empty outside of pytest.
        user_pin: `<user>:<password>` of its default crypto user.
        profile: numbers and switches in force.
        client: makes a client: one application process, not logged in.
        random: returns random bytes from where the HSMs have theirs.
        now_ns: the present simulated instant.
        free: keys that still fit on the fullest HSM.
        sites: who called what.
        outlived: is told what an application has kept for too long.
        closed: whether the cluster is closed.
        turnstile: lets one thread at a time into the cluster.
        pass_time: lets so many ns of simulated time pass; None: its clock is real, time passes by itself.
    """

    cluster: str
    test: str
    user_pin: str = field(repr=False)
    profile: Profile
    client: "Callable[[str], LibraryClient]"
    random: Callable[[int], bytes]
    now_ns: Callable[[], int]
    sites: "Sites"
    outlived: Callable[[str], object]
    closed: Callable[[], bool]
    turnstile: Turnstile
    pass_time: Callable[[int], object] | None

    @property
    def label(self) -> str:
        """CK_TOKEN_INFO's label."""
        return LABELS[self.profile.sdk]
