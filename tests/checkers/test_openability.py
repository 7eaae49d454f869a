"""Is data found that nobody can open any more, and only that?"""

import pytest

from pytest_hsmcluster.checkers.check import HsmCheck
from pytest_hsmcluster.checkers.verdict import Finding

MS = 1_000_000


def test_ciphertext_dies_with_its_key(tell):
    """The finding names the ciphertext by ordinal, its instant, and the key that it died with."""
    story = tell(sdk=3)
    key = story.create(on=["hsm-1"])
    story.encrypt(key)
    story.encrypt(key)
    story.destroy("hsm-1", key)

    first, second = HsmCheck(story.history).undecryptable_data()

    assert first == Finding(
        check="no_undecryptable_data",
        key="key-1",
        label="payroll",
        handle=262144,
        hsms=("hsm-1",),
        since_ns=8 * MS,
        cause="ciphertext 1, made by app at 0.005000 s, died with the key, which was lost at 0.008000 s",
        setting="create_object_minimum_nodes=2",
    )
    assert second.cause.startswith("ciphertext 2, made by app at 0.007000 s, died with the key")


def test_each_datum_is_one_line(tell):
    """Two ciphertexts, two lines."""
    story = tell()
    key = story.create(on=["hsm-1"])
    story.encrypt(key)
    story.encrypt(key)
    story.destroy("hsm-1", key)
    with pytest.raises(AssertionError) as raised:
        HsmCheck(story.history).no_undecryptable_data()
    lines = str(raised.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "undecryptable data of key 'payroll' (key-1, handle 262144) on hsm-1 since 0.008000 s"
    ] * 2


def test_everything_under_a_lost_wrapping_key_dies_with_it(tell):
    """The data key was deleted on purpose, because it was wrapped: the wrapping key is what was lost."""
    story = tell()
    kek = story.create("kek", on=["hsm-1"])
    dek = story.create("dek", token=False, on=["hsm-1"])
    story.wrap(dek, under=kek)
    story.encrypt(dek)
    story.delete(dek, on=["hsm-1"])
    story.destroy("hsm-1", kek)

    wrapped, ciphertext = HsmCheck(story.history).undecryptable_data()

    assert (wrapped.key, ciphertext.key) == (kek, kek)
    assert wrapped.cause.startswith("wrapped key 1 (of key-2), made by app at 0.008000 s, died with the key")
    assert ciphertext.cause == (
        "ciphertext 2, made by app under 'dek' (key-2) at 0.010000 s, died with the key, which was lost at 0.014000 s"
    )


def test_chain_of_wraps_dies_with_its_root(tell):
    """Wrapped under wrapped under a key that is lost."""
    story = tell()
    root, middle, leaf = (story.create(label, on=["hsm-1"]) for label in ("root", "middle", "leaf"))
    story.wrap(leaf, under=middle)
    story.wrap(middle, under=root)
    story.encrypt(leaf)
    story.delete(leaf, on=["hsm-1"])
    story.delete(middle, on=["hsm-1"])
    HsmCheck(story.history).no_undecryptable_data(shredded=True)
    story.destroy("hsm-1", root)
    assert [datum.key for datum in HsmCheck(story.history).undecryptable_data()] == [root] * 3


def test_two_keys_that_wrap_only_each_other_open_nothing(tell):
    """A circle has no way in."""
    story = tell()
    one, two = story.create("one", on=["hsm-1"]), story.create("two", on=["hsm-1"])
    story.wrap(one, under=two)
    story.wrap(two, under=one)
    story.destroy("hsm-1", one, two)
    assert len(HsmCheck(story.history).undecryptable_data()) == 2


def test_public_half_opens_nothing(tell):
    """The private half is lost, the public one is still held: what was encrypted with it is gone."""
    story = tell()
    public, private = story.pair(on=["hsm-1"])
    story.sweep(public, "hsm-2", "hsm-1")
    story.encrypt(public)
    story.destroy("hsm-1", public, private)
    [datum] = HsmCheck(story.history).undecryptable_data()
    assert datum.key == private


def test_data_dies_with_the_last_key_that_could_have_opened_it(tell):
    """The data key was lost first; it was the wrapping key's loss that closed the last way."""
    story = tell()
    kek, dek = story.create("kek", on=["hsm-2"]), story.create("dek", on=["hsm-1"])
    story.wrap(dek, under=kek)
    story.encrypt(dek)
    story.destroy("hsm-1", dek)
    HsmCheck(story.history).no_undecryptable_data()
    story.destroy("hsm-2", kek)
    assert [datum.key for datum in HsmCheck(story.history).undecryptable_data()] == [kek, kek]


def test_derived_key_is_not_opened_by_its_base(tell):
    """What it was derived from is no wrapped key."""
    story = tell()
    base = story.create("base")
    derived = story.create("derived", name="derive_key", under=base, on=["hsm-1"])
    story.encrypt(derived)
    story.destroy("hsm-1", base, derived)
    assert [datum.key for datum in HsmCheck(story.history).undecryptable_data()] == [derived]


def test_key_that_was_lost_without_a_word_was_no_purpose(tell):
    """The `lost` event alone."""
    story = tell()
    story.encrypt(story.create(on=["hsm-1"]))
    story.destroy("hsm-1")
    assert len(HsmCheck(story.history).undecryptable_data()) == 1


def test_wrap_of_a_key_that_no_event_made_is_passed_over(tell):
    """A wrapped key of which nothing else is known."""
    story = tell()
    story.wrap("key-99", under=story.create("kek"))
    HsmCheck(story.history).no_undecryptable_data(shredded=True)


def test_session_key_that_a_crash_took_takes_its_data_along(tell):
    """Nobody wrapped it, and the HSM lost power."""
    story = tell()
    key = story.create("tmp", ["hsm-1"], token=False)
    story.encrypt(key)
    story.crash("hsm-1", [key])
    assert [datum.key for datum in HsmCheck(story.history).undecryptable_data()] == [key]


def test_wrap_that_was_not_ok_saves_nothing(tell):
    """Nobody has the wrapped key."""
    story = tell()
    kek, dek = story.create("kek"), story.create("dek", on=["hsm-1"])
    story.wrap(dek, under=kek, outcome="info")
    story.encrypt(dek)
    story.destroy("hsm-1", kek, dek)
    assert [datum.key for datum in HsmCheck(story.history).undecryptable_data()] == [dek]


@pytest.mark.parametrize("outcome", ["ok", "info", "open"])
def test_data_of_a_key_that_was_deleted_on_purpose_counts_only_when_shredded(tell, outcome):
    """Shredding is a use of keys."""
    story = tell()
    key = story.create()
    story.encrypt(key)
    story.delete(key, outcome=outcome)
    check = HsmCheck(story.history)
    check.no_undecryptable_data()
    [datum] = check.undecryptable_data(shredded=True)
    assert datum.cause.endswith("died with the key, which was given up on purpose at 0.011000 s")
    assert datum.setting is None


def test_session_that_ends_gives_its_keys_up_on_purpose(tell):
    """The application logged out."""
    story = tell()
    key = story.create("tmp", ["hsm-1"], token=False)
    story.encrypt(key)
    story.logout(keys=[(key, "hsm-1")])
    check = HsmCheck(story.history)
    check.no_undecryptable_data()
    assert len(check.undecryptable_data(shredded=True)) == 1


def test_wrapping_key_shredded_after_a_rotation_takes_only_the_old_wrap(tell):
    """Wrapped anew, the data key lives; the old wrapped key cannot be opened, on purpose."""
    story = tell()
    old, new, dek = story.create("kek"), story.create("kek"), story.create("dek")
    story.wrap(dek, under=old)
    story.encrypt(dek)
    story.wrap(dek, under=new)
    story.delete(dek)
    story.delete(old)
    check = HsmCheck(story.history)
    check.no_undecryptable_data()
    assert [datum.cause[:13] for datum in check.undecryptable_data(shredded=True)] == ["wrapped key 1"]


def test_key_that_another_hsm_holds_opens_its_data(tell):
    """Off but restartable is enough."""
    story = tell()
    key = story.create(on=["hsm-1", "hsm-2"])
    story.encrypt(key)
    story.destroy("hsm-1", key)
    story.crash("hsm-2")
    HsmCheck(story.history).no_undecryptable_data(shredded=True)


def test_imported_key_can_be_imported_again(tell):
    """The caller had its bytes."""
    story = tell()
    key = story.create(name="import_key", on=["hsm-1"])
    story.encrypt(key)
    story.destroy("hsm-1", key)
    HsmCheck(story.history).no_undecryptable_data(shredded=True)


def test_twin_of_lost_material_opens_its_data(tell):
    """Material counts, not the key: an unwrapped twin serves as well."""
    story = tell()
    kek, dek = story.create("kek"), story.create("dek", on=["hsm-1"], mat="mat-9")
    story.encrypt(dek)
    story.wrap(dek, under=kek)
    story.create("dek-2", name="unwrap_key", under=kek, on=["hsm-2"], mat="mat-9")
    story.destroy("hsm-1", kek, dek)
    HsmCheck(story.history).no_undecryptable_data()


def test_unwrapped_key_can_be_unwrapped_again(tell):
    """Its blob came from elsewhere, and the wrapping key is still there."""
    story = tell()
    kek = story.create("kek")
    dek = story.create("dek", name="unwrap_key", under=kek, on=["hsm-1"])
    story.encrypt(dek)
    story.destroy("hsm-1", kek, dek)
    HsmCheck(story.history).no_undecryptable_data()


def test_unwrap_that_names_its_wrapping_key_in_its_arguments_counts_too(tell):
    """However the journal says it."""
    story = tell()
    kek = story.create("kek")
    op = story.invoke("unwrap_key", label="dek", args=(kek,))
    dek = story.born("dek", ["hsm-1"], name="unwrap_key", op=op)
    story.end(op, keys=(dek,))
    story.encrypt(dek)
    story.destroy("hsm-1", kek, dek)
    HsmCheck(story.history).no_undecryptable_data()


def test_data_under_a_key_that_no_event_made_is_not_judged(tell):
    """A foreign handle: nothing is known of its material."""
    story = tell()
    story.encrypt("key-99")
    HsmCheck(story.history).no_undecryptable_data(shredded=True)


def test_wrapped_key_is_as_good_as_held(tell):
    """Data key lost, wrapped key there, wrapping key held."""
    story = tell()
    kek, dek = story.create("kek"), story.create("dek", on=["hsm-1"])
    story.wrap(dek, under=kek)
    story.encrypt(dek)
    story.destroy("hsm-1", kek, dek)
    HsmCheck(story.history).no_undecryptable_data(shredded=True)


def test_key_restored_from_a_backup_opens_its_data_again(tell):
    """A new HSM came up with it."""
    story = tell("hsm-1", "hsm-2")
    key = story.create(on=["hsm-1"])
    story.encrypt(key)
    story.destroy("hsm-1", key)
    with pytest.raises(AssertionError):
        HsmCheck(story.history).no_undecryptable_data()
    story.state("hsm-3", "joining")
    story.held(key, "hsm-3", "restore")
    story.state("hsm-3", "joined")
    HsmCheck(story.history).no_undecryptable_data()


def test_encrypt_that_was_not_ok_made_nothing(tell):
    """Nobody has the ciphertext."""
    story = tell()
    key = story.create(on=["hsm-1"])
    story.encrypt(key, outcome="info")
    story.destroy("hsm-1", key)
    HsmCheck(story.history).no_undecryptable_data()


def test_data_under_a_public_key_of_somebody_else_is_not_ours_to_open(tell):
    """The private half never was in this cluster."""
    story = tell()
    public = story.create("partner", name="import_key", cls="public", key_kind="RSA", on=["hsm-1"])
    story.encrypt(public)
    story.destroy("hsm-1", public)
    HsmCheck(story.history).no_undecryptable_data(shredded=True)
