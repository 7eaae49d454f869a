"""What can befall a cluster, step by step?

A step is a verb with three small numbers: whatever the numbers are, it means something, so a story
can be drawn, shrunk and written down.  `tests/stories.py` tells stories that are made of these.
"""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from pytest_hsmcluster.client.handles import KeyHandle
from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.cryptoki import CKA
from pytest_hsmcluster.errors import ClusterError, UsageError
from pytest_hsmcluster.faults.injector import Injection
from pytest_hsmcluster.faults.points import Point
from pytest_hsmcluster.hardships import Hardship
from pytest_hsmcluster.keys.mechanisms import CounterKdfParams

Step = tuple[str, int, int, int]

SHAPES: tuple[dict[str, Any], ...] = (
    {"hsms": 3, "sdk": 3, "create_object_minimum_nodes": 2},
    {"hsms": 3, "sdk": 5},
    {"hsms": 2, "sdk": 3},
    {"hsms": 3, "sdk": 3, "create_object_minimum_nodes": 2, "create_returns": "enough", "routing": "random"},
    {"hsms": 4, "sdk": 5, "routing": "least_busy", "retry_mode": "off", "sweep_period_s": 5},
    {"hsms": 3, "sdk": 5, "crash_peer": "silence", "sdk5_cleans_up": False, "request_timeout_s": 2},
    {"hsms": 1, "sdk": 3, "sweep": False},
    {"hsms": 3, "sdk": 3, "sweep_remembers_deletes": True, "routing": "pinned", "queue_limit": 1},
)
"""Clusters that a story may be about."""

SECONDS = (0, 0.0005, 0.001, 0.0015, 0.002, 0.0825, 1, 3, 19.998, 20, 59.999, 60, 100, 400)
"""How far a test lets time go: among them the instants at which things fall together."""

DELAYS = ("0s", "500us", "1ms", "1.5ms", "2ms", "80ms", "3s", "19.998s", "20s", "30s", "60s")
ARGUMENTS = {
    "delay": DELAYS,
    "fail": ("CKR_DEVICE_ERROR", "0xBB", "KeyNotOnHsm"),
    "crash": ("", "hsm-1", "hsm-2", "source", "here"),
    "destroy": ("", "hsm-2", "source", "here"),
    "pause": ("", "hsm-1", "source", "here"),
    "fill-disk": ("", "hsm-2", "source", "here"),
    "corrupt": ("", "payload"),
}
CONDITIONS = (
    *("nth=1", "", "nth=2", "nth=1 per=op", "nth=2 per=hsm", "nth=3 per=client", "chance=0.5", "during=1s..90s"),
    *("command=insert_masked", "command=sign nth=1", "command=delete_key", "command=login", "command=check_key nth=1"),
    *("op=generate_key nth=1", "op=generate_key_pair", "op=delete_key nth=2", "hsm=hsm-1", "hsm=hsm-2 nth=1"),
    *("client=app-1", "user=crypto_user nth=4", "key=label-1", "key=key-1 nth=2", "nth=1 per=key"),
)
STRIKES = tuple((effect, point) for point in Point for effect in point.effects)
"""Every effect at every point that takes it."""


def fault(b: int, c: int) -> str:
    """Return the spec of a fault; one that could never act is refused when it is installed."""
    effect, point = STRIKES[b % len(STRIKES)]
    arguments = ARGUMENTS.get(effect, ("",))
    condition = CONDITIONS[c // len(arguments) % len(CONDITIONS)]
    return f"{effect} {arguments[c % len(arguments)]} @ {point} {condition}"


HARDSHIPS = (
    *("kill-mid-create", "kill-mid-create after_copies=2", "delay-sync 30s", "stall-sync", "fail-clone"),
    *("fail-clone hsm-2", "fail-cleanup", "fail-cleanup hsm-1", "lost-ack op=sign", "lost-ack op=delete_key"),
    *("partition a=app-1 b=hsm-1", "partition a=app-1 b=hsm-2 direction=one-way", "partition a=hsm-1 b=hsm-2"),
    *("partition a=hsm-1 b=app-2 direction=one-way", "gray-failure hsm-1", "gray-failure hsm-2", "throttled hsm-1"),
    *("failed-ack op=generate_key", "glitch op=sign", "full-sessions hsm-1", "joining-hsm b"),
    *(
        "throttled hsm-2",
        "full-hsm hsm-2",
        "full-disk hsm-2",
        "az-outage a",
        "rolling-restart",
        "rolling-restart down_s=1 gap_s=0",
    ),
    *("flapping hsm-1", "flapping hsm-2 up_s=1.0005 down_s=0.5", "user-drift hsm=hsm-2 user=bob"),
    *("crashed-hsm hsm-1", "crashed-hsm hsm-2", "destroyed-hsm hsm-2", "routed-to hsm-2 next=3", "replaced-hsm hsm-1"),
)
"""Every scenario, with arguments."""


@dataclass
class Actor:
    """One application: its client, and a second one after the first has died."""

    client: Any
    open_again: Callable[[], Any]

    async def call(self, name: str, *args: Any, **options: Any) -> Any:
        if not self.client.alive:
            self.client = self.open_again()
        result = getattr(self.client, name)(*args, **options)
        return await result if isinstance(result, Coroutine) else result


@dataclass
class Stage:
    """What the steps of a story work on."""

    cluster: HsmCluster
    actors: list[Actor]
    keys: list[KeyHandle]
    blobs: list[tuple[bytes, KeyHandle]] = field(default_factory=list)
    boxes: list[tuple[bytes, KeyHandle]] = field(default_factory=list)
    trouble: list[Injection | Hardship] = field(default_factory=list)
    outcomes: list[tuple[Any, ...]] = field(default_factory=list)

    def key(self, number: int) -> KeyHandle:
        return self.keys[number % len(self.keys)]

    async def act(self, index: int, step: Step) -> None:
        """Perform one step and note what came of it; what is neither the cluster's answer nor a refusal is raised."""
        verb, a, b, c = step
        try:
            result = await VERBS[verb](self, self.actors[a % len(self.actors)], b, c)
        except (ClusterError, UsageError) as error:
            told = (getattr(error, "outcome", ""), int(getattr(error, "ckr", 0)), getattr(error, "hsm", None))
            self.outcomes.append((index, verb, type(error).__name__, *told, str(error)))
        else:
            self.outcomes.append((index, verb, result))


# -- what applications do ---------------------------------------------------------------


async def _create(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    options = {"label": f"label-{c % 3}", "token": c % 5 != 4}
    if b % 4 == 3:
        pair = await actor.call("generate_key_pair", "EC", "P-256", **options)
        stage.keys += [pair.private, pair.public]
        return pair.private.number, pair.public.number
    if b % 4 == 2:
        key = await actor.call("import_key", "AES", bytes([c % 3]) * 32, **options)
    elif b % 4 == 1 and stage.cluster.profile.sdk == 3:
        key = await actor.call("generate_key", "AES", 128, min_srv=1 + c % 2, timeout_s=(0, 0.002, 0.09, 5)[c % 4])
    else:
        key = await actor.call("generate_key", "AES", 256, **options)
    stage.keys.append(key)
    return key.number


async def _sign(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    key = stage.key(b)
    signature = await actor.call("sign", key, b"data")
    if c % 2:
        await actor.call("verify", key, b"data", signature)
    return len(signature)


async def _encrypt(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    if c % 3 == 0 and stage.boxes:
        box, key = stage.boxes[b % len(stage.boxes)]
        return await actor.call("decrypt", key, box)
    box = await actor.call("encrypt", stage.key(b), b"plaintext")
    stage.boxes.append((box, stage.key(b)))
    return len(box)


async def _wrap(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    if c % 2 and stage.blobs:
        blob, kek = stage.blobs[b % len(stage.blobs)]
        key = await actor.call("unwrap_key", blob, with_key=kek, kind="AES", label="unwrapped")
        stage.keys.append(key)
        return key.number
    if c % 8 == 6:
        params = CounterKdfParams(label=b"l", context=b"c")
        key = await actor.call("derive_key", stage.key(b), params, bits=128, label="derived")
        stage.keys.append(key)
        return key.number
    kek = stage.key(c)
    stage.blobs.append((await actor.call("wrap_key", stage.key(b), with_key=kek), kek))
    return None


async def _find(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    found = await actor.call("find_keys", **({"label": f"label-{b % 3}"} if c % 2 else {}))
    return [key.number for key in found]


async def _delete(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    return await actor.call("delete_key", stage.key(b))


async def _share(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    return await actor.call("unshare_key" if c % 3 == 0 else "share_key", stage.key(b), with_user="bob")


async def _attribute(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    if c % 3 == 0:
        await actor.call("public_key", stage.key(b)) if c % 2 else None
        return sorted(await actor.call("get_attributes", stage.key(b)))
    if c % 3 == 1:
        return await actor.call("set_attribute", stage.key(b), CKA.LABEL, f"label-{c % 3}")
    if c % 3 == 2 and c % 2:
        return await actor.call("set_attribute", stage.key(b), CKA.TOKEN, True)
    return await actor.call("set_attribute", stage.key(b), CKA.ENCRYPT, c % 4 == 0)


async def _login(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    if b % 3 == 0:
        return await actor.call("logout") if c % 4 == 0 else await actor.call("find_keys")
    if b % 3 == 1:
        return await actor.call("login", stage.cluster.default_user, stage.cluster.default_password)
    return await actor.call("login", "bob", "password" if c % 2 else "wrong-password")


async def _random(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    return len(await actor.call("random", b))


async def _quit(stage: Stage, actor: Actor, b: int, c: int) -> None:
    actor.client.close()


# -- what the test does -----------------------------------------------------------------


async def _advance(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    stage.cluster.clock.advance(SECONDS[b % len(SECONDS)])
    return stage.cluster.clock.now_ns


async def _sweep(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    if b % 4 == 0:
        return stage.cluster.clock.run_until_idle()
    return stage.cluster.sweep_now()


async def _inject(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    injection = stage.cluster.chaos.inject(fault(b, c), may_miss=True)
    stage.trouble.append(injection)
    return str(injection)


async def _hardship(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    hardship = stage.cluster.chaos.install(HARDSHIPS[b % len(HARDSHIPS)])
    stage.trouble.append(hardship)
    return str(hardship)


async def _calm(stage: Stage, actor: Actor, b: int, c: int) -> None:
    """End one trouble, or all; a hold is sometimes only released."""
    for _ in range(len(stage.trouble) if c % 3 == 0 else 1):
        if not stage.trouble:
            break
        one = stage.trouble[b % len(stage.trouble)]
        if isinstance(one, Injection) and c % 3 == 1:
            one.release()
        else:
            stage.trouble.remove(one)
            one.remove() if isinstance(one, Injection) else one.end()


async def _power(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    cluster, hsm = stage.cluster, f"hsm-{1 + c % 4}"
    if b % 5 == 0:
        return cluster.chaos.restart(hsm)
    if b % 5 == 1:
        return cluster.add_hsm("b").id
    if b % 5 == 2:
        replacement = cluster.chaos.replace(hsm).replacement
        return replacement and replacement.id
    if b % 5 == 3:
        return cluster.backup().id
    if len(cluster.hsms) > 1:
        cluster.remove_hsm(hsm)


async def _users(stage: Stage, actor: Actor, b: int, c: int) -> Any:
    cluster = stage.cluster
    if b % 3 == 0:
        return cluster.create_user("carol", "password-2")
    if b % 3 == 1:
        return cluster.admin.change_password("carol", "password-3")
    return cluster.admin.delete_user("carol")


VERBS: dict[str, Callable[[Stage, Actor, int, int], Awaitable[Any]]] = {
    "create": _create,
    "sign": _sign,
    "encrypt": _encrypt,
    "wrap": _wrap,
    "find": _find,
    "delete": _delete,
    "share": _share,
    "attribute": _attribute,
    "login": _login,
    "random": _random,
    "quit": _quit,
    "advance": _advance,
    "sweep": _sweep,
    "inject": _inject,
    "hardship": _hardship,
    "calm": _calm,
    "power": _power,
    "users": _users,
}
OFTEN = {"create": 5, "sign": 3, "encrypt": 3, "delete": 2, "advance": 3, "inject": 5, "hardship": 3, "calm": 2}
