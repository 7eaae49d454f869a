"""What is left of a cluster of processes, seen from outside?"""

import json
import os
import select
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 60

BEGINNING = """
import json, os, signal, sys, threading
from pytest_hsmcluster import HsmCluster

cluster = HsmCluster(2, network="processes", clock_rate=20)
client = cluster.client()
client.generate_key("AES", 256, label="first")
address = cluster.network.upstream
print(json.dumps([[hsm.pid, address(hsm.id)[1]] for hsm in cluster.hsms] + [str(cluster.network._rack._folder.path)]))
sys.stdout.flush()
"""


def parent_of(pid):
    """The process that forked this one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children_of(pid):
    """The processes that this one has forked and that are there still, as zombies too."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if parent_of(int(entry.name)) == pid:
                found.append(int(entry.name))
    return found


class Traces:
    """Processes, ports and a folder, of which nothing is to be left in the end."""

    def __init__(self, pids, ports, folder):
        self.pids, self.ports, self.folder = pids, ports, Path(folder)
        self.fds = {pid: os.pidfd_open(pid) for pid in pids}

    @classmethod
    def of(cls, cluster):
        """Those of a cluster of this process; its nursery stays, for the next one."""
        pids = [hsm.pid for hsm in cluster.hsms]
        ports = [cluster.network.upstream(hsm.id)[1] for hsm in cluster.hsms]
        return cls(pids, ports, cluster.network._rack._folder.path)

    def wait(self, *pids):
        """Wait until these processes have ended, or all of them."""
        for pid in pids or self.pids:
            poll = select.poll()
            poll.register(self.fds[pid], select.POLLIN)
            assert poll.poll(PATIENCE_S * 1000), f"process {pid} outlives its test"

    def assert_none(self):
        """Wait for the ends of the processes; then ports and files have gone, too."""
        self.wait()
        for fd in self.fds.values():
            os.close(fd)
        assert not self.folder.exists()
        for port in self.ports:
            with socket.socket() as caller:
                assert caller.connect_ex(("127.0.0.1", port)) != 0


class Victim:
    """A process that makes a cluster and comes to an end; its temporary files are in `folder`."""

    def __init__(self, folder, ending):
        self.process = subprocess.Popen(
            [sys.executable, "-c", BEGINNING + ending],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(folder)},
            start_new_session=True,
        )
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        *hsms, path = json.loads(line)
        pids, ports = zip(*hsms, strict=True)
        self.nursery = parent_of(pids[0])
        self.traces = Traces([*pids, self.nursery], ports, path)

    def end(self):
        """Let it come to its end, and return its exit code and what it wrote to its standard error."""
        _, errors = self.process.communicate("go\n", timeout=PATIENCE_S)
        return self.process.returncode, errors
