"""What does `cloudhsm_client.cfg` say, the file of SDK 3's client daemon?"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from .config_json import Document, parse, repeated
from .config_minimum import minimum_rule
from .config_rules import (
    HOSTNAME,
    PORT,
    TEXT,
    YES_NO,
    Place,
    Shape,
    examine,
    settle,
    typed,
    whole,
    yes_no,
)

_DEFAULT: Final = """{
    "client": {
        "CriticalAlertScript": "",
        "create_object_minimum_nodes": 1,
        "daemon_id": 1,
        "e2e_owner_crt_path": "/opt/cloudhsm/etc/customerCA.crt",
        "enable_3des_key_reuse": "no",
        "log_level": "INFO",
        "reconnect_attempts": -1,
        "reconnect_interval": 3,
        "socket_type": "UNIXSOCKET",
        "sslreneg": 0,
        "tcp_port": 1111,
        "workers": 1,
        "zoneid": 0
    },
    "dualfactor": {
        "certificate": "certificate.crt",
        "dualfactor_ch_ssl_ciphers": "default",
        "dualfactor_ssl": "yes",
        "enable": "no",
        "pkey": "pkey.pem",
        "port": 2225
    },
    "loadbalance": {
        "enable": "yes",
        "prefer_same_zone": "no",
        "relative_idleness_weight": 1,
        "sucess_rate_weight": 1
    },
    "server": {
        "hostname": "127.0.0.1",
        "port": 2223
    },
    "ssl": {
        "CApath": "/opt/cloudhsm/etc/certs",
        "certificate": "/opt/cloudhsm/etc/client.crt",
        "pkey": "/opt/cloudhsm/etc/client.key",
        "server_ch_ssl_ciphers": "default",
        "server_ssl": "yes"
    }
}
"""

_PLACES: Final = {
    "create_object_minimum_nodes": Place(("client", "create_object_minimum_nodes")),
    "reconnect_interval_s": Place(("client", "reconnect_interval")),
    "reconnect_attempts": Place(("client", "reconnect_attempts")),
    "zoneid": Place(("client", "zoneid")),
    "loadbalance_enable": yes_no("loadbalance", "enable"),
    "prefer_same_zone": yes_no("loadbalance", "prefer_same_zone"),
    "relative_idleness_weight": Place(("loadbalance", "relative_idleness_weight")),
    "sucess_rate_weight": Place(("loadbalance", "sucess_rate_weight")),
    "server_hostname": Place(("server", "hostname")),
    "server_port": Place(("server", "port")),
}


def shape_sdk3(hsms: int | None = None) -> dict[str, Shape]:
    """Return what may stand in the file, for a cluster of so many HSMs or of any size.

    Source:
        Names and values: field report, a dump of the file in a public lab note. The range of
        `create_object_minimum_nodes`: AWS CloudHSM User Guide, "Key synchronization". All other
        ranges are a *guess*: what the value can mean at all.
    """
    return {
        "client": {
            "CriticalAlertScript": TEXT,
            "create_object_minimum_nodes": minimum_rule(hsms),
            "daemon_id": whole(1),
            "e2e_owner_crt_path": TEXT,
            "enable_3des_key_reuse": YES_NO,
            "log_level": TEXT,
            "reconnect_attempts": whole(-1, hint=" (-1: endless)"),
            "reconnect_interval": whole(1, hint=" (seconds)"),
            "socket_type": TEXT,
            "sslreneg": whole(0),
            "tcp_port": PORT,
            "workers": whole(1),
            "zoneid": whole(0),
        },
        "dualfactor": {
            "certificate": TEXT,
            "dualfactor_ch_ssl_ciphers": TEXT,
            "dualfactor_ssl": YES_NO,
            "enable": YES_NO,
            "pkey": TEXT,
            "port": PORT,
        },
        "loadbalance": {
            "enable": YES_NO,
            "prefer_same_zone": YES_NO,
            "relative_idleness_weight": whole(0),
            "sucess_rate_weight": whole(0),
        },
        "server": {"hostname": HOSTNAME, "port": PORT},
        "ssl": {
            "CApath": TEXT,
            "certificate": TEXT,
            "pkey": TEXT,
            "server_ch_ssl_ciphers": TEXT,
            "server_ssl": YES_NO,
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdk3Config:
    """What SDK 3's client daemon is told; the other keys of the file are kept in `text`.

    Attributes:
        create_object_minimum_nodes: on how many HSMs a new key must be, or creating it fails.
        reconnect_interval_s: seconds between two attempts to reach an HSM again.
        reconnect_attempts: how many of these; -1 for endless.
        zoneid: the client's own zone, for `prefer_same_zone`.
        loadbalance_enable: whether requests are balanced over the HSMs.
        prefer_same_zone: whether an HSM of the own zone is preferred.
        relative_idleness_weight: how much an HSM's idleness counts in balancing.
        sucess_rate_weight: how much its success rate counts; the file spells it so.
        server_hostname: the HSM that is asked first for the members, or None when the file has none.
        server_port: its port.
        text: the whole file in our layout; where a field differs from it, the field wins.

    Source:
        AWS CloudHSM User Guide, "Key synchronization" (the minimum and its default); field report,
        a dump of the file in a public lab note (all other names and defaults; their meaning is inferred).
    """

    create_object_minimum_nodes: int = 1
    reconnect_interval_s: int = 3
    reconnect_attempts: int = -1
    zoneid: int = 0
    loadbalance_enable: bool = True
    prefer_same_zone: bool = False
    relative_idleness_weight: int = 1
    sucess_rate_weight: int = 1
    server_hostname: str | None = None
    server_port: int = 2223
    text: str = field(default="{}", repr=False)

    def __post_init__(self) -> None:
        settle(self, _PLACES, mistakes_sdk3)


def sdk3_config(
    *,
    hostname: str,
    port: int = 2223,
    create_object_minimum_nodes: int = 1,
    reconnect_interval_s: int = 3,
    reconnect_attempts: int = -1,
    zoneid: int = 0,
    loadbalance_enable: bool = True,
    prefer_same_zone: bool = False,
    relative_idleness_weight: int = 1,
    sucess_rate_weight: int = 1,
) -> Sdk3Config:
    """Return the file as SDK 3 installs it, every documented key present, pointed at one HSM.

    Raises:
        ConfigError: an argument has a wrong type or is out of range.

    Source:
        Field report: a dump of `cloudhsm_client.cfg` in a public lab note.
    """
    return Sdk3Config(
        create_object_minimum_nodes=create_object_minimum_nodes,
        reconnect_interval_s=reconnect_interval_s,
        reconnect_attempts=reconnect_attempts,
        zoneid=zoneid,
        loadbalance_enable=loadbalance_enable,
        prefer_same_zone=prefer_same_zone,
        relative_idleness_weight=relative_idleness_weight,
        sucess_rate_weight=sucess_rate_weight,
        server_hostname=hostname,
        server_port=port,
        text=_DEFAULT,
    )


def load_sdk3(text: str) -> Sdk3Config:
    """Return the configuration that a text without mistakes holds."""
    return Sdk3Config(**typed(parse(text, "Sdk3Config"), _PLACES), text=text)


def mistakes_sdk3(document: Document, hsms: int | None = None) -> Iterator[str]:
    """Yield one sentence for each thing in the file that cannot be used; a missing key has its default."""
    yield from repeated(document)
    yield from examine(document, shape_sdk3(hsms))
