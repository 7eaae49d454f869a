"""How do coroutines wait for each other?

Each Python takes other numbers of turns of its loop for the same words of asyncio; the journal must not follow them.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from pytest_hsmcluster.client.awaiting import AsyncClient
from pytest_hsmcluster.client.handles import KeyHandle
from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.errors import ClusterError
from tests.stories import Telling

Call = Callable[[], Coroutine[Any, Any, Any]]

PATIENCE_S = 600
"""Real seconds, which never pass."""


async def _wait(call: Call) -> None:
    done, _ = await asyncio.wait([asyncio.ensure_future(call())])
    for each in done:
        each.result()


async def _timeout(call: Call) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await call()


async def _group(call: Call) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(call())


async def _as_completed(call: Call) -> None:
    for each in asyncio.as_completed([call()]):
        await each


async def _through_a_queue(call: Call) -> None:
    queue: asyncio.Queue[None] = asyncio.Queue(1)

    async def ask() -> None:
        await call()
        await queue.put(None)

    await asyncio.gather(ask(), queue.get())


WAYS: tuple[Callable[[Call], Awaitable[Any]], ...] = (
    lambda call: call(),
    lambda call: asyncio.wait_for(call(), PATIENCE_S),
    lambda call: asyncio.shield(call()),
    lambda call: asyncio.gather(call(), call()),
    _wait,
    _timeout,
    _group,
    _as_completed,
    _through_a_queue,
)
"""To wait for a call."""

CALLS: tuple[Callable[[AsyncClient, KeyHandle], Coroutine[Any, Any, Any]], ...] = (
    lambda client, key: client.random(8),
    lambda client, key: client.find_keys(label="kek"),
    lambda client, key: client.generate_key("AES", 256, label="kek"),
    lambda client, key: client.encrypt(key, b"data"),
    lambda client, key: client.share_key(key, with_user="bob"),
)


def in_all_ways(number: int) -> Telling:
    """Let three clients at once call in ways that the number's dice choose."""
    dice = random.Random(number)
    plans = [[(dice.choice(WAYS), dice.choice(CALLS)) for _ in range(6)] for _ in range(3)]

    async def act(client: AsyncClient, key: KeyHandle, plan: list[Any]) -> None:
        for wait, call in plan:
            with suppress(ClusterError, ExceptionGroup):
                await wait(partial(call, client, key))

    async def main(cluster: HsmCluster, key: KeyHandle) -> None:
        clients = [cluster.async_client(f"app-{index}") for index in range(3)]
        await asyncio.gather(*(act(client, key, plan) for client, plan in zip(clients, plans, strict=True)))

    with HsmCluster(3, sdk=3, seed=number) as cluster:
        cluster.create_user("bob", "password")
        key = cluster.client("app").generate_key("AES", 256, label="kek")
        with cluster.chaos.inject("drop @ wire.response command=generate_key nth=2", may_miss=True):
            asyncio.run(main(cluster, key))
    return Telling([], list(cluster.history.records), cluster.history.digest())
