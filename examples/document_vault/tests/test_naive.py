"""What becomes of the naive vault when HSMs fail?

Four classes, one for each classic reason.  In each, a test that should hold is expected to fail: strictly, and only
with this finding.  The test beside it looks at what exactly was found.
"""

import pytest

from examples.hurried import on_both_networks
from pytest_hsmcluster import Chaos, Client, HsmCheck, HsmClock, KeyNotOnHsm, TooFewCopies

from .. import NaiveVault
from .findings import finding


def broken(reason: str) -> pytest.MarkDecorator:
    """Mark a test that fails because the vault breaks a promise; should it pass or fail otherwise, we hear of it."""
    return pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason)


@pytest.mark.hsm_cluster(sdk=3)
class TestLostWithItsHsm:
    """SDK 3 says ok when one HSM has the key, and that HSM dies."""

    @on_both_networks
    @broken("a key is used that was on one HSM only")
    @pytest.mark.hsm_chaos("kill-mid-create")
    def test_the_key_is_kept(self, naive: NaiveVault, hsm_check: HsmCheck) -> None:
        naive.start()

        with finding(r"^lost key 'vault-kek' .* hsm-1, which held the only copy, was destroyed"):
            hsm_check.no_lost_keys()

    @on_both_networks
    @broken("documents are stored under a key that was on one HSM only")
    @pytest.mark.hsm_cluster(routing="pinned")
    @pytest.mark.hsm_chaos("fail-clone", "stall-sync")
    def test_documents_can_be_opened(self, naive: NaiveVault, hsm_chaos: Chaos, hsm_check: HsmCheck) -> None:
        naive.start()
        naive.put("contract", b"signed and sealed")
        naive.put("minutes", b"present: everybody")
        hsm_chaos.destroy("hsm-1")

        with finding(r"(?s)ciphertext 1, made by app .* died with the key, .*ciphertext 2, made by app"):
            hsm_check.no_undecryptable_data()

    @pytest.mark.hsm_cluster(checks=())
    @pytest.mark.hsm_chaos("kill-mid-create")
    def test_a_setting_would_have_helped(self, naive: NaiveVault, hsm_check: HsmCheck) -> None:
        naive.start()

        [lost] = hsm_check.lost_keys()
        assert (lost.label, lost.hsms, lost.setting) == ("vault-kek", ("hsm-1",), "create_object_minimum_nodes=2")
        with pytest.raises(KeyNotOnHsm):
            naive.put("contract", b"signed and sealed")


@pytest.mark.hsm_chaos("fail-clone hsm-3", "stall-sync")
class TestMissedByRouting:
    """Two of three HSMs have the key; the third call in a row goes to the third HSM."""

    @broken("a call that met an HSM without the key is not repeated")
    def test_every_miss_is_retried(self, naive: NaiveVault, hsm_check: HsmCheck) -> None:
        store_until_one_fails(naive)

        with finding(r"^routing miss of key 'vault-kek' .* on hsm-3 .* while hsm-1, hsm-2 held the key; never retried"):
            hsm_check.misses_retried()

    def test_the_document_was_not_lost_but_refused(self, naive: NaiveVault, hsm_check: HsmCheck) -> None:
        refused = store_until_one_fails(naive)

        [miss] = hsm_check.routing_misses()
        assert miss.hsms == ("hsm-3",)
        naive.put(refused, b"the second attempt goes to another HSM")


def store_until_one_fails(vault: NaiveVault) -> str:
    """Store documents, and return the name of the one that met the HSM without the key."""
    vault.start()
    names = iter(["contract", "minutes", "plan"])
    name = ""
    with pytest.raises(KeyNotOnHsm):
        for name in names:
            vault.put(name, b"signed and sealed")
    return name


@pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2)
@pytest.mark.hsm_chaos("fail-cleanup")
class TestOrphanLeft:
    """No second copy can be made, so the create fails; what it made on the first HSM cannot be removed either."""

    @broken("nobody looks for what a failed create leaves")
    def test_nothing_is_left_of_a_failed_create(self, naive: NaiveVault, hsm_check: HsmCheck) -> None:
        with pytest.raises(TooFewCopies):
            naive.start()

        with finding(r"^orphan key 'vault-kek' .* on hsm-1 .*\(TooFewCopies\) at .* nobody was told of the key"):
            hsm_check.no_orphan_keys()

    def test_each_attempt_leaves_one_more(self, naive: NaiveVault, hsm_check: HsmCheck) -> None:
        with pytest.raises(TooFewCopies) as failed:
            naive.start()

        orphans = hsm_check.orphan_keys()
        assert [orphan.hsms for orphan in orphans] == [("hsm-1",), failed.value.leftovers]


@pytest.mark.hsm_chaos("lost-ack generate_key")
class TestDuplicateAfterARetry:
    """The key was made, the answer is lost, and the vault makes another one."""

    @broken("a create with an unknown outcome is repeated without looking")
    def test_a_label_names_one_key(self, naive: NaiveVault, hsm_check: HsmCheck) -> None:
        naive.start()

        with finding(r"^duplicate key 'vault-kek' .* \(RequestTimeout\) at .* has the same label"):
            hsm_check.no_duplicate_labels()

    def test_soon_every_hsm_shows_two_keys(
        self, naive: NaiveVault, hsm_client: Client, hsm_clock: HsmClock, hsm_check: HsmCheck
    ) -> None:
        naive.start()
        [duplicate] = hsm_check.duplicate_labels()
        # Looking first would not have helped: the HSM that has the key is the one that cannot be reached.
        assert duplicate.handle not in [key.number for key in hsm_client.find_keys(label="vault-kek")]

        hsm_clock.advance(60)
        assert len(hsm_client.find_keys(label="vault-kek")) == 2, "which one a restarted vault takes is chance"
