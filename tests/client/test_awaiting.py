"""The awaited client: the same operations, the same outcomes, and calls that interleave."""

import asyncio
import inspect

import pytest

from pytest_hsmcluster import AsyncClient, Client, CounterKdfParams, Kind, RequestTimeout, TooFewCopies, UsageError

OPERATIONS = [name for name, one in vars(Client).items() if inspect.isfunction(one) and not name.startswith("_")]


@pytest.mark.parametrize("name", OPERATIONS)
def test_both_clients_have_the_same_operations(name):
    """Same names, same parameters, same defaults, same results; one is awaited, and its page points to the other."""
    blocking, awaited = getattr(Client, name), getattr(AsyncClient, name)

    assert inspect.signature(blocking) == inspect.signature(awaited)
    assert inspect.iscoroutinefunction(awaited)
    assert awaited.__doc__ == f"See `Client.{name}`."
    assert blocking.__doc__


def test_nothing_is_in_one_client_only():
    """Whatever is public is in both."""
    public = [{name for name in dir(kind) if not name.startswith("_")} for kind in (Client, AsyncClient)]
    assert public[0] == public[1]
    assert len(OPERATIONS) == 20


async def tour(app, call):
    """Walk through every operation; `call` awaits or not."""
    kek = await call(app.generate_key("AES", 256, label="kek"))
    pair = await call(app.generate_key_pair("EC", "P-256", label="signer"))
    dek = await call(app.import_key("AES", bytes(range(16)), label="dek"))
    blob = await call(app.wrap_key(dek, with_key=kek))
    again = await call(app.unwrap_key(blob, with_key=kek, kind="AES", label="dek-2"))
    derived = await call(app.derive_key(kek, CounterKdfParams(label=b"l", context=b"c"), label="derived"))
    box = await call(app.encrypt(dek, b"data", aad=b"a"))
    assert await call(app.decrypt(again, box, aad=b"a")) == b"data"
    signature = await call(app.sign(pair.private, b"data"))
    await call(app.verify(pair.public, b"data", signature))
    assert await call(app.public_key(pair.public))
    assert await call(app.get_attributes(derived))
    await call(app.share_key(kek, with_user="bob"))
    await call(app.unshare_key(kek, with_user="bob"))
    from pytest_hsmcluster import CKA

    await call(app.set_attribute(kek, CKA.LABEL, "renamed"))
    assert len(await call(app.find_keys())) == 6
    await call(app.delete_key(kek))
    assert len(await call(app.random(8))) == 8
    assert app.digest(b"x")
    await call(app.logout())
    await call(app.login("bob", "password-1"))
    app.close()


def test_one_story_under_both_drivers_gives_one_journal(make):
    """Every operation, blocking and awaited: equal digests."""

    async def as_is(value):
        return value

    async def awaited(coroutine):
        return await coroutine

    digests = []
    for kind in (Client, AsyncClient):
        cluster = make(sdk=3, keys="seeded")
        cluster.create_user("bob", "password-1")
        if kind is Client:
            asyncio.run(tour(cluster.client("app"), as_is))
        else:
            asyncio.run(tour(cluster.async_client("app"), awaited))
        cluster.close()
        digests.append(cluster.history.digest())

    assert digests[0] == digests[1]


def test_calls_of_one_loop_interleave(make, holders):
    """Three creates at once take the time of one."""
    cluster = make(sdk=3)
    app = cluster.async_client("app")

    async def story():
        before = cluster.clock.now
        await asyncio.gather(*(app.generate_key("AES", 256, label=f"key {n}") for n in range(3)))
        return cluster.clock.now - before

    assert asyncio.run(story()) < 0.3
    assert all(len(holders(cluster, f"key {n}")) == 3 for n in range(3))


def test_a_second_application_runs_in_the_middle_of_a_create(make):
    """Between two copies another client's call is served."""
    cluster = make(sdk=3)
    app, other = cluster.async_client("app"), cluster.async_client("other")

    async def story():
        await asyncio.gather(app.generate_key("AES", 256), other.random(4))

    asyncio.run(story())
    outcomes = [(event.client, event.name) for event in cluster.history.of(Kind.OK)][2:]
    assert outcomes == [("other", "random"), ("app", "generate_key")]


def test_a_cancelled_call_leaves_its_outcome_unknown(make, holders):
    """Cancelled while the request is on its way: `info`, and the HSM may do it all the same."""
    cluster = make(sdk=3)
    app = cluster.async_client("app")

    async def story():
        with cluster.chaos.inject("hold @ hsm.reply command=generate_key"):
            task = asyncio.ensure_future(app.generate_key("AES", 256, label="kek"))
            ticker = asyncio.ensure_future(app.random(4))
            await ticker
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(story())
    last = cluster.history.last
    assert (last.kind, last.error, last.name) == (Kind.INFO, "Cancelled", "generate_key")
    assert holders(cluster, "kek") == ["hsm-1"]
    assert [finding.label for finding in cluster.check.orphan_keys()] == ["kek"]


def test_errors_are_the_same(make):
    """What the blocking client raises, the awaited one raises."""
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    app = cluster.async_client("app")

    async def story():
        with cluster.chaos.fail_clone(), pytest.raises(TooFewCopies):
            await app.generate_key("AES", 256)
        with cluster.chaos.pause("hsm-2"), pytest.raises(RequestTimeout):
            await app.random(4)
        with pytest.raises(UsageError, match="takes a KeyHandle"):
            await app.sign("kek", b"data")

    asyncio.run(story())


def test_a_client_that_logs_in_itself(make):
    """`login=False` leaves it to the coroutine."""
    cluster = make(sdk=3)
    app = cluster.async_client("app", login=False)

    async def story():
        await app.login(cluster.default_user, cluster.default_password)
        return await app.random(4)

    assert len(asyncio.run(story())) == 4
