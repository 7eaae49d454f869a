"""The audit log of each HSM."""

import pytest

from pytest_hsmcluster import LoginFailed
from pytest_hsmcluster.service.audit import RESPONSES, Opcode

NUMBERS = {
    "CN_INIT_TOKEN": 0x1,
    "CN_CREATE_USER": 0x3,
    "CN_CREATE_CO": 0x4,
    "CN_CHANGE_PSWD": 0x9,
    "CN_LOGIN": 0xD,
    "CN_LOGOUT": 0xE,
    "CN_DESTROY_OBJECT": 0x11,
    "CN_GENERATE_KEY_PAIR": 0x19,
    "CN_WRAP_KEY": 0x1A,
    "CN_EXTRACT_MASKED_OBJECT_USER": 0xF0,
    "CN_INSERT_MASKED_OBJECT_USER": 0xF1,
}


def opcodes(hsm):
    return [entry.opcode for entry in hsm.audit_log]


@pytest.mark.parametrize("name", NUMBERS)
def test_published_opcodes_have_their_numbers(name):
    """As the User Guide prints them."""
    (opcode,) = [one for one in Opcode if one.value[0] == name]

    assert opcode.value[1] == NUMBERS[name]


def test_unpublished_opcodes_have_no_number():
    """What is not known is not made up."""
    assert {one.value[0] for one in Opcode if one.value[1] is not None} == set(NUMBERS)


def test_token_key_leaves_generate_extract_and_inserts_of_one_handle(build):
    """On the source generate and extract, on each other HSM insert, all with the same handle."""
    cluster = build(3, routing="pinned", pinned_to="hsm-1")
    client = cluster.client()

    key = client.generate_key("AES", 256, label="k")

    one, two, three = cluster.hsms
    assert [(e.opcode, e.number) for e in one.audit_log[1:]] == [
        ("CN_GENERATE_KEY", None),
        ("CN_EXTRACT_MASKED_OBJECT_USER", 0xF0),
    ]
    for other in (two, three):
        assert [(e.opcode, e.number) for e in other.audit_log[1:]] == [("CN_INSERT_MASKED_OBJECT_USER", 0xF1)]
    assert {e.handles for hsm in cluster.hsms for e in hsm.audit_log[1:]} == {(key.number,)}
    assert {e.response for hsm in cluster.hsms for e in hsm.audit_log} == {0}


def test_insert_comes_tens_of_milliseconds_after_the_extract(build):
    """As in the documented sample."""
    cluster = build(2)
    cluster.client().generate_key("AES", 256, label="k")
    entries = {e.number: e.time_us for hsm in cluster.hsms for e in hsm.audit_log}

    assert 10_000 <= entries[0xF1] - entries[0xF0] < 100_000


def test_key_pair_has_the_documented_opcode(build):
    """CN_GENERATE_KEY_PAIR (0x19), with both handles."""
    cluster = build(1)
    pair = cluster.client().generate_key_pair("EC", "secp256r1", label="pair")

    entry = cluster.hsm("hsm-1").audit_log[-1]

    assert (entry.opcode, entry.number) == ("CN_GENERATE_KEY_PAIR", 0x19)
    assert entry.handles == (pair.public.number, pair.private.number)


def test_sweep_is_not_logged(build, partial):
    """What the service copies by itself is in no audit log."""
    cluster = build(3)
    _, key = partial(cluster)
    before = [opcodes(hsm) for hsm in cluster.hsms]

    assert cluster.sweep_now() == 2

    assert [opcodes(hsm) for hsm in cluster.hsms] == before
    assert all(key.number in hsm.keys for hsm in cluster.hsms)


def test_login_is_logged_on_every_hsm(build):
    """Login fans out."""
    cluster = build(3)
    cluster.client()

    for hsm in cluster.hsms:
        (entry,) = hsm.audit_log
        assert (entry.opcode, entry.number, entry.user) == ("CN_LOGIN", 0xD, cluster.default_user)


def test_refusal_is_logged_with_its_published_text(build):
    """A wrong password is 163 in the log, in decimal, with its words."""
    cluster = build(1)
    with pytest.raises(LoginFailed):
        cluster.client(login=False).login(cluster.default_user, "wrong-password")

    (entry,) = cluster.hsm("hsm-1").audit_log

    assert entry.response == 163
    assert "Response : 163:HSM Error: RET_USER_LOGIN_FAILURE" in str(entry)
    assert RESPONSES[0] == "HSM Return: SUCCESS"


def test_sequence_has_no_gaps_and_the_reboot_counter_counts(build):
    """From 0x0, across a restart."""
    cluster = build(1)
    client = cluster.client()
    client.generate_key("AES", 256, label="a")
    cluster.chaos.crash("hsm-1").end()
    cluster.clock.advance(10)
    cluster.client("again").generate_key("AES", 256, label="b")

    log = cluster.hsm("hsm-1").audit_log

    assert [entry.sequence for entry in log] == list(range(len(log)))
    assert [entry.reboots for entry in log] == [0, 0, 1, 1]
    assert [entry.time_us for entry in log] == sorted(entry.time_us for entry in log)


def test_stream_of_a_joined_hsm_starts_with_restore_events(build):
    """A new HSM has a new stream, which begins with the restore."""
    cluster = build(2)
    cluster.client().generate_key("AES", 256, label="k")

    cluster.chaos.replace("hsm-2")
    cluster.clock.advance(320)
    new = cluster.hsm("hsm-3")

    assert [(e.sequence, e.opcode) for e in new.audit_log[:2]] == [(0, "CN_RESTORE_BEGIN"), (1, "CN_RESTORE_END")]
    assert opcodes(cluster.hsm("hsm-1"))[-2:] == ["CN_BACKUP_BEGIN", "CN_BACKUP_END"]


def test_entries_show_the_fields_of_the_user_guide_and_no_secret(build):
    """Time, sequence, reboot counter, opcode, session, response, user, handle."""
    cluster = build(1)
    key = cluster.client().generate_key("AES", 256, label="k")

    text = str(cluster.hsm("hsm-1").audit_log[-1])

    assert "Sequence No : 0x1" in text
    assert "Reboot counter : 0x0" in text
    assert "Opcode : CN_GENERATE_KEY" in text
    assert "Response : 0:HSM Return: SUCCESS" in text
    assert f"User Name: {cluster.default_user}" in text
    assert f"Priv/Secret Key Handle: {key.number}" in text
    assert cluster.default_password not in "".join(map(str, cluster.hsm("hsm-1").audit_log))


def test_every_change_has_its_opcode(build):
    """Delete, share, change, wrap, unwrap, derive, import, tombstone: each is in the log."""
    from pytest_hsmcluster import CKA

    cluster = build(1)
    cluster.create_user("bob", "password1")
    cluster.create_user("boss", "password1", "CO")
    client = cluster.client()
    kek = client.generate_key("AES", 256, label="kek")
    dek = client.import_key("AES", bytes(range(32)), label="dek")
    blob = client.wrap_key(dek, with_key=kek)
    client.unwrap_key(blob, with_key=kek, kind="AES", label="again")
    client.share_key(kek, with_user="bob")
    client.unshare_key(kek, with_user="bob")
    client.set_attribute(kek, CKA.LABEL, "kek-2")
    client.delete_key(dek)
    client.logout()
    cluster.admin.change_password("bob", "password2")
    cluster.admin.delete_user("bob")

    assert opcodes(cluster.hsm("hsm-1")) == [
        "CN_CREATE_USER",
        "CN_CREATE_CO",
        "CN_LOGIN",
        "CN_GENERATE_KEY",
        "CN_CREATE_OBJECT",
        "CN_WRAP_KEY",
        "CN_UNWRAP_KEY",
        "CN_SHARE_OBJECT",
        "CN_SHARE_OBJECT",
        "CN_MODIFY_OBJECT",
        "CN_DESTROY_OBJECT",
        "CN_LOGOUT",
        "CN_CHANGE_PSWD",
        "CN_DELETE_USER",
    ]
