"""Which numbers and switches of the service does the emulation use, and who says so?

Every number that is copied from the service stands here and nowhere else, with its source
or the word *guess*.  UG is the AWS CloudHSM User Guide; PIX are the measurements published
in the repository RadiumGu/pix-proxy-samples (hsm2m.medium, SDK 5.18.0): one cluster, not a promise.
"""

import dataclasses
import difflib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from ..errors import UsageError
from ..sim.clock import NS, to_ns

MS = NS // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How the emulated service and its clients behave.  Durations are ns.

    A marker or factory may override each field by name, durations also in seconds by the
    name that ends in `_s` (`sweep_period_s=30`).
    """

    sdk: Literal[3, 5] = 5
    fips: bool = True
    """FIPS mode: 3DES is refused (UG, "Key types": disallowed after 2023)."""

    # -- time ---
    wire_ns: int = MS // 2
    """One way between client and HSM; with `execute_ns` a signature takes 2 ms (PIX: 1.9–2.2 ms)."""
    execute_ns: int = 1 * MS
    """Work inside an HSM (same)."""
    clone_ns: int = 80 * MS
    """Inserting a masked object (UG, "Interpreting audit logs": the sample shows tens of ms)."""
    request_timeout_ns: int = 20 * NS
    """How long a client waits for one answer (guess)."""
    longest_wait_ns: int = 24 * 3600 * NS
    """What "no limit" means, so that nothing waits without a timer."""
    reconnect_interval_ns: int = 3 * NS
    """Between attempts to reach a lost HSM (SDK 3 file: `reconnect_interval` 3)."""
    sweep_period_ns: int = 60 * NS
    """Between two sweeps of the service (guess: AWS publishes none)."""
    sweep: bool = True
    join_snapshot_ns: int = 35 * NS
    """From create-hsm to the snapshot that the new HSM starts from (PIX: users made up to 34 s after were in it)."""
    join_active_ns: int = 313 * NS
    """From create-hsm to ACTIVE (PIX)."""
    backup_period_ns: int = 24 * 3600 * NS
    """At least one backup a day (UG, "Manage backups")."""

    # -- limits ---
    key_capacity: int = 3300
    """Keys per HSM, session keys included (UG, "Quotas": hsm1.medium; hsm2m.medium 16,666)."""
    user_capacity: int = 1024
    """Users per HSM (UG, "Quotas", 2023 edition; the current one says 250)."""
    sessions_per_hsm: int = 2048
    """UG, "CloudWatch metrics"."""
    connections_per_cluster: int = 900
    """Concurrent client connections (UG, "Quotas")."""
    queue_limit: int = 256
    """Requests that one HSM works on at once before it answers busy (guess)."""
    lockout_after: int = 5
    """More bad logins than this lock the account on that HSM (UG, `loginHSM`)."""
    max_generic_bytes: int = 800
    """GENERIC_SECRET length limit (UG, "Key types": SDK 5; SDK 3 64)."""

    data_limits: bool = True
    """Whether one operation takes 16 KB at the most, as the mechanism says (UG, "Supported mechanisms")."""

    # -- clients ---
    routing: Literal["round_robin", "random", "least_busy", "pinned"] = "round_robin"
    """Which HSM a call goes to (guess; the service balances by remaining capacity: UG, "Clusters")."""
    pinned_to: str | None = None
    """The HSM of `routing="pinned"`; None is the first that is up."""
    create_returns: Literal["auto", "all tried", "enough"] = "auto"
    """When an SDK 3 create returns (guess: "auto" is "all tried", and "enough" when a time-out is given)."""
    availability_check: bool = True
    """SDK 5's check; off is `disable_key_availability_check` in its file."""
    availability_copies: int = 2
    """Copies that SDK 5 wants before a key may be used (UG, "Key synchronization")."""
    availability_budget_ns: int = 87_200 * MS
    """How long SDK 5's check keeps asking before it gives up (PIX: 87.2 s, spread 0.04 s)."""
    availability_poll_ns: int = 1 * NS
    """Between two rounds of asking (guess)."""
    sdk5_cleans_up: bool = True
    """Whether a create that the check refused is cleaned up (guess: not documented)."""
    retry_mode: Literal["off", "standard"] = "standard"
    """SDK 5's answer to throttling (UG, "Retry commands for PKCS #11")."""
    retry_attempts: int = 3
    """Same source: up to three retries."""
    backoff_base_ns: int = 100 * MS
    """First pause before a throttled request is sent again (guess); doubles each time."""
    backoff_cap_ns: int = 2 * NS
    """Longest such pause (guess)."""

    # -- the PKCS#11 library ---
    sessions_per_application: int = 1024
    """UG, "Quotas"."""
    validate_key_at_init: bool = True
    """Whether `C_SignInit` and its like ask an HSM for the key (UG, `configure-pkcs11`: on by default)."""
    read_only_sessions: Literal["auto", "allowed", "refused"] = "auto"
    """Those without CKF_RW_SESSION: "auto" is refused by SDK 5 (UG, "Known issues"), allowed by SDK 3 (inferred)."""
    duplicates: Literal["allowed", "refused"] = "allowed"
    """Whether a label or id that is taken is refused, and the key made nevertheless (SDK 3: crypto11#19, #105)."""
    device_error_sticks: bool = False
    """After CKR_DEVICE_ERROR nothing works until C_Initialize (aws-kms-xks-proxy reckons with it; krill, PR 761)."""
    handle_scope: Literal["login", "process"] = "login"
    """How long object handles mean their keys (PKCS #11 v2.40, C_Logout: until the logout)."""

    session_keys_together: bool = True
    """Whether an application's session keys live on one HSM, so that two can be used at once (guess)."""

    # -- switches ---
    crash_peer: Literal["reset", "silence"] = "reset"
    """What the peer of a crashed HSM sees (guess)."""
    sweep_remembers_deletes: bool = False
    """Whether the sweep knows of deletes that an HSM missed (guess: no, so that they come back)."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            self._check(field.name, getattr(self, field.name))
        if self.pinned_to is not None and self.routing != "pinned":
            raise UsageError(f"pinned_to={self.pinned_to!r} has a meaning only with routing='pinned'")

    @property
    def read_only_sessions_offered(self) -> bool:
        """Whether sessions without CKF_RW_SESSION can be opened."""
        return self.read_only_sessions == "allowed" or (self.read_only_sessions == "auto" and self.sdk == 3)

    def _check(self, name: str, value: Any) -> None:
        if name in _CHOICES:
            if value not in _CHOICES[name]:
                raise UsageError(f"{name} is one of {', '.join(map(repr, _CHOICES[name]))}; got {value!r}")
        elif isinstance(default := _DEFAULTS[name], bool):
            if not isinstance(value, bool):
                raise UsageError(f"{name} is True or False; got {value!r}")
        elif isinstance(default, int):
            least = 0 if name.endswith("_ns") and name not in _PERIODS else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                unit = " of ns" if name.endswith("_ns") else ""
                raise UsageError(f"{name} is a whole number{unit}, {least} or more; got {value!r}")
        elif value is not None and (not isinstance(value, str) or not _HSM_ID.fullmatch(value)):
            raise UsageError(f"{name} is the id of an HSM, such as 'hsm-2', or None; got {value!r}")

    def overridden(self, overrides: dict[str, Any]) -> "Profile":
        """Return this profile with some fields changed.

        Args:
            overrides: field name → value; `NAME_s` sets `NAME_ns` in seconds.

        Raises:
            UsageError: a name that does not exist (with the nearest that does), or a value out of range.
        """
        for name, value in overrides.items():
            if value is not None and not isinstance(value, bool | int | float | str):
                raise UsageError(f"{name} is a number, a text, True or False; got {value!r}")
        # The type stands beside the value because 1 == True: the cache would take one for the other.
        return _overridden(self, tuple((name, type(value), value) for name, value in overrides.items()))


@lru_cache(maxsize=256)
def _overridden(profile: Profile, overrides: tuple[tuple[str, type, Any], ...]) -> Profile:
    """Return a changed profile; the same changes are checked once in a test run, not for each cluster."""
    changes: dict[str, Any] = {}
    for name, _, value in overrides:
        if name.endswith("_s") and name[:-2] + "_ns" in _DEFAULTS:
            changes[name[:-2] + "_ns"] = to_ns(value, name)
        elif name in _DEFAULTS:
            changes[name] = value
        else:
            raise UsageError(unknown_field(name))
    return dataclasses.replace(profile, **changes)


def field_names() -> list[str]:
    """Return every name that `overridden` takes, sorted."""
    names = [field.name for field in dataclasses.fields(Profile)]
    return sorted(names + [name[:-3] + "_s" for name in names if name.endswith("_ns")])


def unknown_field(name: str) -> str:
    """Return the message for a name that is no field of a profile."""
    near = difflib.get_close_matches(name, field_names(), 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{name!r} is no argument of hsm_cluster and no field of its profile{hint}"


_HSM_ID = re.compile(r"hsm-[1-9][0-9]*")
_PERIODS = ("sweep_period_ns", "backup_period_ns", "availability_poll_ns", "request_timeout_ns", "longest_wait_ns")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "sdk": (3, 5),
    "routing": ("round_robin", "random", "least_busy", "pinned"),
    "create_returns": ("auto", "all tried", "enough"),
    "retry_mode": ("off", "standard"),
    "crash_peer": ("reset", "silence"),
    "read_only_sessions": ("auto", "allowed", "refused"),
    "duplicates": ("allowed", "refused"),
    "handle_scope": ("login", "process"),
}
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Profile)}

STANDARD = Profile()
"""The profile without overrides; made and checked once, because every cluster begins with it."""
