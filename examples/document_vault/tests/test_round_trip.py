"""Does a vault on a healthy cluster do what a vault is for?"""

from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from faker import Faker

from examples.hurried import PROCESSES
from pytest_hsmcluster import Client, HsmCheck, HsmClock

from .. import HardenedVault, NaiveVault, Store
from ..store import Row
from .forms import Form
from .promises import SDK3, SDK5


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("hardened", marks=SDK3, id="hardened, SDK 3"),
        pytest.param("hardened", marks=SDK5, id="hardened, SDK 5"),
        pytest.param("production", marks=SDK5, id="production, SDK 5"),
        pytest.param("production", marks=[SDK3, PROCESSES], id="production, processes"),
    ],
    indirect=True,
)
def test_megabytes_of_real_files_come_back_byte_for_byte(
    form: Form, hsm_check: HsmCheck, real_files: dict[str, bytes], tmp_path: Path
) -> None:
    """Hundreds of real files are stored, their key is rotated, and each of them comes back as it was."""
    assert sum(map(len, real_files.values())) > 4_000_000, "megabytes of them"
    assert max(map(len, real_files.values())) > 16_224, "more than an HSM takes at once"

    store = Store(tmp_path / "vault.db")
    vault = form.vault(store)
    vault.start()
    for name, document in real_files.items():
        vault.put(name, document)
    vault.rotate()
    store.close()

    reopened = Store(tmp_path / "vault.db")
    assert reopened.names() == sorted(real_files)
    again = form.vault(reopened)
    again.start()
    for name, document in real_files.items():
        assert again.get(name) == document, name
    reopened.close()
    hsm_check.in_sync()
    hsm_check.no_undecryptable_data()


def test_rotation_of_a_small_vault(
    vault: HardenedVault,
    store: Store,
    hsm_client: Client,
    hsm_clock: HsmClock,
    hsm_check: HsmCheck,
    hsm_faker: Faker,
) -> None:
    """A few documents of kilobytes move to a new key, and a minute later the old one is gone: short enough to sweep."""
    documents = {f"contract-{number}": hsm_faker.binary(1024 * number) for number in range(1, 5)}
    vault.start()
    for name, document in documents.items():
        vault.put(name, document)

    vault.rotate()

    assert {name: vault.get(name) for name in documents} == documents
    hsm_clock.advance(60)
    vault.maintain()
    assert [key.label for key in hsm_client.find_keys()] == [store.current()]
    hsm_check.durable()
    hsm_check.no_undecryptable_data()


def test_naive_vault_works_too(naive: NaiveVault, hsm_faker: Faker) -> None:
    """Nothing is wrong with the naive vault while nothing goes wrong: that is why it was shipped."""
    documents = {f"contract-{number}": hsm_faker.binary(1024 * number) for number in range(1, 5)}
    naive.start()
    for name, document in documents.items():
        naive.put(name, document)

    naive.rotate()

    assert {name: naive.get(name) for name in documents} == documents


def test_exchanged_rows_are_refused(form: Form, vault: HardenedVault, store: Store) -> None:
    """Who can write to the database cannot pass one document off as another."""
    vault.start()
    vault.put("approved", b"10 EUR")
    vault.put("rejected", b"10,000,000 EUR")
    row, sealed = store.load("rejected")
    mine, _ = store.load("approved")

    store.save(Row("approved", mine.kek, mine.wrapped_dek), sealed)
    with pytest.raises(InvalidTag):
        vault.get("approved")

    store.save(Row("approved", row.kek, row.wrapped_dek), sealed)
    with pytest.raises(form.refused, match=form.refusal):
        vault.get("approved")


def test_unknown_document_is_a_key_error(vault: HardenedVault) -> None:
    """Asking for a document that was never stored asks no HSM."""
    vault.start()
    with pytest.raises(KeyError, match="minutes"):
        vault.get("minutes")
