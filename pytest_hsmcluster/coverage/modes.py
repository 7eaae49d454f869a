"""Which failures of a cluster are written down, by whom, and how is each met?

The catalogue of fault coverage.  Tags of sources are explained in `docs/fidelity.md`.
"""

from functools import partial
from typing import Any

from ..checkers.operation import CREATES
from . import recognition as seen
from .evidence import Evidence
from .mode import ASKED, CHANGES, SHARES, USES, Mode, Said

_ALL = (*ASKED, "login", "logout")
_TOLD = (*ASKED, "login")
_CHANGING = (*CREATES, *CHANGES)


def _group(group: str, **common: Any) -> "partial[Mode]":
    return partial(Mode, group=group, **common)


_confirmed, _reported, _inferred = partial(Said, "confirmed"), partial(Said, "field report"), partial(Said, "inferred")

_made = _group("making keys", operations=CREATES, token=True)
_told = _group("answers", operations=_ALL)
_used = _group("the HSM that is asked", operations=USES, token=True, several=True)
_short = _group("fewer HSMs", operations=_ALL, several=True)
_changed = _group("changed keys", token=True, several=True)
_found = _group("looking for keys", operations=("find_keys",))
_login = _group("logging in", operations=("login",))


def _missed_sdk3(one: Evidence) -> bool:
    return one.sdk == 3 and seen.missed(one)


def _missed_sdk5(one: Evidence) -> bool:
    return one.sdk == 5 and seen.missed(one)


MODES: tuple[Mode, ...] = (
    _made(
        name="maker-dies-alone",
        meaning="the HSM that made the key goes before any other has a copy",
        said=_confirmed("KS-old"),
        how="kill-mid-create",
        met=seen.maker_dies_alone,
        several=True,
    ),
    _made(
        name="maker-dies-later",
        meaning="the HSM that made the key goes during the create, when another has a copy",
        said=_confirmed("UG:concepts-key-sync"),
        how="kill-mid-create after_copies=2",
        met=seen.maker_dies_later,
        several=True,
    ),
    _made(
        name="on-one-hsm",
        meaning="the create is ok with the key on one HSM only (minimum 1, or the check is off)",
        said=_confirmed("KS-old"),
        how="fail-clone",
        met=seen.on_one_hsm,
        guarded=False,
        several=True,
    ),
    _made(
        name="copies-missing",
        meaning="the create is ok and an HSM that is up lacks the key, because its copy failed",
        said=_confirmed("KS-old"),
        how="fail-clone hsm-3",
        met=seen.copies_missing,
        several=True,
    ),
    _made(
        name="too-few-copies",
        meaning="the create reaches fewer HSMs than create_object_minimum_nodes and fails",
        said=_confirmed("KS-old", "UG:working-client-sync"),
        how="fail-clone",
        met=seen.too_few_copies,
        sdks=(3,),
        guarded=True,
    ),
    _made(
        name="leftover-marked",
        meaning="a leftover of a failed create cannot be deleted and is only tombstoned",
        said=_confirmed("UG:ts-client-sync-fail"),
        how="fail-clone; fail CKR_DEVICE_ERROR @ hsm.authorize command=delete_key",
        met=seen.leftover_marked,
        sdks=(3,),
        guarded=True,
    ),
    _made(
        name="orphan-left",
        meaning="a leftover of a failed create can be neither deleted nor tombstoned",
        said=_confirmed("UG:ts-client-sync-fail"),
        how="fail-cleanup",
        met=seen.orphan_left,
        sdks=(3,),
        guarded=True,
    ),
    _made(
        name="check-refused",
        meaning="SDK 5's availability check refuses the key: it is on fewer than two HSMs",
        said=_confirmed("UG:concepts-key-sync", "UG:troubleshoot-key-availability-check"),
        how="fail-clone; stall-sync. For a use: a new process when one HSM is left",
        met=seen.check_refused,
        operations=(*CREATES, *USES),
        sdks=(5,),
        guarded=True,
    ),
    _made(
        name="made-during-join",
        meaning="a key is made while an HSM joins, which gets no copy",
        said=_reported("PIX"),
        how="replaced-hsm hsm-3",
        met=seen.made_during_join,
        several=True,
    ),
    _made(
        name="hsm-full",
        meaning="the HSM holds as many keys as it can",
        said=_confirmed("UG:ki-all", "UG:limits"),
        how="full-hsm hsm-1",
        met=seen.hsm_full,
        token=None,
    ),
    _told(
        name="time-out",
        meaning="an HSM does not answer in time",
        said=_reported("PIX", "AUTO#244"),
        how="gray-failure hsm-1",
        met=seen.timed_out,
    ),
    _told(
        name="connection-lost",
        meaning="an HSM closes the connection, or refuses one, while it is asked for something",
        said=_confirmed("UG:bp-cluster-management", "JCE#62"),
        how="crash here @ hsm.execute nth=1",
        met=seen.connection_lost,
    ),
    _told(
        name="answer-lost",
        meaning="something is made or changed, and the answer never comes",
        said=_reported("AUTO#244"),
        how="lost-ack generate_key",
        met=seen.answer_lost,
        operations=_CHANGING,
    ),
    _told(
        name="done-late",
        meaning="a request is carried out after the client has given up waiting",
        said=_inferred("AUTO#244"),
        how="delay 60s @ wire.request command=generate_key nth=1",
        met=seen.done_late,
        operations=_CHANGING,
    ),
    _told(
        name="error-though-done",
        meaning="an error is answered, and the key is made or changed all the same",
        said=_reported("CRYPTO11#105"),
        how="fail CKR_FUNCTION_FAILED @ hsm.reply command=generate_key nth=1",
        met=seen.error_though_done,
        operations=_CHANGING,
    ),
    _told(
        name="half-done",
        meaning="a delete, a share or a change is done on some HSMs and fails on others",
        said=_confirmed("UG:cloudhsm_mgmt_util-shareKey", "UG:cloudhsm_mgmt_util-setAttribute"),
        how="fail CKR_DEVICE_ERROR @ hsm.execute command=delete_key hsm=hsm-2",
        met=seen.half_done,
        operations=CHANGES,
        several=True,
    ),
    _told(
        name="busy",
        meaning="an HSM is too busy (0xBB), also where the SDK tries again by itself",
        said=_confirmed("UG:troubleshoot-hsm-throttling", "UG:pkcs11-library-configs-retry"),
        how="fail 0xBB @ hsm.receive nth=1",
        met=seen.busy,
    ),
    _told(
        name="busy-told",
        meaning="an HSM stays too busy, and the application is told",
        said=_confirmed("UG:troubleshoot-hsm-throttling"),
        how="throttled hsm-1",
        met=seen.busy_told,
        operations=_TOLD,
    ),
    _told(
        name="single-error",
        meaning="an HSM fails one request for reasons of its own: a backup, maintenance",
        said=_confirmed("UG:ki-hsm2m-medium"),
        how="fail CKR_GENERAL_ERROR @ hsm.execute nth=1",
        met=seen.single_error,
        operations=_TOLD,
    ),
    _told(
        name="all-unreachable",
        meaning="no HSM can be reached",
        said=_confirmed("JCEEX", "UG:bp-application-integration"),
        how="crashed-hsm, for each of them",
        met=seen.all_unreachable,
        operations=_TOLD,
    ),
    _told(
        name="slow",
        meaning="the call takes more than a second, however it ends; SDK 5's check takes 87 s",
        said=_reported("PIX"),
        how="delay 2s @ hsm.execute nth=1",
        met=seen.slow,
    ),
    _told(
        name="application-died",
        meaning="the application's own process, or its client, ends in the middle",
        said=_inferred("JCEEX", "P11EX"),
        how="crash @ client.receive nth=1",
        met=seen.application_died,
    ),
    _used(
        name="missed-sdk3",
        meaning="the call goes to an HSM without the key: CKR_OBJECT_HANDLE_INVALID, 0xA8",
        said=_confirmed("KS-old", "MIEKG#112"),
        how="fail-clone hsm-3; stall-sync; routed-to hsm-3",
        met=_missed_sdk3,
        sdks=(3,),
    ),
    _used(
        name="missed-sdk5",
        meaning="the call goes to an HSM without the key: CKR_KEY_HANDLE_INVALID",
        said=_inferred("UG:concepts-key-sync"),
        how="fail-clone hsm-3; stall-sync; routed-to hsm-3",
        met=_missed_sdk5,
        sdks=(5,),
    ),
    _used(
        name="missed-on-new-hsm",
        meaning="the call goes to an HSM that joined from a snapshot without the key",
        said=_reported("UG:add-remove-hsm", "PIX"),
        how="replaced-hsm hsm-3; stall-sync; make the key meanwhile",
        met=seen.missed_on_new_hsm,
    ),
    _used(
        name="not-yet-everywhere",
        meaning="the key is used while an HSM that is up lacks it: the sweep is still to come",
        said=_confirmed("KS-old"),
        how="fail-clone hsm-3; stall-sync",
        met=seen.not_yet_everywhere,
    ),
    _used(
        name="key-lost",
        meaning="no HSM has the key any more, and nobody has deleted it",
        said=_confirmed("KS-old"),
        how="kill-mid-create, with a minimum of 1",
        met=seen.key_lost,
    ),
    _used(
        name="key-deleted",
        meaning="the key was deleted by another process, before or meanwhile",
        said=_confirmed("UG:key_mgmt_util-deleteKey"),
        how="delete it through a second client",
        met=seen.key_deleted,
        operations=(*USES, *SHARES),
        several=False,
    ),
    _used(
        name="session-key-gone",
        meaning="a session key ended with its session or its HSM",
        said=_confirmed("P11EX", "JCEEX"),
        how="crash here @ hsm.execute nth=1, then use it again",
        met=seen.session_key_gone,
        token=False,
        several=False,
    ),
    _short(
        name="hsm-off",
        meaning="the call is made while an HSM is off or lost",
        said=_confirmed("UG:bp-cluster-management"),
        how="crashed-hsm hsm-3",
        met=seen.hsm_off,
    ),
    _short(
        name="last-hsm",
        meaning="the call is made when one HSM of several is left",
        said=_reported("PIX", "UG:troubleshoot-key-availability-check"),
        how="crashed-hsm, for all but one",
        met=seen.last_hsm,
    ),
    _changed(
        name="delete-missed",
        meaning="the delete is ok, and an HSM that it did not reach keeps the key",
        said=Said("guess"),
        how="crashed-hsm hsm-3",
        met=seen.delete_missed,
        operations=("delete_key",),
    ),
    _changed(
        name="change-missed",
        meaning="a share or a change is ok, and an HSM that it did not reach keeps the old state",
        said=_confirmed("UG:cloudhsm_mgmt_util-shareKey", "UG:cloudhsm_mgmt_util-setAttribute"),
        how="crashed-hsm hsm-3",
        met=seen.change_missed,
        operations=SHARES,
    ),
    _changed(
        name="copies-differ",
        meaning="the key is used while its copies differ in shares or attributes",
        said=_confirmed("UG:cloudhsm_mgmt_util-shareKey", "UG:cloudhsm_mgmt_util-setAttribute"),
        how="share it while an HSM is off, then use it",
        met=seen.copies_differ,
        operations=(*USES, *SHARES),
    ),
    _changed(
        name="came-back",
        meaning="a deleted key is there again: an HSM that missed the delete has brought it",
        said=Said("guess"),
        how="delete it while an HSM is off, switch that on, sweep_now()",
        met=seen.came_back,
        operations=(*USES, "find_keys"),
        token=None,
    ),
    _found(
        name="find-incomplete",
        meaning="a find by label does not show a key that only unreachable HSMs have",
        said=_inferred("UG:bp-application-integration"),
        how="fail-clone, with a minimum of 1; crashed-hsm hsm-1",
        met=seen.find_incomplete,
        several=True,
    ),
    _found(
        name="find-twins",
        meaning="a find shows two keys of one label and kind: labels are not unique",
        said=_confirmed("UG:java-lib-keys_5"),
        how="lost-ack generate_key, and make it again",
        met=seen.find_twins,
    ),
    _found(
        name="find-orphan",
        meaning="a find shows a key whose create failed, or nobody knows",
        said=_confirmed("UG:ts-client-sync-fail", "CRYPTO11#105"),
        how="lost-ack generate_key, and look for it",
        met=seen.find_orphan,
    ),
    _login(
        name="login-lost",
        meaning="the login ended with the last connection, or with the HSM's restart",
        said=_confirmed("UG:bp-application-integration"),
        how="crashed-hsm for each of them, restart, wait 3 s",
        met=seen.login_lost,
        operations=(*ASKED, "logout"),
    ),
    _login(
        name="account-drifted",
        meaning="the account is missing, locked or another on one HSM: the login depends on which",
        said=_confirmed("UG:troubleshooting-keep-hsm-users-in-sync", "AZURE"),
        how="user-drift hsm=hsm-1 user=crypto_user",
        met=seen.account_drifted,
        several=True,
    ),
    _login(
        name="account-locked",
        meaning="the account is locked after too many bad passwords on that HSM",
        said=_confirmed("UG:key_mgmt_util-loginHSM"),
        how="fail AccountLocked @ hsm.authorize command=login",
        met=seen.account_locked,
    ),
    _login(
        name="login-refused",
        meaning="user or password are refused",
        said=_confirmed("UG:interpreting-audit-logs"),
        how="fail LoginFailed @ hsm.authorize command=login",
        met=seen.login_refused,
    ),
    _login(
        name="sessions-used-up",
        meaning="the HSM takes no more sessions",
        said=_confirmed("UG:ki-jce-sdk", "CRYPTO11"),
        how="fail SessionLimitReached @ hsm.authorize command=login",
        met=seen.sessions_used_up,
    ),
)
"""All modes, in the order of tables."""
