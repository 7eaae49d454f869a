"""A document vault: documents are encrypted under data keys, and these under a key in an HSM cluster.

`NaiveVault` works until an HSM fails.  `HardenedVault` keeps its promises when one does.
"""

from .hardened import HardenedVault as HardenedVault
from .hsm import VaultUnavailable as VaultUnavailable
from .naive import NaiveVault as NaiveVault
from .store import Store as Store
