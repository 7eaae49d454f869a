"""Are session keys caught that moved or outlived their session, and only those?"""

import pytest

from pytest_hsmcluster.checkers.check import HsmCheck
from pytest_hsmcluster.checkers.isolation import stray_session_keys
from pytest_hsmcluster.checkers.verdict import Finding

MS = 1_000_000


def strays(story):
    return stray_session_keys(HsmCheck(story.history).facts())


def test_session_key_on_a_second_hsm_has_strayed_for_ever(tell):
    """Once is enough, also when the copy is gone again."""
    story = tell()
    key = story.create("tmp", ["hsm-2"], token=False)
    story.held(key, "hsm-1", "sweep", source="hsm-2")
    story.gone(key, "hsm-1", "session_end")

    assert strays(story) == [
        Finding(
            check="session_keys_stay_put",
            key="key-1",
            label="tmp",
            handle=262144,
            hsms=("hsm-1", "hsm-2"),
            since_ns=4 * MS,
            cause="made on hsm-2, and came to hsm-1 too",
        )
    ]
    with pytest.raises(
        AssertionError, match=r"^stray session key 'tmp' \(key-1, handle 262144\) on hsm-1, hsm-2 since"
    ):
        HsmCheck(story.history).session_keys_stay_put()


def test_session_key_that_survives_a_crash_outlived_its_session(tell):
    """Session keys do not survive a power-off."""
    story = tell()
    story.create("tmp", ["hsm-2"], token=False)
    story.crash("hsm-2")
    story.restart("hsm-2")
    [stray] = strays(story)
    assert (stray.hsms, stray.since_ns) == (("hsm-2",), 4 * MS)
    assert stray.cause == "hsm-2 went down at 0.004000 s, and the key is still there"


def test_session_key_that_goes_too_late_outlived_its_session(tell):
    """Gone an instant after the logout is too late."""
    story = tell()
    key = story.create("tmp", ["hsm-2"], token=False)
    story.logout()
    story.gone(key, "hsm-2", "session_end")
    [stray] = strays(story)
    assert stray.cause == "app logged out at 0.004000 s, and the key stayed until 0.006000 s"


def test_session_key_of_a_dead_application_outlived_its_session(tell):
    """An application that died has no sessions."""
    story = tell()
    key = story.create("tmp", ["hsm-2"], token=False)
    story.use(key, outcome="info", error="ApplicationDied")
    [stray] = strays(story)
    assert (stray.since_ns, stray.cause) == (5 * MS, "app died at 0.005000 s, and the key is still there")


def test_first_end_of_a_session_counts(tell):
    """Logged out, and then the HSM went off: the logout was the end."""
    story = tell()
    key = story.create("tmp", ["hsm-2"], token=False)
    story.logout()
    story.crash("hsm-2", [key])
    [stray] = strays(story)
    assert stray.cause == "app logged out at 0.004000 s, and the key stayed until 0.006000 s"


def test_session_goes_on_until_the_logout_is_carried_out(tell):
    """A request on its way ends nothing, and no other command does."""
    story = tell()
    story.create("tmp", ["hsm-2"], token=False)
    for point, command in (("hsm.receive", "logout"), ("hsm.reply", "sign")):
        story.write("reach", op=2, point=point, name=command, command=command, hsm="hsm-2", client="app", user="u")
    HsmCheck(story.history).session_keys_stay_put()


def test_session_key_that_ends_with_its_session_is_fine(tell):
    """Gone before the answer to the logout leaves, by the process that the application is by now."""
    story = tell()
    key = story.create("tmp", ["hsm-2"], token=False)
    story.use(key, outcome="info")
    story.logout(keys=[(key, "hsm-2")], client="app#2")
    HsmCheck(story.history).session_keys_stay_put()


def test_session_key_that_goes_with_its_hsm_is_fine(tell):
    """In the instant of the power-off, or with an HSM that is lost."""
    story = tell()
    first = story.create("one", ["hsm-2"], token=False)
    story.crash("hsm-2", [first])
    story.restart("hsm-2")
    second = story.create("two", ["hsm-1"], token=False)
    story.create("three", ["hsm-3"], token=False)
    story.destroy("hsm-1", second)
    story.destroy("hsm-3")
    story.invoke("sign", None)
    HsmCheck(story.history).session_keys_stay_put()


def test_session_keys_of_others_survive_a_logout(tell):
    """Another application's session goes on."""
    story = tell()
    story.create("tmp", ["hsm-2"], token=False, client="other")
    story.logout()
    HsmCheck(story.history).session_keys_stay_put()


def test_session_on_an_hsm_that_the_logout_did_not_reach_goes_on(tell):
    """Only an HSM that carried the logout out has ended the session."""
    story = tell()
    story.create("tmp", ["hsm-2"], token=False)
    story.logout(["hsm-1", "hsm-3"])
    HsmCheck(story.history).session_keys_stay_put()


def test_session_key_of_the_next_session_is_fine(tell):
    """Made after the logout, the crash and the death."""
    story = tell()
    story.logout()
    story.crash("hsm-2")
    story.restart("hsm-2")
    story.end(story.invoke("login"), "info", error="ApplicationDied")
    story.create("tmp", ["hsm-2"], token=False)
    HsmCheck(story.history).session_keys_stay_put()


def test_twin_imports_on_two_hsms_are_two_keys(tell):
    """Equal material, but two births."""
    story = tell()
    story.create("tmp", ["hsm-1"], name="import_key", token=False, mat="mat-1")
    story.create("tmp", ["hsm-2"], name="import_key", token=False, mat="mat-1")
    HsmCheck(story.history).session_keys_stay_put()


def test_token_keys_go_everywhere(tell):
    """Copies of token keys are what a cluster is for."""
    story = tell()
    story.create()
    story.crash("hsm-1")
    HsmCheck(story.history).session_keys_stay_put()
