"""Is a create `fail` only if it certainly left nothing behind?"""

import warnings

import pytest

from pytest_hsmcluster import ClusterError, ConfigWarning, UsageError

POINTS = (
    *("client.send", "wire.request", "hsm.receive", "hsm.authorize", "hsm.execute"),
    *("hsm.commit", "hsm.reply", "wire.response", "client.receive"),
)
EFFECTS = ("drop", "corrupt", "fail CKR_DEVICE_ERROR", "crash here", "destroy here", "delay 30s")
COMMANDS = ("generate_key", "extract_masked", "insert_masked", "delete_key", "tombstone_key")


def told(app):
    """Return what an application is told of a create: ok, fail or info."""
    try:
        app.generate_key("AES", 256, label="k")
    except ClusterError as error:
        return error.outcome
    return "ok"


@pytest.mark.parametrize("sdk", [3, 5])
@pytest.mark.parametrize("point", POINTS)
def test_a_create_that_certainly_failed_leaves_no_key(make, point, sdk):
    """One fault at any rung of any of its commands; then whatever is under way comes to its end."""
    for effect in EFFECTS:
        for command in COMMANDS:
            # Of two HSMs both are needed, so that one missing copy is enough to fail.
            shape = {"create_object_minimum_nodes": 2} if sdk == 3 else {}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConfigWarning)
                cluster = make(2, sdk=sdk, **shape)
            app = cluster.client()
            try:
                cluster.chaos.inject(f"{effect} @ {point} command={command} nth=1", may_miss=True)
            except UsageError:
                continue  # this point cannot take it
            if command in ("delete_key", "tombstone_key"):
                cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.commit command=insert_masked")
            if command == "tombstone_key":
                cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.commit command=delete_key")
            outcome = told(app)
            cluster.clock.run_until_idle()
            left = [hsm.id for hsm in cluster.service.hsms.values() if hsm.keys]
            assert outcome != "fail" or left == [], (effect, command)
            assert outcome != "ok" or left != [], (effect, command)


@pytest.mark.parametrize("wrong", [0, 4, -1, "2", 1.5, True])
def test_a_number_of_copies_that_cannot_be_is_refused_with_what_is_allowed(make, wrong):
    with pytest.raises(UsageError, match=r"create_object_minimum_nodes is .*allowed: an integer, 1…3"):
        make(create_object_minimum_nodes=wrong)
    with pytest.raises(UsageError, match=r"min_srv is .*allowed: an integer, 1…3"):
        make().client().generate_key("AES", 256, min_srv=wrong)


def test_as_many_copies_as_hsms_is_accepted_with_a_warning_that_says_why(make):
    why = r"documented maximum is 2, one fewer than the HSMs: .*no key can be created while one HSM is down"
    with pytest.warns(ConfigWarning, match=why):
        make(create_object_minimum_nodes=3)
    with pytest.warns(ConfigWarning, match=why):
        make().client().generate_key("AES", 256, min_srv=3)
