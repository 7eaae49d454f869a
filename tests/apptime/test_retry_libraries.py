"""Do applications retry in simulated time as they do in production, with the libraries that they use there?

In each test two of three HSMs are lost, and the application tries to make a key on two of them until the
replacements have joined, half an hour later.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from pytest_hsmcluster import ClusterError, HsmCluster, TooFewCopies

backoff = pytest.importorskip("backoff", reason="pip install backoff")
stamina = pytest.importorskip("stamina", reason="pip install stamina")
tenacity = pytest.importorskip("tenacity", reason="pip install tenacity")

JOIN_S = 1800.0
CAP_S = 300.0
INSTANT = {"wire_ns": 0, "execute_ns": 0, "clone_ns": 0}
"""A call takes no time, so that attempts begin when they are due."""

pytestmark = pytest.mark.usefixtures("app_time")

Attempt = Callable[[], Any]
AsyncAttempt = Callable[[], Awaitable[Any]]


class App:
    """What an application does, and when it tried; seconds since the HSMs were lost."""

    def __init__(self, cluster: HsmCluster) -> None:
        self.client, self.async_client = cluster.client(), cluster.async_client()
        self.cluster, self.tried = cluster, list[float]()
        for hsm in ("hsm-1", "hsm-2"):
            cluster.chaos.replace(hsm)
        self.began = time.monotonic()

    def attempt(self) -> Any:
        self.tried.append(time.monotonic() - self.began)
        return self.client.generate_key("AES", 256, label="kek")

    async def async_attempt(self) -> Any:
        self.tried.append(time.monotonic() - self.began)
        return await self.async_client.generate_key("AES", 256, label="kek")


@pytest.fixture
def app() -> Iterator[App]:
    with HsmCluster(3, seed=7, sdk=3, create_object_minimum_nodes=2, join_active_s=JOIN_S, **INSTANT) as cluster:
        yield App(cluster)


def by_tenacity(limit_s: float, attempt: Attempt) -> Any:
    """Exponential backoff until so many seconds have passed."""
    return tenacity.retry(
        retry=tenacity.retry_if_exception_type(ClusterError),
        wait=tenacity.wait_exponential(max=CAP_S),
        stop=tenacity.stop_after_delay(limit_s),
        reraise=True,
    )(attempt)()


def by_stamina(limit_s: float, attempt: Attempt) -> Any:
    return stamina.retry(
        on=ClusterError, attempts=None, timeout=limit_s, wait_initial=1, wait_max=CAP_S, wait_jitter=0
    )(attempt)()


def by_backoff(limit_s: float, attempt: Attempt) -> Any:
    return backoff.on_exception(
        backoff.expo, ClusterError, max_time=limit_s, max_value=CAP_S, jitter=None, logger=None
    )(attempt)()


LIBRARIES = [by_tenacity, by_stamina, by_backoff]


def doubling(until_s: float) -> list[float]:
    """Return when attempts are made that wait 1 s, 2 s, 4 s, … and at most `CAP_S` after each other."""
    tried = [0.0]
    while tried[-1] < until_s:
        tried.append(tried[-1] + min(CAP_S, 2.0 ** (len(tried) - 1)))
    return tried


@pytest.mark.parametrize("retrying", LIBRARIES)
def test_application_holds_out_for_half_an_hour(app: App, retrying: Callable[[float, Attempt], Any]) -> None:
    """It retries with exponential backoff until the replacements have joined, and then has its key."""
    assert retrying(7200, app.attempt).number
    assert app.tried == pytest.approx(doubling(JOIN_S))
    assert app.cluster.clock.now > JOIN_S
    app.cluster.check.no_lost_keys()


@pytest.mark.parametrize("retrying", LIBRARIES)
def test_coroutine_holds_out_for_half_an_hour(app: App, retrying: Callable[[float, AsyncAttempt], Any]) -> None:
    """The same on an asyncio loop, at the same instants."""

    async def main() -> Any:
        return await retrying(7200, app.async_attempt)

    assert asyncio.run(main()).number
    assert app.tried == pytest.approx(doubling(JOIN_S))
    assert app.cluster.clock.now > JOIN_S


@pytest.mark.parametrize("retrying", LIBRARIES)
@pytest.mark.parametrize("way", ["blocking", "awaited"])
def test_deadline_expires_when_it_should(app: App, retrying: Callable[..., Any], way: str) -> None:
    """After ten minutes each gives up, with the error of the last attempt, at an instant that its manual tells."""

    async def main() -> Any:
        return await retrying(600, app.async_attempt)

    with pytest.raises(TooFewCopies):
        if way == "blocking":
            retrying(600, app.attempt)
        else:
            asyncio.run(main())
    gave_up = time.monotonic() - app.began
    if retrying is by_backoff:  # waits for what is left, and tries once more at the deadline
        assert app.tried == pytest.approx([*doubling(300), 600])
        assert gave_up == pytest.approx(600)
    else:  # tries until an attempt has failed after the deadline; stamina is built on tenacity
        assert app.tried == pytest.approx(doubling(600))
        assert gave_up == pytest.approx(811)


def test_every_attempt_may_have_a_deadline_of_its_own(app: App) -> None:
    """tenacity around `asyncio.timeout`: the attempts hang for ten seconds each."""

    async def hang() -> None:
        app.tried.append(time.monotonic() - app.began)
        async with asyncio.timeout(10):
            await asyncio.Event().wait()

    async def main() -> None:
        await tenacity.retry(wait=tenacity.wait_fixed(50), stop=tenacity.stop_after_attempt(30), reraise=True)(hang)()

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert app.tried == pytest.approx([60.0 * number for number in range(30)])
