"""Is the line found that called an operation?"""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_hsmcluster.client.sites import ORIGIN_DEPTH, Ground, Sites
from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.history.places import UNKNOWN, Place

APPLICATION = """
import asyncio

def make(client):
    return client.generate_key("AES", 256, label="kek")

class Vault:
    def __init__(self, client):
        self.client = client
    def use(self, key):
        return (lambda: self.client.encrypt(
            key,
            b"data",
        ))()

async def awaited(client):
    return await client.random(8)

async def at_once(client):
    return await asyncio.gather(client.random(8), client.random(8))

async def in_a_task(client):
    task = asyncio.create_task(
        client.random(8)
    )
    return await task

def call(what):
    return what()

async def in_a_nursery(client):
    import trio
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.random, 8)
"""


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], ModuleType]:
    """`project(path)` writes the application there and imports it."""

    def write(path: str) -> ModuleType:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(APPLICATION, encoding="utf-8")
        module = ModuleType(file.stem)
        exec(compile(APPLICATION, str(file), "exec"), vars(module))
        return module

    return write


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Callable[..., tuple[HsmCluster, Sites]]]:
    """`watched()` is a cluster, and the sites of what is called there."""
    made: list[HsmCluster] = []

    def make(**arguments: Any) -> tuple[HsmCluster, Sites]:
        cluster = HsmCluster(**arguments)
        cluster.sites.ground = Ground(tmp_path)
        made.append(cluster)
        return cluster, cluster.sites

    yield make
    for cluster in made:
        cluster.close()


def called(cluster: HsmCluster, sites: Sites) -> dict[str, Place | None]:
    """Return operation → its last site."""
    names = {event.op: event.name for event in cluster.history.of("invoke")}
    return {names[op]: place for op, place in sites.places().items()}


def test_the_line_is_the_applications(project, watched):
    """A path from the project's root, the line, the function; a lambda counts as what it stands in."""
    app, (cluster, sites) = project("src/vault.py"), watched()
    client = cluster.client("app")
    key = app.make(client)
    app.Vault(client).use(key)
    places = called(cluster, sites)
    assert places["generate_key"] == Place("src/vault.py", 5, "make", False)
    assert places["encrypt"] == Place("src/vault.py", 11, "Vault.use", False)


def test_a_client_that_an_application_wraps_is_no_site(project, watched):
    """What stands in a folder of tests is passed over as long as an application stands behind it."""
    wrapper, app, (cluster, sites) = project("tests/wrapper.py"), project("vault.py"), watched()
    client = cluster.client("app")
    app.call(partial(wrapper.make, client))
    assert called(cluster, sites)["generate_key"] == Place("vault.py", 29, "call", False)


def test_a_tests_own_call_is_marked(project, watched):
    """Without an application on the stack the site is the test's, and is known to be."""
    for path in ("tests/helpers.py", "test_vault.py", "src/vault_test.py", "conftest.py"):
        test, (cluster, sites) = project(path), watched()
        test.make(cluster.client("app"))
        assert called(cluster, sites)["generate_key"] == Place(path, 5, "make", True)


def test_an_installed_application_is_a_site(project, watched):
    """Without any file of the project, a package that is installed counts."""
    app, (cluster, sites) = project("venv/lib/site-packages/vault/keys.py"), watched()
    app.make(cluster.client("app"))
    place = called(cluster, sites)["generate_key"]
    assert place is not None
    assert (place.path.endswith("vault/keys.py"), place.test) == (True, False)


def test_the_project_comes_before_the_library_that_it_uses(project, watched):
    """A retry library between the application and the client is passed over."""
    library, app = project("venv/lib/site-packages/again.py"), project("vault.py")
    cluster, sites = watched()
    client = cluster.client("app")
    app.call(partial(library.make, client))
    assert called(cluster, sites)["generate_key"] == Place("vault.py", 29, "call", False)


@pytest.mark.parametrize(
    ("function", "line"), [("awaited", 17), ("at_once", 20), ("in_a_task", 24)], ids=["awaited", "gathered", "task"]
)
def test_an_awaited_call_has_the_line_that_made_it(project, watched, function, line):
    """Also where a coroutine is handed to a task, and the loop is all that is on the stack when it begins."""
    app, (cluster, sites) = project("vault.py"), watched()
    client = cluster.async_client("app")
    asyncio.run(getattr(app, function)(client))
    place = called(cluster, sites)["random"]
    assert place is not None
    assert (place.path, place.line, place.function) == ("vault.py", line, function)


@pytest.mark.parametrize(("function", "line"), [("awaited", 17), ("in_a_nursery", 34)])
def test_a_call_under_trio_has_the_line_that_made_it(project, watched, function, line):
    """Also where a nursery is handed the client's own method."""
    trio = pytest.importorskip("trio", reason="trio is not installed: pip install 'pytest-hsmcluster[test]'")
    app, (cluster, sites) = project("vault.py"), watched()
    client = cluster.async_client("app")
    trio.run(getattr(app, function), client)
    assert called(cluster, sites)["random"] == Place("vault.py", line, function, False)


def test_calls_that_interleave_keep_their_lines(project, watched):
    """Two coroutines that begin at once and end in turn are not mixed up."""
    app, (cluster, sites) = project("vault.py"), watched()
    client = cluster.async_client("app")

    async def both() -> None:
        await asyncio.gather(app.awaited(client), app.in_a_task(client), app.awaited(client))

    asyncio.run(both())
    names = {event.op: event.name for event in cluster.history.of("invoke")}
    lines = sorted(
        place.line for op, place in sites.places().items() if place is not None and names.get(op) == "random"
    )
    assert lines == [17, 17, 24]


def test_a_sweep_by_hand_takes_nobodys_number(project, watched):
    """What is no operation of an application leaves no trace at the next one."""
    app, (cluster, sites) = project("vault.py"), watched()
    client = cluster.client("app")
    cluster.sweep_now()
    app.make(client)
    assert called(cluster, sites)["generate_key"] == Place("vault.py", 5, "make", False)


def test_no_journal_knows_of_sites(project, watched, tmp_path):
    """Called from elsewhere a story has an equal digest, and no file name is in any record."""
    here, there = project("vault.py"), project("src/deeper/vault.py")
    digests = []
    for app in (here, there):
        cluster, _ = watched(seed=7, keys="seeded")
        client = cluster.client("app")
        with cluster.chaos.inject("delay 5s @ wire.response op=encrypt"), contextlib.suppress(Exception):
            app.Vault(client).use(app.make(client))
        cluster.close()
        digests.append(cluster.history.digest())
        assert "vault.py" not in str(cluster.history.records)
    assert digests[0] == digests[1]


def test_callers_are_told_apart(project, watched):
    """Each thread and each task has a number; a task that was made for one call has none."""
    app, (cluster, sites) = project("vault.py"), watched()
    blocking, awaited = cluster.client("app"), cluster.async_client("app")
    app.make(blocking)
    thread = threading.Thread(target=app.make, args=(blocking,))
    thread.start()
    thread.join()

    async def twice() -> None:
        await app.awaited(awaited)
        await app.awaited(awaited)

    async def all_three() -> None:
        await asyncio.gather(twice(), app.awaited(awaited))
        await app.in_a_task(awaited)

    asyncio.run(all_three())
    callers: dict[str, list[int | None]] = {}
    for event in cluster.history.of("invoke"):
        callers.setdefault(event.name, []).append(sites(event.op).caller)
    first, second = callers["generate_key"]
    assert None not in (first, second)
    assert first != second
    one, other, again, alone = callers["random"]
    assert None not in (one, other)
    assert (again, alone) == (one, None)
    assert len({first, second, one, other}) == 4


def test_without_pytest_paths_are_relative_to_the_current_directory(project, tmp_path, monkeypatch):
    """A cluster that nobody told of a project."""
    monkeypatch.chdir(tmp_path)
    app = project("src/vault.py")
    with HsmCluster() as cluster:
        app.make(cluster.client("app"))
        assert called(cluster, cluster.sites)["generate_key"] == Place("src/vault.py", 5, "make", False)


def test_of_a_call_that_never_was_nothing_is_known(watched):
    assert watched()[1](99) == UNKNOWN


def test_python_keeps_origins_no_longer_than_a_cluster_with_a_client_that_awaits(watched):
    """The first that needs them turns them on, and off with its end; another depth is left alone."""
    before = sys.get_coroutine_origin_tracking_depth()
    cluster, _ = watched()
    cluster.client("app")
    assert sys.get_coroutine_origin_tracking_depth() == before
    cluster.async_client("app")
    assert sys.get_coroutine_origin_tracking_depth() == ORIGIN_DEPTH
    cluster.close()
    assert sys.get_coroutine_origin_tracking_depth() == before
