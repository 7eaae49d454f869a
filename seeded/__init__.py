"""Do the examples' sweeps and the campaign notice mistakes of ours?  `python -m seeded` tries them one at a time."""

from .in_checks import IN_CHECKS
from .in_client import IN_CLIENT
from .in_core import IN_CORE
from .in_service import IN_SERVICE

MISTAKES = (*IN_CLIENT, *IN_SERVICE, *IN_CHECKS, *IN_CORE)
"""All mistakes, in the order in which they are tried."""
