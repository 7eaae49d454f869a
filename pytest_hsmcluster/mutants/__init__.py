"""Which deliberately wrong clusters are there to try assertions on?"""

from collections.abc import Mapping
from types import MappingProxyType

from .access import ACCESS
from .answering import ANSWERING
from .copying import COPYING
from .creating import CREATING
from .deleting import DELETING
from .membership import MEMBERSHIP
from .mutant import Infection as Infection
from .mutant import Mutant as Mutant
from .mutant import words_of as words_of

MUTANTS: Mapping[str, Mutant] = MappingProxyType(
    {mutant.name: mutant for mutant in (*COPYING, *CREATING, *DELETING, *ANSWERING, *ACCESS, *MEMBERSHIP)}
)
"""Mutants by name, in the order in which they are tried and listed."""
