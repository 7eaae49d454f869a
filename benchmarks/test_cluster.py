"""What does the emulation itself cost?"""

from typing import Any

import pytest

from pytest_hsmcluster import HsmCluster


@pytest.mark.benchmark(group="3-HSM cluster up and down")
def test_cluster_up_and_down(benchmark: Any) -> None:
    """Budget: 150 µs."""
    benchmark(lambda: HsmCluster(3, seed=1).close())


@pytest.mark.benchmark(group="a day: 3 HSMs, a sweep a minute, 10,000 calls")
@pytest.mark.parametrize("calls", [10_000])
def test_day_of_simulated_life(benchmark: Any, calls: int) -> None:
    """Budget: 2 s."""

    def day() -> HsmCluster:
        with HsmCluster(3, seed=1, sweep_period_s=60) as cluster:
            app = cluster.client("app")
            key = app.generate_key("AES", 256, label="kek")
            for _ in range(calls):
                cluster.clock.advance(86_400 / calls)
                app.encrypt(key, b"record")
        return cluster

    cluster = benchmark.pedantic(day, rounds=5, warmup_rounds=1)
    assert cluster.service.sweep.rounds >= 1_439


@pytest.mark.benchmark(group="a sweep that has nothing to do, by keys that exist")
@pytest.mark.parametrize("keys", [10, 1_000])
def test_idle_sweep(benchmark: Any, keys: int) -> None:
    """A round costs what changed, so both take the same."""
    with HsmCluster(3, seed=1) as cluster:
        app = cluster.client("app")
        for _ in range(keys):
            app.generate_key("AES", 256)
        cluster.sweep_now()
        benchmark(cluster.sweep_now)


@pytest.mark.benchmark(group="a sweep of 100 new keys, by keys that exist")
@pytest.mark.parametrize("keys", [10, 1_000])
def test_busy_sweep(benchmark: Any, keys: int) -> None:
    """Each key goes to one HSM by the sweep; what was there before costs nothing."""

    def prepare() -> tuple[tuple[HsmCluster], dict[str, Any]]:
        cluster = HsmCluster(3, seed=1, sweep=False, routing="pinned", pinned_to="hsm-1")
        app = cluster.client("app")
        for _ in range(keys):
            app.generate_key("AES", 256)
        cluster.sweep_now()
        with cluster.chaos.fail_clone("hsm-3"):
            for _ in range(100):
                app.generate_key("AES", 256)
        return (cluster,), {}

    copied = benchmark.pedantic(lambda cluster: cluster.sweep_now(), setup=prepare, rounds=20)
    assert copied == 100


@pytest.mark.benchmark(group="an order for 10,000 calls on 100 keys")
def test_linearizable(benchmark: Any) -> None:
    """Goal: 1 s."""
    with HsmCluster(3, seed=1) as cluster:
        apps = [cluster.client(f"app-{number}") for number in range(4)]
        keys = [apps[number % 4].generate_key("AES", 256, label=f"key {number}") for number in range(100)]
        for number in range(9_900):
            app = apps[number % 4]
            if number % 10 == 0:
                app.find_keys(label=f"key {number % 100}")
            else:
                app.encrypt(keys[number % 100], b"record")
        cluster.check.no_lost_keys()  # reads the history, as every test does at its end
        told = benchmark(cluster.check.linearizability)
        assert (told.verdict, told.explored) == ("linearizable", 200)
