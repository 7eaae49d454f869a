"""Which configuration file would the real SDK have for this cluster?"""

from pathlib import Path
from typing import Any

from .client.config import Sdk3Config, Sdk5Config, sdk3_config, sdk5_config, write_config
from .cluster import HsmCluster
from .errors import UsageError
from .sim.clock import NS


def write_config_file(cluster: HsmCluster, folder: Path, settings: dict[str, Any]) -> Path:
    """Write the file that makes an application behave as this cluster's clients do, and return its path.

    Args:
        cluster: its SDK says which file, its HSMs and its settings what is in it.
        folder: made if it is not there.
        settings: arguments of `sdk3_config` or `sdk5_config` that shall differ.

    Raises:
        UsageError: there is no such setting.
        ConfigError: a setting has a wrong type or is out of range.
    """
    folder.mkdir(exist_ok=True)
    name = "cloudhsm_client.cfg" if cluster.profile.sdk == 3 else "cloudhsm-pkcs11.cfg"
    return write_config(_config(cluster, settings), folder / name)


def _config(cluster: HsmCluster, settings: dict[str, Any]) -> Sdk3Config | Sdk5Config:
    profile, addresses = cluster.profile, [hsm.ip for hsm in cluster.hsms]
    known: dict[str, Any]
    if profile.sdk == 3:
        known = {
            "hostname": addresses[0],
            "create_object_minimum_nodes": cluster.minimum,
            "reconnect_interval_s": profile.reconnect_interval_ns // NS,
        }
    else:
        known = {
            "hostnames": addresses,
            "cluster_id": cluster.id,
            "disable_key_availability_check": not profile.availability_check,
            "default_retry_mode": profile.retry_mode,
        }
    try:
        return sdk3_config(**{**known, **settings}) if profile.sdk == 3 else sdk5_config(**{**known, **settings})
    except TypeError as error:
        raise UsageError(f"hsm_config_file, SDK {profile.sdk}: {error}") from None
