"""Which applications use one cluster?"""

from ..errors import SessionLimitReached, UsageError
from ..network.simulated import Network
from ..service.service import Service
from ..sim.entropy import Entropy
from ..sim.scheduler import FIRST_CLIENT_LANE
from .operations import Operations
from .process import Process
from .sites import Sites


class Applications:
    """Starts application processes, and ends them with their cluster.

    Args:
        service: whose cluster it is.
        network: to its HSMs.
        entropy: each process draws from a stream of its own where its calls go.
        minimum: `create_object_minimum_nodes`.
        sites: who called what.
    """

    def __init__(self, service: Service, network: Network, entropy: Entropy, minimum: int, sites: Sites) -> None:
        self._service = service
        self._network = network
        self._entropy = entropy
        self._minimum = minimum
        self._sites = sites
        self._processes: list[Process] = []
        self._ciphertexts = 0

    def start(self, name: str) -> Operations:
        """Start a process, and return what it can do.

        Raises:
            UsageError: that is no name.
            SessionLimitReached: too many are connected.
        """
        if not isinstance(name, str) or not name or "#" in name:
            raise UsageError(f"an application's name is a non-empty str without '#'; got {name!r}")
        connected, cluster = len(self._network.peers), self._service.cluster_id
        if connected >= self._service.world.profile.connections_per_cluster:
            raise SessionLimitReached(
                f"{connected} clients are connected to {cluster}; it takes no more (AWS CloudHSM quota)"
            )
        number = len(self._processes) + 1
        lane, choice = FIRST_CLIENT_LANE + 2 * number, self._entropy.stream(f"routing/{number}")
        process = Process(name, number, lane, self._service, self._network, choice)
        self._processes.append(process)
        return Operations(process, self._minimum, self._made, self._sites)

    def end(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.end()

    def _made(self) -> int:
        """Return the number of a new ciphertext."""
        self._ciphertexts += 1
        return self._ciphertexts
