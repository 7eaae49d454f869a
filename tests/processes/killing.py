"""How does somebody else kill an HSM process?"""

import os
import signal

from pytest_hsmcluster import HsmCluster


def kill(cluster: HsmCluster, hsm: str) -> None:
    """Kill an HSM process as a stranger would, and wait until that is noticed."""
    os.kill(cluster.hsm(hsm).pid, signal.SIGKILL)
    while cluster.hsm(hsm).alive:
        cluster.clock.advance(0.05)
