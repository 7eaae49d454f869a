"""What does the hardened vault promise, in terms of pytest-hsmcluster's checks?"""

import pytest

CHECKS = (
    "durable",
    "no_lost_keys",
    "no_orphan_keys",
    "no_resurrected_keys",
    "misses_retried",
    "no_duplicate_labels",
    "in_sync",
    "no_undecryptable_data",
)

SDK3 = pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2)
SDK5 = pytest.mark.hsm_cluster(sdk=5)
"""How the vault is deployed: the part of its hardening that is no code."""
