"""What can be wrong with answers?"""

from ..client.operations import Operations
from ..cluster import HsmCluster
from ..errors import ClusterError, DataInvalid, SignatureInvalid
from ..service.calls import Call
from ..service.commands import Decrypt, FindKeys, Random, SetAttribute, ShareKey, UnshareKey, Verify
from ..service.hsm import Hsm, HsmState
from ..service.keystore import StoredKey
from .mutant import Acted, Mutant, become, every_client, every_hsm, instead

IV_AND_TAG_BYTES = 12 + 16


def _narrow_find(cluster: HsmCluster, acted: Acted) -> None:
    class Narrow(FindKeys):
        def work(self, hsm: Hsm, call: Call) -> list[StoredKey]:
            found = super().work(hsm, call)
            first = next((one for one in cluster.hsms if one.state is HsmState.UP), hsm)
            shown = [key for key in found if key.handle in first.store.keys]
            if len(shown) < len(found):
                acted()
            return shown

    instead(cluster, {FindKeys: Narrow})


def _stale_copy(cluster: HsmCluster, acted: Acted) -> None:
    stale = cluster.hsms[-1]

    class OldAttribute(SetAttribute):
        def settle(self, hsm: Hsm, call: Call, worked: None) -> None:
            if hsm is stale:
                acted()
            else:
                super().settle(hsm, call, worked)

    class OldShares(ShareKey):
        def settle(self, hsm: Hsm, call: Call, worked: None) -> None:
            if hsm is stale:
                acted()
            else:
                super().settle(hsm, call, worked)

    class OldSharesToo(OldShares, UnshareKey):
        shared = False

    instead(cluster, {SetAttribute: OldAttribute, ShareKey: OldShares, UnshareKey: OldSharesToo})


def _gullible_verify(cluster: HsmCluster, acted: Acted) -> None:
    class Gullible(Verify):
        def work(self, hsm: Hsm, call: Call) -> None:
            try:
                super().work(hsm, call)
            except SignatureInvalid:
                acted()

    instead(cluster, {Verify: Gullible})


def _gullible_decrypt(cluster: HsmCluster, acted: Acted) -> None:
    class Gullible(Decrypt):
        def work(self, hsm: Hsm, call: Call) -> bytes:
            try:
                return super().work(hsm, call)
            except DataInvalid:
                acted()
                return hsm.source.random(max(1, len(self._data) - IV_AND_TAG_BYTES))

    instead(cluster, {Decrypt: Gullible})


def _repeating_random(cluster: HsmCluster, acted: Acted) -> None:
    given: dict[int, bytes] = {}

    class Repeating(Random):
        def work(self, hsm: Hsm, call: Call) -> bytes:
            if self.count in given:
                acted()
            return given.setdefault(self.count, super().work(hsm, call))

    instead(cluster, {Random: Repeating})


def _sure_failures(cluster: HsmCluster, acted: Acted) -> None:
    class Sure(Operations):
        def _adapt(self, error: ClusterError) -> None:
            super()._adapt(error)
            if error.outcome == "info" and not self.process.dead:
                acted()
                error.outcome = "fail"

    every_client(cluster, lambda operations: become(operations, Sure))


def _never_busy(cluster: HsmCluster, acted: Acted) -> None:
    class Tireless(Hsm):
        @property
        def throttled(self) -> bool:
            if vars(self)["throttled"]:
                acted()
            return False

        @throttled.setter
        def throttled(self, throttled: bool) -> None:
            vars(self)["throttled"] = throttled

    every_hsm(cluster, lambda hsm: become(hsm, Tireless))


ANSWERING = (
    Mutant(
        "narrow-find",
        "find_keys shows only what the first HSM holds",
        "looking for a key that is not on every HSM yet",
        _narrow_find,
        signs=("find_keys",),
    ),
    Mutant(
        "stale-copy",
        "one HSM says ok to changes of attributes and shares, and serves the old copy",
        "in_sync(), each HSM's answer after a change",
        _stale_copy,
        signs=("set_attribute", "share_key", "unshare_key"),
    ),
    Mutant(
        "gullible-verify",
        "verify accepts any signature",
        "pytest.raises(SignatureInvalid) with a signature of other data",
        _gullible_verify,
        signs=("verify",),
    ),
    Mutant(
        "gullible-decrypt",
        "decrypt returns something for a ciphertext that was tampered with",
        "pytest.raises(DataInvalid) with a changed ciphertext or other associated data",
        _gullible_decrypt,
        signs=("decrypt",),
    ),
    Mutant(
        "repeating-random",
        "random bytes are the same each time",
        "two nonces, data keys or identifiers that must differ",
        _repeating_random,
        signs=("random",),
    ),
    Mutant(
        "sure-failures",
        "a call whose outcome nobody knows is reported as certainly not done",
        "`error.outcome` after a lost answer, and what the application does then",
        _sure_failures,
        signs=("info",),
    ),
    Mutant(
        "never-busy",
        "a throttled HSM never says so",
        "pytest.raises(HsmBusy), the pauses of the application's retries",
        _never_busy,
        signs=("turned away",),
    ),
)
