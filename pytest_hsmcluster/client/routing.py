"""Which HSM does the next call go to?

The service's clients balance calls over all connected HSMs (AWS CloudHSM User Guide,
"Clusters"); how exactly is not published.
"""

from collections.abc import Mapping, Sequence

from ..service.hsm import Hsm
from ..service.profile import Profile
from ..sim.entropy import Stream


class Router:
    """Picks one HSM among those that a client believes up.

    `round_robin` goes through them in order, `random` draws from a seeded stream,
    `least_busy` takes the one with the fewest requests under way (the first of equals),
    `pinned` always the same one while it is up.
    """

    def __init__(self, profile: Profile, hsms: Mapping[str, Hsm], dice: Stream, detours: list[list[str]]) -> None:
        self._profile = profile
        self._hsms = hsms
        self._dice = dice
        self._detours = detours
        self._turn = 0

    def pick(self, candidates: Sequence[str]) -> str:
        """Return one of the candidates, or the HSM that a test sends the call to, even if it is none of them."""
        while self._detours:
            if self._detours[0]:
                return self._detours[0].pop()
            del self._detours[0]
        rule = self._profile.routing
        if rule == "round_robin":
            self._turn += 1
            return candidates[(self._turn - 1) % len(candidates)]
        if rule == "random":
            return self._dice.choice(candidates)
        if rule == "least_busy":
            return min(candidates, key=lambda hsm: len(self._hsms[hsm].inflight))
        pinned = self._profile.pinned_to
        return pinned if pinned is not None and pinned in candidates else candidates[0]
