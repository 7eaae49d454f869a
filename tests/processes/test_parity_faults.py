"""Do single faults do to HSM processes what they do to simulated HSMs?"""

import pytest

from pytest_hsmcluster.cryptoki import CKA
from pytest_hsmcluster.faults.points import Point
from tests.processes.parity import assert_alike

SDKS = {3: {"sdk": 3, "create_object_minimum_nodes": 2}, 5: {"sdk": 5}}
ARGUMENTS = {
    "delay": ("2s",),
    "fail": ("CKR_DEVICE_ERROR",),
    "crash": ("", "hsm-2", "source"),
    "destroy": ("", "source"),
    "corrupt": ("", "payload"),
}

CLEANS_UP_A_SILENT_HSM = "pause @ hsm.commit"
"""As `test_paused_process_takes_no_new_connection` (`test_parity_differences`): the cleanup of a refused create comes
to a stopped process over a new connection and is never carried out; in a simulation it waits until the HSM goes on."""


def strikes():
    """Return every effect at every point that takes it, as specs without a condition."""
    return [
        " ".join(filter(None, (effect, argument, "@", point)))
        for point in Point
        for effect in point.effects
        for argument in ARGUMENTS.get(effect, ("",))
        if not (point is Point.CLIENT_ROUTE and argument == "source")
    ]


def worked(spec):
    """Return a tale of work during which a fault strikes."""

    def tell(on):
        app = on.app()
        first = on(app.generate_key, "AES", 256, label="first")
        with on.chaos.inject(spec, may_miss=True) as injection:
            key = on(app.generate_key, "AES", 256, label="second")
            on(app.sign, first, b"data")
            on(app.set_attribute, first, CKA.LABEL, "renamed")
            on(app.find_keys)
            on(app.delete_key, first)
            on(on.cluster.sweep_now)
            on(on.chaos.crash, "hsm-3")
            on(on.chaos.restart, "hsm-3")
            on.note("hits", injection.hits)
            injection.release()
            on.settle()
        on(app.find_keys)
        if key:
            on(app.sign, key, b"data")

    return tell


@pytest.mark.parametrize("spec", [f"{spec} nth=1" for spec in strikes()])
def test_every_effect_at_every_point(spec):
    """Once, with SDK 3 and a minimum of two: the same to the application and the same on every HSM."""
    assert_alike(worked(spec), request_timeout_s=10, **SDKS[3])


@pytest.mark.parametrize(
    "spec",
    [
        f"{spec} nth=2"
        for spec in strikes()
        if ("@ client." in spec or "@ hsm.commit" in spec) and spec != CLEANS_UP_A_SILENT_HSM
    ],
)
def test_effects_on_the_availability_check(spec):
    """The second passage, with SDK 5: mostly within the copying of a key."""
    assert_alike(worked(spec), request_timeout_s=10, **SDKS[5])


@pytest.mark.parametrize(
    "spec",
    [
        "fail CKR_DEVICE_ERROR @ hsm.execute",
        "fail 0xBB @ hsm.authorize nth=2",
        "fail KeyNotOnHsm @ hsm.execute command=sign",
        "fail CKR_FUNCTION_FAILED @ hsm.reply op=generate_key command=insert_masked nth=1",
        "fail RequestTimeout @ hsm.receive nth=3",
        "fail NotLoggedIn @ hsm.authorize command=sign nth=1",
        "fail CKR_DEVICE_ERROR @ hsm.commit nth=2 per=op",
        "fail CKR_DEVICE_ERROR @ hsm.execute nth=1 per=hsm",
        "fail CKR_DEVICE_ERROR @ hsm.execute nth=2 per=client",
        "fail CKR_DEVICE_ERROR @ hsm.commit nth=1 per=key",
        "fail CKR_DEVICE_ERROR @ hsm.commit hsm=hsm-2",
        "fail CKR_DEVICE_ERROR @ hsm.commit hsm=hsm-* nth=2",
        "fail CKR_DEVICE_ERROR @ hsm.execute client=app nth=1",
        "fail CKR_DEVICE_ERROR @ hsm.execute client=somebody",
        "fail CKR_DEVICE_ERROR @ hsm.execute user=crypto_user nth=2",
        "fail CKR_DEVICE_ERROR @ hsm.execute key=first nth=1",
        "fail CKR_DEVICE_ERROR @ hsm.commit key=second nth=2",
        "fail CKR_DEVICE_ERROR @ hsm.execute chance=0.5",
        "fail CKR_DEVICE_ERROR @ hsm.execute during=0s..2h nth=4",
        "crash @ hsm.commit command=insert_masked hsm=hsm-3 nth=1",
        "crash hsm-1 @ hsm.reply command=delete_key nth=1",
        "destroy source @ hsm.commit command=insert_masked nth=1",
        "drop @ wire.response command=insert_masked nth=1",
        "drop @ wire.request command=delete_key nth=2",
        "corrupt payload @ wire.response command=extract_masked nth=1",
        "corrupt payload @ wire.request command=insert_masked nth=1",
        "corrupt @ wire.response command=generate_key nth=1",
        "pass @ hsm.commit",
        "delay 500ms @ hsm.reply nth=1 per=op",
        "hold @ wire.response command=generate_key nth=1",
        "hold @ hsm.execute command=insert_masked nth=1",
        "hold @ hsm.reply command=delete_key nth=1",
    ],
)
def test_conditions_choose_the_same_passage(spec):
    """Counting, by scope, by name and by lot: the same call is struck."""
    assert_alike(worked(spec), request_timeout_s=10, **SDKS[5 if "nth" in spec else 3])


def test_first_of_several_faults_wins_alike():
    """Those that count go on counting, and whoever never fired says so."""

    def tell(on):
        app = on.app()
        on.chaos.inject("pass @ hsm.execute command=sign")
        on.chaos.inject("fail 0xBB @ hsm.execute command=sign nth=2")
        on.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.execute command=sign nth=1")
        on.chaos.inject("drop @ wire.response command=random")
        on.chaos.install("lost-ack op=derive_key")
        key = on(app.generate_key, "AES", 256, label="key")
        for _ in range(4):
            on(app.sign, key, b"data")

    assert_alike(tell)


def test_two_applications_and_a_held_request():
    """While one waits within an HSM another works; what is released goes on, late."""

    def tell(on):
        app, other = on.app(), on.app("other")
        key = on(app.generate_key, "AES", 256, label="key")
        with on.chaos.inject("hold @ hsm.execute client=app") as held:
            on(app.set_attribute, key, CKA.LABEL, "late")
            on(other.get_attributes, key)
            on.note("hits", held.hits)
        on.settle()
        on(other.get_attributes, key)
        on(other.find_keys)

    assert_alike(tell, request_timeout_s=10)


def test_spoiled_answer_that_a_partition_swallows():
    """Nor does the end of its connection get through: the client waits until its deadline."""

    def tell(on):
        app = on.app()
        key = on(app.generate_key, "AES", 256, label="kek")
        on(on.chaos.partition, "hsm-1", "app", "one-way")
        with on.chaos.inject("corrupt @ wire.response command=sign hsm=hsm-1 nth=1") as injection:
            for _ in range(3):
                on(app.sign, key, b"data")
            on.note("hits", injection.hits)

    assert_alike(tell, request_timeout_s=10, **SDKS[3])
