"""`light` keeps its largest promise: a correct application that tries again comes through."""

from contextlib import closing
from pathlib import Path

import pytest

from examples.document_vault import HardenedVault, Store
from pytest_hsmcluster import HsmCluster
from pytest_hsmcluster.background.reading import read_budget
from pytest_hsmcluster.background.storm import Shape, draw_storm

SDK3 = {"sdk": 3, "create_object_minimum_nodes": 2}
SDK5 = {"sdk": 5}


@pytest.mark.parametrize("arguments", [SDK3, SDK5], ids=["SDK 3", "SDK 5"])
def test_a_hardened_application_comes_through_light(arguments):
    """Documents are stored, their key is rotated, all of them can be read, and nothing is left over."""
    light, struck = read_budget("light", Path()), 0
    for seed in range(40):
        with HsmCluster(3, seed=seed, **arguments) as cluster, closing(Store()) as store:
            vault = HardenedVault(cluster.client("app"), store, sleep=cluster.clock.advance)
            storm = draw_storm(light, Shape.of(cluster), seed)
            for spec in storm:
                cluster.chaos.allow_miss(cluster.chaos.install(spec))
            vault.start()
            documents = {f"contract {number}": bytes([number]) * 100 for number in range(5)}
            for name, document in documents.items():
                vault.put(name, document)
            vault.rotate()
            assert {name: vault.get(name) for name in documents} == documents, storm
            cluster.clock.advance(200)
            vault.maintain()
            cluster.clock.advance(200)
            for check in ("no_lost_keys", "no_orphan_keys", "no_duplicate_labels", "no_undecryptable_data", "in_sync"):
                cluster.check.run(check)
            struck += len(cluster.chaos.struck)
    assert struck > 40
