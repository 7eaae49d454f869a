"""Are drawn stories the same on both networks?"""

import pytest

from tests.processes.many_parities import parity_of


@pytest.mark.parametrize("seed", range(20))
def test_drawn_stories_are_alike(seed):
    """Thirty steps of calls, faults and hardships; `python -m tests.processes.many_parities 200` plays more."""
    found = parity_of(seed)

    assert not found, "\n".join(found)
