"""What holds after whatever has happened to a cluster?"""

import contextlib

import pytest

from pytest_hsmcluster import ClusterError, HsmCluster, HsmState, UsageError
from pytest_hsmcluster.history.holdings import Holdings
from pytest_hsmcluster.sim.entropy import Entropy

FAULTS = (
    "crash @ hsm.commit command=insert_masked nth=1",
    "drop @ wire.response command=insert_masked nth=1",
    "drop @ wire.request command=delete_key nth=1",
    "fail CKR_DEVICE_ERROR @ hsm.execute command=delete_key nth=1",
    "corrupt payload @ wire.request command=insert_masked nth=1",
    "delay 30s @ hsm.execute command=insert_masked nth=1",
    "hold @ wire.request command=insert_masked nth=1",
    "delay 70s @ client.clone nth=1",
    "drop @ sync.clone nth=1",
    "delay 20s @ sync.sweep nth=1",
    "destroy source @ client.clone nth=1",
)


class Life:
    """A drawn life of one cluster: applications work, administrators administer, HSMs come and go."""

    def __init__(self, seed, sdk):
        self.dice = Entropy(seed).stream("life")
        minimum = {"create_object_minimum_nodes": 2} if sdk == 3 else {}
        self.cluster = HsmCluster(
            3, sdk=sdk, seed=seed, request_timeout_s=10, availability_budget_s=5, key_capacity=40, **minimum
        )
        self.cluster.create_user("bob", "password1")
        self.clients = [self.cluster.client(name) for name in ("one", "two")]
        self.backups = [self.cluster.backup()]

    def draw(self, options):
        return self.dice.choice(list(options))

    def client(self):
        client = self.draw(self.clients)
        if client.user is None:
            client.login(self.cluster.default_user, self.cluster.default_password)
        return client

    def key(self):
        found = self.client().find_keys()
        return self.draw(found) if found else self.client().generate_key("AES", 256, label="first")

    def hsm(self):
        return self.draw(self.cluster.hsms).id

    def step(self):
        cluster, chaos = self.cluster, self.cluster.chaos
        up = sum(hsm.state is HsmState.UP for hsm in cluster.hsms)
        acts = [
            lambda: self.client().generate_key("AES", 256, label="k"),
            lambda: self.client().generate_key("AES", 256, label="s", token=False),
            lambda: self.client().generate_key_pair("EC", "secp256r1", label="pair"),
            lambda: self.client().delete_key(self.key()),
            lambda: self.client().share_key(self.key(), with_user="bob"),
            lambda: self.client().encrypt(self.key(), b"data"),
            lambda: self.client().logout(),
            lambda: cluster.clock.advance(self.draw((1, 10, 100, 400))),
            cluster.sweep_now,
            lambda: chaos.inject(self.draw(FAULTS), may_miss=True),
            lambda: chaos.undo_all(),
            lambda: chaos.pause(self.hsm()),
            lambda: chaos.throttle(self.hsm()),
            lambda: chaos.partition("one", self.hsm()),
            lambda: chaos.crash(self.hsm()),
            lambda: chaos.restart(self.hsm()),
            lambda: self.backups.append(cluster.backup()),
        ]
        if up > 1 and len(cluster.service.hsms) < 9:
            acts += [
                lambda: chaos.replace(self.hsm()),
                lambda: chaos.replace(self.hsm(), backup=self.draw(self.backups)),
                lambda: cluster.add_hsm("z"),
            ]
        with contextlib.suppress(ClusterError, UsageError):  # refused, failed or unknown: all of it is life
            self.draw(acts)()

    def settle(self):
        """End all trouble, and let the service do its work."""
        self.cluster.chaos.undo_all()
        for hsm in self.cluster.hsms:
            if hsm.state is HsmState.DOWN:
                self.cluster.service.restart(hsm.id)
        self.cluster.clock.advance(500)
        self.cluster.sweep_now()


def check(cluster):
    every = list(cluster.service.hsms.values())
    seen, homes = {}, {}
    for hsm in every:
        assert not set(hsm.keys) & set(hsm.tombstones)
        assert len(hsm.store) <= hsm.store.capacity
        assert hsm.state is not HsmState.LOST or len(hsm.store) == 0
        for handle, key in (*hsm.keys.items(), *hsm.tombstones.items()):
            assert handle == key.handle
            assert seen.setdefault(handle, (key.name, key.mat, key.owner)) == (key.name, key.mat, key.owner)
            if not key.token:
                assert homes.setdefault(handle, hsm.id) == hsm.id
    assert Holdings(cluster.history.records).audit() == tuple(hsm.audit() for hsm in every)


@pytest.mark.parametrize("sdk", [3, 5])
@pytest.mark.parametrize("seed", range(15))
def test_invariants_hold_at_every_step_and_copies_agree_at_the_end(seed, sdk):
    """One handle is one key; session keys stay put; the journal is right; after quiescence all HSMs hold the same."""
    life = Life(seed, sdk)
    with life.cluster as cluster:
        for _ in range(40):
            life.step()
            check(cluster)
        life.settle()
        check(cluster)

        up = [hsm for hsm in cluster.hsms if hsm.state is HsmState.UP]
        assert len(up) == len(cluster.hsms)
        marked = {handle for hsm in up for handle in hsm.tombstones}
        held = [{handle for handle, key in hsm.keys.items() if key.token} - marked for hsm in up]
        full = [hsm for hsm in up if len(hsm.store) >= hsm.store.capacity]
        assert full or all(one == held[0] for one in held)
        assert {"admin", "app_user", "crypto_user"} <= set.intersection(*(set(hsm.users) for hsm in up))
