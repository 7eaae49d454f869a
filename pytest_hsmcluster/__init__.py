"""Chaos testing for applications that use AWS CloudHSM: a whole emulated cluster inside pytest.

Every public name is here; each is imported when it is first used, so that an installed
plugin costs a test run nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chaos import Chaos as Chaos
    from .chaos import Hardship as Hardship
    from .checkers.check import HsmCheck as HsmCheck
    from .checkers.verdict import Finding as Finding
    from .client.awaiting import AsyncClient as AsyncClient
    from .client.blocking import Client as Client
    from .client.config import ConfigWarning as ConfigWarning
    from .client.config import Sdk3Config as Sdk3Config
    from .client.config import Sdk5Config as Sdk5Config
    from .client.config import read_config as read_config
    from .client.config import sdk3_config as sdk3_config
    from .client.config import sdk5_config as sdk5_config
    from .client.config import write_config as write_config
    from .client.handles import KeyHandle as KeyHandle
    from .client.handles import KeyPair as KeyPair
    from .cluster import HsmCluster as HsmCluster
    from .cryptoki import CKA as CKA
    from .cryptoki import CKD as CKD
    from .cryptoki import CKF as CKF
    from .cryptoki import CKK as CKK
    from .cryptoki import CKM as CKM
    from .cryptoki import CKO as CKO
    from .cryptoki import CKR as CKR
    from .errors import AccountLocked as AccountLocked
    from .errors import ApplicationDied as ApplicationDied
    from .errors import ClusterError as ClusterError
    from .errors import ConfigError as ConfigError
    from .errors import DataInvalid as DataInvalid
    from .errors import HsmBusy as HsmBusy
    from .errors import HsmUnavailable as HsmUnavailable
    from .errors import InjectedError as InjectedError
    from .errors import KeyAccessDenied as KeyAccessDenied
    from .errors import KeyCapacityReached as KeyCapacityReached
    from .errors import KeyFunctionNotPermitted as KeyFunctionNotPermitted
    from .errors import KeyNotOnHsm as KeyNotOnHsm
    from .errors import KeyUnavailable as KeyUnavailable
    from .errors import KeyUnextractable as KeyUnextractable
    from .errors import LoginFailed as LoginFailed
    from .errors import MechanismInvalid as MechanismInvalid
    from .errors import NotLoggedIn as NotLoggedIn
    from .errors import RequestTimeout as RequestTimeout
    from .errors import SessionLimitReached as SessionLimitReached
    from .errors import SignatureInvalid as SignatureInvalid
    from .errors import Stuck as Stuck
    from .errors import TemplateInvalid as TemplateInvalid
    from .errors import TooFewCopies as TooFewCopies
    from .errors import UsageError as UsageError
    from .faults.effects import Corrupt as Corrupt
    from .faults.effects import Crash as Crash
    from .faults.effects import Delay as Delay
    from .faults.effects import Destroy as Destroy
    from .faults.effects import Drop as Drop
    from .faults.effects import Fail as Fail
    from .faults.effects import FillDisk as FillDisk
    from .faults.effects import Hold as Hold
    from .faults.effects import Pass as Pass
    from .faults.effects import Pause as Pause
    from .faults.injector import Injection as Injection
    from .faults.points import Point as Point
    from .faults.spec import Fault as Fault
    from .faults.when import When as When
    from .history.events import Cause as Cause
    from .history.events import Event as Event
    from .history.events import Kind as Kind
    from .history.history import History as History
    from .keys.mechanisms import CounterKdfParams as CounterKdfParams
    from .keys.mechanisms import CtrParams as CtrParams
    from .keys.mechanisms import EcdhParams as EcdhParams
    from .keys.mechanisms import GcmParams as GcmParams
    from .keys.mechanisms import IvParams as IvParams
    from .keys.mechanisms import OaepParams as OaepParams
    from .keys.mechanisms import PssParams as PssParams
    from .keys.mechanisms import RsaAesParams as RsaAesParams
    from .pkcs11.door import Pkcs11Door as Pkcs11Door
    from .service.accounts import UserType as UserType
    from .service.audit import AuditEntry as AuditEntry
    from .service.backup import Backup as Backup
    from .service.hsm import Hsm as Hsm
    from .service.hsm import HsmState as HsmState
    from .service.profile import Profile as Profile
    from .sim.clock import HsmClock as HsmClock
    from .toxiproxy.answers import ToxiproxyError as ToxiproxyError
    from .toxiproxy.server import ToxiproxyServer as ToxiproxyServer

_HOMES = {
    "chaos": "Chaos Hardship",
    "checkers.check": "HsmCheck",
    "checkers.verdict": "Finding",
    "client.awaiting": "AsyncClient",
    "client.blocking": "Client",
    "client.config": "ConfigWarning Sdk3Config Sdk5Config read_config sdk3_config sdk5_config write_config",
    "client.handles": "KeyHandle KeyPair",
    "cluster": "HsmCluster",
    "cryptoki": "CKA CKD CKF CKK CKM CKO CKR",
    "errors": (
        "AccountLocked ApplicationDied ClusterError ConfigError DataInvalid HsmBusy HsmUnavailable InjectedError "
        "KeyAccessDenied KeyCapacityReached KeyFunctionNotPermitted KeyNotOnHsm KeyUnavailable KeyUnextractable "
        "LoginFailed MechanismInvalid NotLoggedIn RequestTimeout SessionLimitReached SignatureInvalid Stuck "
        "TemplateInvalid TooFewCopies UsageError"
    ),
    "faults.effects": "Corrupt Crash Delay Destroy Drop Fail FillDisk Hold Pass Pause",
    "faults.injector": "Injection",
    "faults.points": "Point",
    "faults.spec": "Fault",
    "faults.when": "When",
    "history.events": "Cause Event Kind",
    "history.history": "History",
    "keys.mechanisms": "CounterKdfParams CtrParams EcdhParams GcmParams IvParams OaepParams PssParams RsaAesParams",
    "pkcs11.door": "Pkcs11Door",
    "service.accounts": "UserType",
    "service.audit": "AuditEntry",
    "service.backup": "Backup",
    "service.hsm": "Hsm HsmState",
    "service.profile": "Profile",
    "sim.clock": "HsmClock",
    "toxiproxy.answers": "ToxiproxyError",
    "toxiproxy.server": "ToxiproxyServer",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
