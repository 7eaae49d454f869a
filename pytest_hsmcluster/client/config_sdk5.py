"""What does `cloudhsm-pkcs11.cfg` say, or the file of another component of SDK 5?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ..errors import UsageError
from .config_json import MISSING, Document, find, parse, repeated
from .config_rules import (
    FLAG,
    HOSTNAME,
    PLACEHOLDER,
    PORT,
    TEXT,
    Each,
    Place,
    Shape,
    examine,
    one_of,
    settle,
    typed,
)

HsmType = Literal["hsm1", "hsm2m"]
RetryMode = Literal["off", "standard"]
LogType = Literal["file", "term"]
LogLevel = Literal["error", "warn", "info", "debug", "trace"]
LogInterval = Literal["never", "hourly", "daily", "weekly"]

_BARE: Final = '{"clusters": [{"type": "hsm1", "cluster": {}}]}'

_DEFAULT: Final = """{
    "clusters": [
        {
            "type": "hsm1",
            "cluster": {
                "hsm_ca_file": "/opt/cloudhsm/etc/customerCA.crt",
                "servers": [],
                "options": {
                    "disable_key_availability_check": false
                }
            }
        }
    ],
    "logging": {
        "log_type": "file",
        "log_file": "/opt/cloudhsm/run/cloudhsm-pkcs11.log",
        "log_level": "info",
        "log_interval": "daily"
    }
}
"""

# Names: field reports (EonX easy-encryption; ecadlabs/signatory; eclipse-keypont/crypto11, issue 87;
# Gyuho-Song/aws-cloudhsm-benchmark). Log values: AWS CloudHSM User Guide, "Client SDK 5 configuration parameters";
# "weekly" is in its old text only. Where the retry mode stands is a *guess*: beside the other option of `configure`.
SHAPE_SDK5: Final[dict[str, Shape]] = {
    "clusters": Each(
        {
            "type": one_of("hsm1", "hsm2m"),
            "cluster": {
                "hsm_ca_file": TEXT,
                "cluster_id": TEXT,
                "servers": Each({"hostname": HOSTNAME, "port": PORT, "enable": FLAG}),
                "client_cert_path": TEXT,
                "client_key_path": TEXT,
                "client_cert_hsm_tls_path": TEXT,
                "client_key_hsm_tls_path": TEXT,
                "options": {
                    "disable_key_availability_check": FLAG,
                    "default_retry_mode": one_of("off", "standard"),
                },
            },
        }
    ),
    "logging": {
        "log_type": one_of("file", "term"),
        "log_file": TEXT,
        "log_level": one_of("error", "warn", "info", "debug", "trace"),
        "log_interval": one_of("never", "hourly", "daily", "weekly"),
    },
}


@dataclass(frozen=True, slots=True)
class Server:
    """One address at which a component of SDK 5 asks for the members of its cluster."""

    hostname: str
    port: int = 2223
    enable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdk5Config:
    """What one component of SDK 5 is told about one cluster; the rest of the file is kept in `text`.

    Attributes:
        disable_key_availability_check: whether a key on fewer than two HSMs may be made and used.
        default_retry_mode: whether throttled operations are tried again ("standard") or never ("off").
        cluster_id: present when the file was made from a cluster id.
        hsm_type: what `configure` writes is "hsm1"; "hsm2m" is reported to be needed for hsm2m.medium.
        servers: where members are asked for, in the order of the file.
        log_type, log_file, log_level, log_interval: where and how the component logs.
        entry: of which entry of `clusters` the fields above speak. Only `at` turns to another one:
            `dataclasses.replace` would write this entry's values over the other's.
        text: the whole file in our layout; where a field differs from it, the field wins.

    Source:
        Field reports (names and shape); AWS CloudHSM User Guide, "Client SDK 5 configuration parameters"
        (values, defaults). Where `default_retry_mode` stands in the file is a *guess*.
    """

    disable_key_availability_check: bool = False
    default_retry_mode: RetryMode = "standard"
    cluster_id: str | None = None
    hsm_type: HsmType = "hsm1"
    servers: tuple[Server, ...] = ()
    log_type: LogType = "file"
    log_file: str | None = None
    log_level: LogLevel = "info"
    log_interval: LogInterval = "daily"
    entry: int = 0
    text: str = field(default=_BARE, repr=False)

    def __post_init__(self) -> None:
        clusters = find(parse(self.text, "Sdk5Config"), ("clusters",))
        if isinstance(clusters, list) and not (type(self.entry) is int and 0 <= self.entry < len(clusters)):
            raise UsageError(f"there is no entry {self.entry!r} of clusters; allowed: 0…{len(clusters) - 1}")
        settle(self, _places(self.entry), mistakes_sdk5)

    @property
    def cluster_ids(self) -> tuple[str | None, ...]:
        """The id of each entry of `clusters`, None where it has none."""
        entries = parse(self.text, "Sdk5Config")["clusters"]
        return tuple(entry["cluster"].get("cluster_id") for entry in entries)

    def at(self, entry: int) -> "Sdk5Config":
        """Return the same file, its fields speaking of another entry of `clusters`.

        Raises:
            UsageError: there is no such entry.
        """
        return load_sdk5(self.text, entry)


def sdk5_config(
    *,
    hostnames: Sequence[str],
    port: int = 2223,
    disable_key_availability_check: bool = False,
    default_retry_mode: RetryMode = "standard",
    cluster_id: str | None = None,
    hsm_type: HsmType = "hsm1",
    log_type: LogType = "file",
    log_file: str = "/opt/cloudhsm/run/cloudhsm-pkcs11.log",
    log_level: LogLevel = "info",
    log_interval: LogInterval = "daily",
) -> Sdk5Config:
    """Return the file as `configure-pkcs11 -a ADDRESS…` leaves it, pointed at these HSMs.

    The retry mode is written only when it is not the default: its key is a guess.

    Raises:
        UsageError: `hostnames` is one text instead of several.
        ConfigError: an argument has a wrong type or is not allowed.

    Source:
        Field reports: EonX easy-encryption and ecadlabs/signatory.
    """
    if isinstance(hostnames, str):
        raise UsageError(f"hostnames is the text {hostnames!r}; allowed: a list of host names or IP addresses")
    return Sdk5Config(
        disable_key_availability_check=disable_key_availability_check,
        default_retry_mode=default_retry_mode,
        cluster_id=cluster_id,
        hsm_type=hsm_type,
        servers=tuple(Server(hostname, port) for hostname in hostnames),
        log_type=log_type,
        log_file=log_file,
        log_level=log_level,
        log_interval=log_interval,
        text=_DEFAULT,
    )


def load_sdk5(text: str, entry: int = 0) -> Sdk5Config:
    """Return the configuration that a text without mistakes holds."""
    return Sdk5Config(**typed(parse(text, "Sdk5Config"), _places(entry)), entry=entry, text=text)


def mistakes_sdk5(document: Document) -> Iterator[str]:
    """Yield one sentence for each thing in the file that cannot be used."""
    yield from repeated(document)
    for mistake in examine(document, SHAPE_SDK5):
        if PLACEHOLDER in mistake:
            # What the SDK itself says of such a file (field report: RadiumGu/pix-proxy-samples).
            mistake += f"; {PLACEHOLDER} is what an unconfigured file holds: Config key hostname has invalid value"
        yield mistake
    clusters = document.get("clusters", MISSING)
    if clusters is MISSING or clusters == []:
        yield "clusters is missing or empty; allowed: an array with one entry for each cluster"
    for index, entry in enumerate(clusters) if isinstance(clusters, list) else ():
        yield from _missing(entry, f"clusters[{index}]")


def _missing(entry: Any, path: str) -> Iterator[str]:
    """Yield one sentence for each thing that an entry of `clusters` cannot do without."""
    cluster = find(entry, ("cluster",))
    if isinstance(entry, dict) and cluster is MISSING:
        yield f"{path}.cluster is missing; allowed: an object"
    if not isinstance(cluster, dict):
        return
    servers = cluster.get("servers", [])
    if servers == [] and "cluster_id" not in cluster:
        yield f"{path}.cluster has neither servers nor a cluster_id; give at least one address"
    for index, server in enumerate(servers) if isinstance(servers, list) else ():
        if isinstance(server, dict) and "hostname" not in server:
            yield f"{path}.cluster.servers[{index}].hostname is missing; allowed: {HOSTNAME.allowed}"


def _places(entry: int) -> dict[str, Place]:
    cluster = ("clusters", entry, "cluster")
    return {
        "disable_key_availability_check": Place((*cluster, "options", "disable_key_availability_check")),
        "default_retry_mode": Place((*cluster, "options", "default_retry_mode")),
        "cluster_id": Place((*cluster, "cluster_id")),
        "hsm_type": Place(("clusters", entry, "type")),
        "servers": Place((*cluster, "servers"), _read_servers, _write_servers),
        "log_type": Place(("logging", "log_type")),
        "log_file": Place(("logging", "log_file")),
        "log_level": Place(("logging", "log_level")),
        "log_interval": Place(("logging", "log_interval")),
    }


def _read_servers(found: Any) -> tuple[Server, ...]:
    entries = found if isinstance(found, list) else []
    return tuple(_read_server(entry) for entry in entries if isinstance(entry, dict))


def _read_server(entry: Document) -> Server:
    known = {name: entry[name] for name in ("hostname", "port", "enable") if name in entry}
    return Server(**{"hostname": "", **known})


def _write_servers(servers: Sequence[Server], before: Any) -> list[Document]:
    """Return the servers as the file has them; one that stays at its address keeps its other keys."""
    left = [entry for entry in before if isinstance(entry, dict)] if isinstance(before, list) else []
    written = []
    for server in servers:
        same = (entry for entry in left if _address(_read_server(entry)) == _address(server))
        entry = next(same, {})
        left = [other for other in left if other is not entry]
        written.append({**entry, "hostname": server.hostname, "port": server.port, "enable": server.enable})
    return written


def _address(server: Server) -> tuple[str, int]:
    return server.hostname, server.port
