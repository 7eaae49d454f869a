"""How is the nightly job written by somebody who has lost a key before?

Five rules, and nothing else:

1. Write down what is about to be made before it is made; its label is new and names this one attempt at a key.
2. A key counts once its create said ok *and* it was used, without a miss, as often in a row as it takes to ask
   every HSM.  Until then nobody is given it, so whatever else stands under its label may go.
3. Look before every create, and wait between tries for as long as the service may need to catch up.
4. What is to be deleted is condemned first and for ever: a sweep, a backup or an HSM that was off may bring it back.
5. Say again every night what no one else will: who may use which key, and which keys nobody knows.
"""

from collections.abc import Callable, Sequence
from contextlib import closing

from pytest_hsmcluster import (
    Client,
    HsmBusy,
    HsmUnavailable,
    InjectedError,
    KeyAccessDenied,
    KeyCapacityReached,
    KeyHandle,
    KeyNotOnHsm,
    KeyUnavailable,
    NotLoggedIn,
    RequestTimeout,
    TooFewCopies,
)

from .inventory import Inventory, KeyPlan
from .keys import create, use
from .ledger import Ledger
from .night import Night
from .patience import Patience
from .report import Report

DAY_S = 86_400

PASSING = (
    HsmBusy,
    HsmUnavailable,
    InjectedError,
    KeyAccessDenied,
    KeyCapacityReached,
    KeyNotOnHsm,
    KeyUnavailable,
    NotLoggedIn,
    RequestTimeout,
    TooFewCopies,
)
"""What may be over at the next try.

"Access denied" is in it because sharing drifts: the next HSM may know that the key is shared.  PKCS#11 has one
return value for that and for a key that is not there.  A refused password is not: trying again locks the account.
"""


class Custodian:
    """The nightly job.

    Args:
        inventory: which keys there should be.
        ledger: what has been made, and what was about to be.
        connect: begins a session with the cluster.
        now: seconds since some day 0.
        sleep: lets seconds pass.
        hsms: how many HSMs the cluster has when it is whole.
    """

    def __init__(
        self,
        inventory: Inventory,
        ledger: Ledger,
        *,
        connect: Callable[[], Client],
        now: Callable[[], float],
        sleep: Callable[[float], None],
        hsms: int = 3,
    ) -> None:
        self._inventory = inventory
        self._ledger = ledger
        self._connect = connect
        self._now = now
        self._patience = Patience(sleep, PASSING)
        self._hsms = hsms

    def run(self) -> Report:
        """Do one night's work and say what was done, and what was not managed and is left to the next night."""
        report = Report(int(self._now() // DAY_S))
        with report.attempt("log in"), closing(self._patience.retry(self._connect)) as client:
            Night(
                _Hsm(client), report, self._inventory, self._ledger, self._patience, self._hsms, (KeyNotOnHsm,)
            ).work()
        return report


class _Hsm:
    """What a night asks of the client of the emulated cluster."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.share_key = client.share_key
        self.unshare_key = client.unshare_key
        self.delete_key = client.delete_key

    def find_keys(self, label: str | None = None) -> Sequence[KeyHandle]:
        return self._client.find_keys(label=label)

    def create(self, plan: KeyPlan, label: str) -> list[KeyHandle]:
        return create(self._client, plan, label)

    def use(self, keys: Sequence[KeyHandle]) -> None:
        use(self._client, keys)
