"""What do we keep with pytest's own objects?"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .tally import Tally
    from .trial import Trial

TRIAL: "pytest.StashKey[Trial]" = pytest.StashKey()
"""With an item: what it has of ours while it runs."""
TALLY: "pytest.StashKey[Tally]" = pytest.StashKey()
"""With the configuration: how much of us this process used; nothing as long as no test wanted a cluster."""
