"""How does a client learn its settings from the SDKs' own configuration files?

`cloudhsm_client.cfg` belongs to SDK 3, `cloudhsm-pkcs11.cfg` and its siblings to SDK 5. Both are
JSON. What this package has no use for is kept, key by key and in its order.
"""

import os
import warnings
from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from .config_json import Document, load, parse, save
from .config_minimum import check_minimum, minimum_warnings
from .config_rules import ConfigWarning, misspelt, nearest, refuse
from .config_sdk3 import Sdk3Config, load_sdk3, mistakes_sdk3, sdk3_config, shape_sdk3
from .config_sdk5 import SHAPE_SDK5, Sdk5Config, Server, load_sdk5, mistakes_sdk5, sdk5_config

__all__ = [
    "ConfigWarning",
    "Sdk3Config",
    "Sdk5Config",
    "Server",
    "check_minimum",
    "read_config",
    "sdk3_config",
    "sdk5_config",
    "write_config",
]


def read_config(path: str | os.PathLike[str], hsms: int | None = None) -> Sdk3Config | Sdk5Config:
    """Return what a configuration file says; its shape decides of which SDK it is, then its name.

    Args:
        path: of `cloudhsm_client.cfg`, `cloudhsm-pkcs11.cfg`, `cloudhsm-cli.cfg`, …
        hsms: how many HSMs the cluster has, if that is known: the limit of `create_object_minimum_nodes`.

    Raises:
        ConfigError: the file cannot be read, is not JSON, is of no known kind, or holds values that
            are not allowed; all mistakes at once, each with key, value and what is allowed.

    Warns:
        ConfigWarning: an unknown key looks like a known one or stands in the wrong place, or the
            minimum is every HSM of the cluster.
    """
    file = Path(path)
    text = load(file)
    document = parse(text, str(file))
    config: Sdk3Config | Sdk5Config
    if _sdk(document, file) == 3:
        refuse(str(file), list(mistakes_sdk3(document, hsms)))
        config = load_sdk3(text)
        doubts = [*misspelt(document, shape_sdk3())]
        doubts += minimum_warnings(config.create_object_minimum_nodes, hsms, "client.create_object_minimum_nodes")
    else:
        refuse(str(file), list(mistakes_sdk5(document)))
        config = load_sdk5(text)
        doubts = [*misspelt(document, SHAPE_SDK5)]
    for doubt in doubts:
        warnings.warn(f"{file}: {doubt}", ConfigWarning, stacklevel=2)
    return config


def write_config(config: Sdk3Config | Sdk5Config, path: str | os.PathLike[str]) -> Path:
    """Write the whole file, unknown keys included, and return its path; all of it is written or nothing.

    Raises:
        ConfigError: the file cannot be written; what was there before is untouched.
    """
    return save(config.text, Path(path))


def _sdk(document: Document, file: Path) -> Literal[3, 5]:
    """Return whose file it is.

    Raises:
        ConfigError: neither shape nor name tell, or the shape is both or that of another tool.
    """
    of_sdk3 = [key for key in document if key in shape_sdk3()]
    if "clusters" in document and of_sdk3:
        raise ConfigError(f'{file}: has both "clusters" of SDK 5 and "{of_sdk3[0]}" of SDK 3; keep what belongs to one')
    if "clusters" in document:
        return 5
    if of_sdk3:
        return 3
    if "servers" in document or "scard" in document:
        raise ConfigError(
            f"{file}: is a cloudhsm_mgmt_util.cfg, which configures a tool and no client;"
            " give cloudhsm_client.cfg or cloudhsm-pkcs11.cfg"
        )
    if file.name == "cloudhsm_client.cfg":
        return 3
    if file.name.startswith("cloudhsm-") and file.suffix == ".cfg":
        return 5
    known = {**SHAPE_SDK5, **shape_sdk3()}
    slips = [f'; did you mean "{near}" where it says "{key}"?' for key in document if (near := nearest(key, known))]
    raise ConfigError(
        f"{file}: is no configuration of a client: SDK 3 has sections {', '.join(shape_sdk3())}, SDK 5 has clusters"
        f"{''.join(slips[:1])}"
    )
