"""What does a call through the PKCS#11 library cost, against the same call on SoftHSM2?

The same application, on python-pkcs11, runs in three processes: on SoftHSM2, on a cluster of three HSMs in its own
process, and on one behind the socket.  They take turns, row by row and round by round.  A token key is made on one
token of SoftHSM2 and on three HSMs here.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_hsmcluster import HsmCluster, Pkcs11Door

ROUNDS = int(os.environ.get("ROUNDS", "9"))
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
ROOM = 10_000_000
KEYS = 200

ROWS = {
    "AES-GCM encryption, 1 KiB": 300,
    "ECDSA P-256 signature": 300,
    "RSA-2048 signature": 100,
    "AES-256 token key": 50,
    "P-256 token pair": 25,
    "find by label among 200 keys": 50,
}
"""What is measured → calls in a round."""


def main() -> None:
    """Measure and print a table."""
    with (
        tempfile.TemporaryDirectory() as folder,
        HsmCluster(3, seed=1, key_capacity=ROOM) as cluster,
        Pkcs11Door(cluster) as door,
    ):
        workers = {
            "SoftHSM2": Worker(softhsm(Path(folder)), SOFTHSM, "bench", "1234"),
            "in process": Worker({}, "", "", ""),
            "socket": Worker(door.env, door.module, door.token_label, door.user_pin),
        }
        seen: dict[str, dict[str, list[float]]] = {row: {who: [] for who in workers} for row in ROWS}
        for _ in range(ROUNDS):
            for row in ROWS:
                for who, worker in workers.items():
                    seen[row][who].append(worker.measure(row))
        for worker in workers.values():
            worker.end()
    print(
        "| what | SoftHSM2 µs | in process µs | against SoftHSM2 | socket µs | against SoftHSM2 |\n" + "|---" * 6 + "|"
    )
    for row, sides in seen.items():
        cells = [us(sides["SoftHSM2"])]
        for who in ("in process", "socket"):
            pairs = zip(sides[who], sides["SoftHSM2"], strict=True)
            cells += [us(sides[who]), f"{statistics.median(mine / theirs for mine, theirs in pairs):.2f} ×"]
        print(f"| {row} | {' | '.join(cells)} |")


class Worker:
    """One process with the application; it measures a row when it is told to."""

    def __init__(self, env: dict[str, str], module: str, label: str, pin: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.pkcs11_door", "work"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )
        self._say(json.dumps([module, label, pin]))

    def measure(self, row: str) -> float:
        """Return the seconds that one call takes."""
        self._say(row)
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())

    def end(self) -> None:
        """Let it end."""
        self._process.communicate("")

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


def work() -> None:
    """Be the application: read where the token is, then the rows to measure."""
    module, label, pin = json.loads(sys.stdin.readline())
    if module:
        _serve(module, label, pin)
        return
    with HsmCluster(3, seed=1, key_capacity=ROOM) as cluster, Pkcs11Door(cluster) as door:
        _serve(door.module, door.token_label, door.user_pin)


def _serve(module: str, label: str, pin: str) -> None:
    import pkcs11

    with pkcs11.lib(module).get_token(token_label=label).open(rw=True, user_pin=pin) as session:
        calls = _calls(pkcs11, session)
        for warm_up in calls.values():
            warm_up()
        for line in sys.stdin:
            row, count = calls[line.strip()], ROWS[line.strip()]
            began = time.perf_counter()
            for _ in range(count):
                row()
            seconds = time.perf_counter() - began
            for key in list(session.get_objects({pkcs11.Attribute.LABEL: "new"})):
                key.destroy()  # so that there are 200 keys in the next row, too
            print(seconds / count, flush=True)


def _calls(pkcs11: Any, session: Any) -> dict[str, Callable[[], object]]:
    from pkcs11 import Attribute, KeyType, Mechanism
    from pkcs11.util.ec import encode_named_curve_parameters

    curve = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
    )
    for number in range(KEYS - 4):
        session.generate_key(KeyType.AES, 256, label=f"key {number}", store=True)
    aes = session.generate_key(KeyType.AES, 256, label="aes", store=True)
    _, rsa = session.generate_keypair(KeyType.RSA, 2048, label="rsa", store=True)
    _, ec = curve.generate_keypair(label="ec", store=True)
    data = bytes(1024)

    def encrypt() -> bytes:
        # The HSM writes its IV into the buffer, so each call needs a zeroed one.
        gcm = pkcs11.GCMParams(bytes(12), None, 128)
        return bytes(aes.encrypt(data, mechanism=Mechanism.AES_GCM, mechanism_param=gcm))

    return {
        "AES-GCM encryption, 1 KiB": encrypt,
        "ECDSA P-256 signature": lambda: ec.sign(data[:32], mechanism=Mechanism.ECDSA),
        "RSA-2048 signature": lambda: rsa.sign(data, mechanism=Mechanism.SHA256_RSA_PKCS),
        "AES-256 token key": lambda: session.generate_key(KeyType.AES, 256, label="new", store=True),
        "P-256 token pair": lambda: curve.generate_keypair(label="new", store=True),
        "find by label among 200 keys": lambda: list(session.get_objects({Attribute.LABEL: "key 77"})),
    }


def softhsm(home: Path) -> dict[str, str]:
    """Make a token of SoftHSM2, and return the environment that finds it."""
    (home / "tokens").mkdir()
    config = home / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {home / 'tokens'}\nlog.level = ERROR\n")
    env = {"SOFTHSM2_CONF": str(config)}
    init = ["softhsm2-util", "--init-token", "--free", "--label", "bench", "--pin", "1234", "--so-pin", "1234"]
    subprocess.run(init, check=True, capture_output=True, env={**os.environ, **env})
    return env


def us(seconds: list[float]) -> str:
    """Return median and range in µs."""
    micro = [1e6 * one for one in seconds]
    return f"{statistics.median(micro):,.1f} ({min(micro):,.1f} … {max(micro):,.1f})"


if __name__ == "__main__":
    work() if sys.argv[1:] == ["work"] else main()
