"""What does it cost that HSMs are processes?

A signature is measured against an echo of the same length over the same kind of TLS connection, to a process that does
nothing else; signatures of many clients at once against an echo that keeps both cores busy for as long; a new key
against the same on simulated HSMs, and on HSMs whose disks are memory.  All that is compared takes turns, round by
round, so that it sees the same machine.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from pytest_hsmcluster import AsyncClient, Client, HsmCluster
from pytest_hsmcluster.processes import codec, network

from .peers import Echo, Laden, loops_a_second

ROUNDS = int(os.environ.get("ROUNDS", "15"))
CALLS = 200
CROWDS = (1, 4, 16)
CROWD_CALLS = 2_400
KEYS = 20
STARTS = 9
HSMS = 3
CORES = 2
HEAD_BYTES = 5
LOADINGS = 2
"""The second one makes up for what the first one was wrong by."""

Work = Callable[[], object]
Choice = Callable[[set[int]], int]
Figures = tuple[float, float, float]
"""Calls a second, and which part of one core this process used, and which its peers."""


def main() -> None:
    """Measure and print tables."""
    with HsmCluster(HSMS, network="processes") as cluster:
        client = cluster.client("bench")
        key = client.generate_key_pair("EC", "secp256r1", label="signer").private
        lengths = measured_lengths(client, key)
        print(f"a signature: {lengths[0]} bytes to the HSM, {lengths[1]} back")
        with Echo(HSMS, *lengths) as echo:
            peers = [*echo.pids, *pids_of(cluster)]
            round_trips("as the system places processes", echo, client, key)
            with on_cores(peers, max, max):
                round_trips("all processes on one core", echo, client, key)
            with Laden(HSMS, *lengths) as laden:
                crowds(echo, laden, cluster, key)
    new_keys()
    starts()


# -- one call ------------------------------------------------------------------------------------


def round_trips(where: str, echo: Echo, client: Client, key: Any) -> None:
    """Print what one signature takes, and what an echo takes."""
    digest, raw = bytes(32), ec.generate_private_key(ec.SECP256R1())
    algorithm = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    sock = echo.connection(0)
    rows: dict[str, Work] = {
        "raw `cryptography`": lambda: raw.sign(digest, algorithm),
        "echo over TLS": lambda: echo.ask(sock),
        "`client.sign`": lambda: client.sign(key, digest),
    }
    seen = interleaved(rows, CALLS)
    sock.close()
    print(f"\n| one call at a time, {where} | median µs | quartiles µs |\n|---|---|---|")
    for row, rounds in seen.items():
        print(f"| {row} | {spread(rounds)} |")
    echoes, signs = seen["echo over TLS"], seen["`client.sign`"]
    print(f"| `client.sign` − echo | {spread([s - e for s, e in zip(signs, echoes, strict=True)])} |")


@contextmanager
def on_cores(pids: list[int], ours: Choice, theirs: Choice) -> Iterator[None]:
    """Keep this process on one core and others on one, perhaps the same: where they are matters much."""
    cores = os.sched_getaffinity(0)
    chosen = {os.getpid(): ours(cores)} | {pid: theirs(cores) for pid in pids}
    threads = {int(task.name): core for pid, core in chosen.items() for task in Path(f"/proc/{pid}/task").iterdir()}
    for thread, core in threads.items():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(thread, {core})
    yield
    for thread in threads:
        with suppress(ProcessLookupError):
            os.sched_setaffinity(thread, cores)


def measured_lengths(client: Client, key: Any) -> tuple[int, int]:
    """Return how many bytes a signature sends to an HSM, and how many come back."""
    sent, came = [], []

    def encode(number: int, call: Any, really: Any = codec.encode_request) -> bytes:
        body: bytes = really(number, call)
        sent.append(len(body))
        return body

    def decode(body: bytes, really: Any = codec.decode_answer) -> Any:
        came.append(len(body))
        return really(body)

    client.sign(key, bytes(32))  # asks for the key first
    with mock.patch.object(network, "encode_request", encode), mock.patch.object(network, "decode_answer", decode):
        client.sign(key, bytes(32))
    return sent[-1] + HEAD_BYTES, came[-1] + HEAD_BYTES


# -- many clients --------------------------------------------------------------------------------


def crowds(echo: Echo, laden: Laden, cluster: HsmCluster, key: Any) -> None:
    """Print how many calls a second several clients make together, and what of two cores that takes."""
    pids = pids_of(cluster)
    head = (
        "| clients | what | calls a second | of two cores | this process | its peers | CPU µs a call, here and there |"
    )
    print(f"\n{head}\n" + "|---" * 7 + "|")
    for size in CROWDS:
        with ExitStack() as stack:
            sockets = [stack.enter_context(echo.connection(number)) for number in range(size)]
            loads = [stack.enter_context(laden.connection(number)) for number in range(size)]
            clients = [cluster.client(f"thread-{size}-{number}") for number in range(size)]
            awaited = [cluster.async_client(f"task-{size}-{number}") for number in range(size)]
            for client in (*clients, *awaited):
                stack.callback(client.close)
            echoes = in_threads([partial(echo.ask, sock) for sock in sockets])
            signs = in_threads([partial(client.sign, key, bytes(32)) for client in clients])
            likes = in_threads([partial(laden.ask, sock) for sock in loads])
            load(laden, partial(apart, likes, laden.pids), used_by(partial(apart, signs, pids), pids))
            rows: dict[str, tuple[Work, list[int]]] = {
                "echo, threads": (echoes, echo.pids),
                "sign, asyncio": (lambda a=awaited: asyncio.run(in_tasks(a, key)), pids),  # type: ignore[misc]
                "sign, threads": (signs, pids),
                "laden echo, threads": (likes, laden.pids),
                "sign, threads, HSMs on a core of their own": (partial(apart, signs, pids), pids),
                "laden echo, threads, answered on a core of its own": (partial(apart, likes, laden.pids), laden.pids),
            }
            seen: dict[str, list[Figures]] = {row: [] for row in rows}
            for number in range(ROUNDS // 2 + 1):
                for row, (work, peers) in rows.items():
                    figures = watched(work, peers)
                    if number:  # the first round opens connections
                        seen[row].append(figures)
        print_crowd(size, seen)


def print_crowd(size: int, seen: dict[str, list[Figures]]) -> None:
    """Print the rows of a crowd of this size."""
    for row, rounds in seen.items():
        rates, mine, theirs = zip(*rounds, strict=True)
        low, middle, high = statistics.quantiles(rates, n=4)
        used = [(a + b) / CORES for a, b in zip(mine, theirs, strict=True)]
        shares = " | ".join(f"{statistics.median(share):.0%}" for share in (used, mine, theirs))
        costs = ", ".join(f"{1e6 * cost:.0f}" for cost in costs_s(rounds))
        print(f"| {size} | {row} | {middle:,.0f} ({low:,.0f} … {high:,.0f}) | {shares} | {costs} |")
    signs, likes = ([rate for rate, _, _ in seen[row]] for row in ("sign, threads", "laden echo, threads"))
    print(f"| {size} | sign ÷ laden echo, threads | {ratio(signs, likes).replace('|', '(')}) | | | | |")


def load(laden: Laden, echoes: Work, signs: list[Figures]) -> None:
    """Have an echo take as much of both cores as signatures do."""
    laden.mine = laden.theirs = 0
    mine_s, theirs_s = costs_s(signs)
    for _ in range(LOADINGS):
        here_s, there_s = costs_s(used_by(echoes, laden.pids))
        laden.mine = max(0, laden.mine + round((mine_s - here_s) * loops_a_second()))
        laden.theirs = max(0, laden.theirs + round((theirs_s - there_s) * loops_a_second()))


def used_by(work: Work, peers: list[int]) -> list[Figures]:
    """Return what some rounds used, after one that opens connections."""
    return [watched(work, peers) for _ in range(ROUNDS // 2 + 1)][1:]


def costs_s(rounds: list[Figures]) -> tuple[float, float]:
    """Return the median seconds that a call keeps a core, in this process and in its peers."""
    return statistics.median([mine / rate for rate, mine, _ in rounds]), statistics.median(
        [theirs / rate for rate, _, theirs in rounds]
    )


def watched(work: Work, peers: list[int]) -> Figures:
    """Return calls a second, and which part of one core this process used, and which its peers."""
    before, mine, began = sum(map(used_s, peers)), time.process_time(), time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    return CROWD_CALLS / seconds, (time.process_time() - mine) / seconds, (sum(map(used_s, peers)) - before) / seconds


def in_threads(works: Sequence[Work]) -> Work:
    """Return what does all calls, divided among threads."""
    share = CROWD_CALLS // len(works)

    def repeat(work: Work) -> None:
        for _ in range(share):
            work()

    def go() -> None:
        threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return go


def apart(work: Work, pids: list[int]) -> None:
    """Do it with this process on one core, and its peers on another one."""
    with on_cores(pids, min, max):
        work()


async def in_tasks(clients: list[AsyncClient], key: Any) -> None:
    """Do all calls, divided among tasks."""
    share = CROWD_CALLS // len(clients)

    async def go(client: AsyncClient) -> None:
        for _ in range(share):
            await client.sign(key, bytes(32))

    await asyncio.gather(*map(go, clients))


def pids_of(cluster: HsmCluster) -> list[int]:
    """Return the numbers of the HSM processes."""
    return [hsm.pid for hsm in cluster.hsms if hsm.pid is not None]


def used_s(pid: int) -> float:
    """Return for how long a process has used a core."""
    told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def _create(client: Client) -> Work:
    return lambda: client.generate_key("AES", 256, label="new")


# -- keys, and the start --------------------------------------------------------------------------


def new_keys() -> None:
    """Print what an AES-256 token key on three HSMs takes, here and there."""
    with ExitStack() as stack:
        clusters = {
            "simulated": stack.enter_context(HsmCluster(HSMS)),
            "processes, disks in memory": stack.enter_context(_on("/dev/shm")),
            "processes": stack.enter_context(_on(None)),
        }
        rows = {name: _create(cluster.client("bench")) for name, cluster in clusters.items()}
        seen = interleaved(rows, KEYS)
    print("\n| AES-256 token key on three HSMs | median µs | quartiles µs |\n|---|---|---|")
    for row, rounds in seen.items():
        print(f"| {row} | {spread(rounds)} |")
    print(f"| processes ÷ simulated | {ratio(seen['processes'], seen['simulated'])} |")
    print(f"| processes ÷ disks in memory | {ratio(seen['processes'], seen['processes, disks in memory'])} |")


@contextmanager
def _on(folder: str | None) -> Iterator[HsmCluster]:
    with mock.patch.object(tempfile, "tempdir", folder):
        cluster = HsmCluster(HSMS, network="processes")
    with cluster:
        yield cluster


def starts() -> None:
    """Print what it takes to have three HSMs, in new Python processes."""
    runs = []
    for _ in range(STARTS):
        run = subprocess.run([sys.executable, "-m", __spec__.name, "start"], stdout=subprocess.PIPE, check=True)
        runs.append(json.loads(run.stdout))
    print("\n| three HSMs | median ms | quartiles ms |\n|---|---|---|")
    for row in runs[0]:
        low, middle, high = statistics.quantiles([1000 * run[row] for run in runs], n=4)
        print(f"| {row} | {middle:,.1f} | {low:,.1f} … {high:,.1f} |")


def start() -> None:
    """Be such a process: print as JSON how many seconds each row took."""
    took = {}

    @contextmanager
    def row(name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        took[name] = time.perf_counter() - began

    with row("the first cluster of a process, until a client is logged in"):
        cluster = HsmCluster(HSMS, network="processes")
        cluster.client("app")
    with row("its end"):
        cluster.close()
    with row("the second one, until a client is logged in"):
        cluster = HsmCluster(HSMS, network="processes")
        client = cluster.client("app")
    client.generate_key("AES", 256, label="kek")
    with row("crash of one HSM"):
        cluster.chaos.crash("hsm-1")
    with row("its restart, until it listens"):
        cluster.chaos.restart("hsm-1")
        assert cluster.hsm("hsm-1").link.port  # type: ignore[attr-defined]
    cluster.close()
    print(json.dumps(took))


# -- figures --------------------------------------------------------------------------------------


def interleaved(rows: dict[str, Work], calls: int) -> dict[str, list[float]]:
    """Return the median µs of a call in each round."""
    seen: dict[str, list[float]] = {row: [] for row in rows}
    for number in range(ROUNDS + 1):
        for row, work in rows.items():
            took = []
            for _ in range(calls):
                began = time.perf_counter()
                work()
                took.append(1e6 * (time.perf_counter() - began))
            if number:  # the first round warms up
                seen[row].append(statistics.median(took))
    return seen


def spread(rounds: list[float]) -> str:
    """Return median and quartiles as two cells of a table."""
    low, middle, high = statistics.quantiles(rounds, n=4)
    return f"{middle:,.1f} | {low:,.1f} … {high:,.1f}"


def ratio(some: list[float], others: list[float]) -> str:
    """Return median and quartiles of a ratio, round by round, as two cells of a table."""
    low, middle, high = statistics.quantiles([a / b for a, b in zip(some, others, strict=True)], n=4)
    return f"{middle:,.1f} × | {low:,.1f} … {high:,.1f} ×"


if __name__ == "__main__":
    start() if sys.argv[1:] == ["start"] else main()
