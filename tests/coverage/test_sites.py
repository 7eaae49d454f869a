"""Is the line found that called an operation?"""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.coverage.sites import ORIGIN_DEPTH, Ground, Place, Sites

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
def watched(tmp_path: Path) -> Callable[..., tuple[HsmCluster, Sites]]:
    """`watched()` is a cluster, and the sites of what is called there."""

    def make(**arguments: Any) -> tuple[HsmCluster, Sites]:
        cluster = HsmCluster(**arguments)
        sites = Sites(Ground(tmp_path), lambda: cluster.last_op)
        cluster.observe(sites)
        return cluster, sites

    return make


@pytest.fixture
def origins() -> Iterator[None]:
    """Python keeps where coroutines were made."""
    before = sys.get_coroutine_origin_tracking_depth()
    sys.set_coroutine_origin_tracking_depth(ORIGIN_DEPTH)
    yield
    sys.set_coroutine_origin_tracking_depth(before)


def called(cluster: HsmCluster, sites: Sites) -> dict[str, Place | None]:
    """Return operation → its last site."""
    names = {event.op: event.name for event in cluster.history.of("invoke")}
    return {names[op]: place for op, place in sites.at.items() if op in names}


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
def test_an_awaited_call_has_the_line_that_made_it(project, watched, origins, function, line):
    """Also where a coroutine is handed to a task, and the loop is all that is on the stack when it begins."""
    app, (cluster, sites) = project("vault.py"), watched()
    client = cluster.async_client("app")
    asyncio.run(getattr(app, function)(client))
    place = called(cluster, sites)["random"]
    assert place is not None
    assert (place.path, place.line, place.function) == ("vault.py", line, function)


def test_calls_that_interleave_keep_their_lines(project, watched, origins):
    """Two coroutines that begin at once and end in turn are not mixed up."""
    app, (cluster, sites) = project("vault.py"), watched()
    client = cluster.async_client("app")

    async def both() -> None:
        await asyncio.gather(app.awaited(client), app.in_a_task(client), app.awaited(client))

    asyncio.run(both())
    names = {event.op: event.name for event in cluster.history.of("invoke")}
    lines = sorted(place.line for op, place in sites.at.items() if place is not None and names.get(op) == "random")
    assert lines == [17, 17, 24]


def test_a_sweep_by_hand_takes_nobodys_number(project, watched):
    """What is no operation of an application leaves no trace at the next one."""
    app, (cluster, sites) = project("vault.py"), watched()
    client = cluster.client("app")
    cluster.sweep_now()
    app.make(client)
    assert called(cluster, sites)["generate_key"] == Place("vault.py", 5, "make", False)


def test_watching_changes_no_journal(project, watched):
    """Equal digests with and without, and no file name in any record."""
    app, (cluster, _) = project("vault.py"), watched(seed=7, keys="seeded")
    other = HsmCluster(seed=7, keys="seeded")
    for one in (cluster, other):
        client = one.client("app")
        with one.chaos.inject("delay 5s @ wire.response op=encrypt"), contextlib.suppress(Exception):
            app.Vault(client).use(app.make(client))
        one.close()
    assert cluster.history.digest() == other.history.digest()
    assert "vault.py" not in str(cluster.history.records)
