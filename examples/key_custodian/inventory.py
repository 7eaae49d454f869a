"""Which keys should there be, and who may use them?"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class InventoryError(Exception):
    """The inventory cannot be used; says which key and why."""


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """One key that a service should always have.

    Attributes:
        prefix: what the labels of all our keys begin with.
        service: who needs it.
        name: what for; with the service it is unique.
        kind: `AES`, `GENERIC_SECRET` or `EC`.
        size: bits, or the curve's name.
        rotate_after_days: age at which another one takes its place.
        share_with: crypto users that may use it.
    """

    prefix: str
    service: str
    name: str
    kind: str
    size: int | str
    rotate_after_days: int
    share_with: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"{self.service}/{self.name}"

    @property
    def is_pair(self) -> bool:
        return self.kind == "EC"

    def label(self, generation: int) -> str:
        """Return the label of the n-th key made for this plan; no two keys that are in use share one."""
        return f"{self.prefix}/{self.id}/v{generation}"


@dataclass(frozen=True, slots=True)
class Inventory:
    """All keys that there should be.

    Attributes:
        prefix: what the labels of all our keys begin with.
        grace_days: how long a replaced key is kept.
        quarantine_days: how long an unknown key with our prefix is kept.
        keys: one plan for each key.
    """

    prefix: str
    grace_days: int
    quarantine_days: int
    keys: tuple[KeyPlan, ...]

    def is_ours(self, label: str) -> bool:
        return label.startswith(f"{self.prefix}/")


def load_inventory(path: Path) -> Inventory:
    """Read an inventory.

    Raises:
        InventoryError: a field is missing, unknown or of the wrong kind, or two keys have one name.
    """
    try:
        return _inventory(tomllib.loads(path.read_text(encoding="utf-8")))
    except (InventoryError, tomllib.TOMLDecodeError) as error:
        raise InventoryError(f"{path}: {error}") from error


def _inventory(document: dict[str, Any]) -> Inventory:
    _check("the inventory", document, {"prefix": str, "grace_days": int, "quarantine_days": int, "keys": list})
    plans = tuple(_plan(document["prefix"], entry) for entry in document["keys"])
    ids = [plan.id for plan in plans]
    for id in ids:
        if ids.count(id) > 1:
            raise InventoryError(f"{id} is there {ids.count(id)} times; each service and name may come once")
    return Inventory(document["prefix"], document["grace_days"], document["quarantine_days"], plans)


def _plan(prefix: str, entry: dict[str, Any]) -> KeyPlan:
    wanted = {"service": str, "name": str, "kind": str, "size": int | str, "rotate_after_days": int, "share_with": list}
    where = f"{entry.get('service', '?')}/{entry.get('name', '?')}"
    _check(where, entry, wanted)
    if entry["kind"] not in ("AES", "GENERIC_SECRET", "EC"):
        raise InventoryError(f"{where}: kind is AES, GENERIC_SECRET or EC; got {entry['kind']!r}")
    return KeyPlan(prefix=prefix, **{**entry, "share_with": tuple(entry["share_with"])})


def _check(where: str, entry: dict[str, Any], wanted: dict[str, Any]) -> None:
    for field in entry:
        if field not in wanted:
            raise InventoryError(f"{where}: unknown field {field!r}; there are {', '.join(wanted)}")
    for field, kind in wanted.items():
        if field not in entry:
            raise InventoryError(f"{where}: {field!r} is missing")
        if not isinstance(entry[field], kind):
            raise InventoryError(f"{where}: {field} cannot be {entry[field]!r}")
