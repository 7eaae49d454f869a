"""Does an application of the PKCS #11 library notice that the HSMs are processes?"""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_hsmcluster import CKM
from tests.pkcs11.ckcalls import CkError, mechanism
from tests.processes.killing import kill

if not sys.platform.startswith("linux"):
    pytest.skip("processes need Linux", allow_module_level=True)
pytest.importorskip("msgspec", reason='python -m pip install "pytest-hsmcluster[processes]"')

pytestmark = pytest.mark.hsm_cluster(network="processes", clock_rate=20)
CMAC = mechanism(CKM.AES_CMAC)


def test_python_pkcs11(hsm_pkcs11, hsm_cluster, hsm_chaos):
    """Generate, find, encrypt, sign, wrap, unwrap, delete; one HSM is killed in the middle, and comes back."""
    pkcs11 = pytest.importorskip("pkcs11", reason="pip install python-pkcs11")
    from pkcs11.util.ec import encode_named_curve_parameters

    token = pkcs11.lib(hsm_pkcs11.module).get_token(token_label=hsm_pkcs11.token_label)
    with token.open(user_pin=hsm_pkcs11.user_pin, rw=True) as session:
        session.generate_key(pkcs11.KeyType.AES, 256, label="kek", store=True)
        [kek] = session.get_objects({pkcs11.Attribute.LABEL: "kek"})
        box = kek.encrypt(b"attack at dawn", mechanism_param=bytes(16))
        with hsm_chaos.crash("hsm-1"):
            assert kek.decrypt(box, mechanism_param=bytes(16)) == b"attack at dawn"
            curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
            parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
            public, private = parameters.generate_keypair(store=True, label="signer")
        hsm_cluster.sweep_now()
        signature = private.sign(b"I owe you", mechanism=pkcs11.Mechanism.ECDSA_SHA256)
        assert public.verify(b"I owe you", signature, mechanism=pkcs11.Mechanism.ECDSA_SHA256)
        assert [len(hsm.keys) for hsm in hsm_cluster.hsms] == [3, 3, 3]
        kek.destroy()
        assert [*session.get_objects({pkcs11.Attribute.LABEL: "kek"})] == []


def test_pykcs11(hsm_pkcs11, hsm_cluster, hsm_chaos):
    """It keeps the GIL inside the library, and HSMs answer all the same; one is killed from outside."""
    PyKCS11 = pytest.importorskip("PyKCS11", reason="pip install PyKCS11")
    library = PyKCS11.PyKCS11Lib()
    library.load(hsm_pkcs11.module)
    session = library.openSession(hsm_pkcs11.slot_id, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
    session.login(hsm_pkcs11.user_pin)
    template = [
        (PyKCS11.CKA_CLASS, PyKCS11.CKO_SECRET_KEY),
        (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_AES),
        (PyKCS11.CKA_VALUE_LEN, 32),
        (PyKCS11.CKA_TOKEN, PyKCS11.CK_TRUE),
        (PyKCS11.CKA_LABEL, "kek"),
        (PyKCS11.CKA_ENCRYPT, PyKCS11.CK_TRUE),
        (PyKCS11.CKA_DECRYPT, PyKCS11.CK_TRUE),
    ]
    key = session.generateKey(template, PyKCS11.MechanismAESGENERATEKEY)
    cbc = PyKCS11.Mechanism(PyKCS11.CKM_AES_CBC_PAD, bytes(16))
    box = session.encrypt(key, b"attack at dawn", cbc)
    os.kill(hsm_cluster.hsm("hsm-1").pid, signal.SIGKILL)
    answers, refusals = [], []
    while len(answers) < 3 or hsm_cluster.hsm("hsm-1").alive:  # until that is noticed
        try:
            answers.append(bytes(session.decrypt(key, box, cbc)))
        except PyKCS11.PyKCS11Error as error:
            refusals.append(error.value)
    assert {*answers} == {b"attack at dawn"}
    assert refusals in ([], [PyKCS11.CKR_DEVICE_ERROR])  # a call may have been under way there
    assert [hsm.state for hsm in hsm_cluster.hsms] == ["down", "up", "up"]
    session.logout()
    library.unload()


@pytest.mark.parametrize("killed", [False, True])
def test_session_keys_end_with_their_session(ck, session, hsm_pkcs11, hsm_cluster, killed):
    """The next create brings the end, over the private pipe; an HSM that was killed has only what is on its disk."""
    home = ck.open(hsm_pkcs11.slot_id)
    ck.aes(home, "tmp", TOKEN=False)
    ck.aes(session, "kek")
    assert [len(hsm.keys) for hsm in hsm_cluster.hsms] == [2, 1, 1]
    ck.ok("C_CloseSession", home)
    if killed:
        kill(hsm_cluster, "hsm-1")
    ck.aes(session, "dek")
    assert [len(hsm.keys) for hsm in hsm_cluster.hsms] == ([1, 2, 2] if killed else [2, 2, 2])


# -- the same return values ----------------------------------------------------------------------------


@contextmanager
def nothing_wrong(chaos):
    yield


TROUBLES = {
    "nothing": nothing_wrong,
    "routing miss": lambda chaos: chaos.route_to("hsm-3", next=9),
    "busy": lambda chaos: chaos.install("throttled hsm-1"),
    "killed as it executes": lambda chaos: chaos.install("crash @ hsm.execute nth=1"),
    "no answer": lambda chaos: chaos.install("drop @ wire.response nth=1"),
    "garbled": lambda chaos: chaos.install("corrupt @ wire.request nth=1"),
    "an error of the HSM": lambda chaos: chaos.install("fail CKR_DEVICE_MEMORY @ hsm.execute nth=1"),
    "silent": lambda chaos: chaos.install("gray-failure hsm-1"),
    "parted": lambda chaos: chaos.install("partition a=hsm-1 b=app"),
    "full": lambda chaos: chaos.install("full-hsm hsm-1"),
    "all off": lambda chaos: chaos.install("az-outage a"),
}


def return_values(ck, door, slot, cluster, trouble):
    """Return what an application is told while there is trouble, and once it is over."""
    told = []

    def call(do):
        try:
            told.append(type(do()).__name__)
        except CkError as error:
            told.append(str(error))

    session = ck.open(slot)
    ck.login(session, f"{cluster.default_user}:{cluster.default_password}")
    with cluster.chaos.fail_clone("hsm-3"):
        key = ck.aes(session, "kek")
    with TROUBLES[trouble](cluster.chaos):
        for label in ("a", "b"):
            call(lambda: ck.once(session, "Sign", CMAC, key, b"data"))
            call(lambda label=label: ck.aes(session, label))
            call(lambda: ck.find(session, {3: "kek"}))
    cluster.chaos.undo_all()
    cluster.clock.advance(2)
    call(lambda: ck.once(session, "Sign", CMAC, key, b"data"))
    return told


@pytest.mark.hsm_cluster(sweep=False, routing="pinned", checks=(), reconnect_interval_s=1, request_timeout_s=10)
@pytest.mark.parametrize("sdk", [pytest.param(sdk, marks=pytest.mark.hsm_cluster(sdk=sdk)) for sdk in (3, 5)])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_return_values_are_those_of_the_simulated_network(ck, hsm_pkcs11, hsm_cluster_factory, sdk, trouble):
    """Whatever goes wrong on the way or there, the application is told the same."""
    told = []
    for network in ("simulated", "processes"):
        cluster = hsm_cluster_factory(network=network)
        told.append(return_values(ck, hsm_pkcs11, [*hsm_pkcs11.slots][-1], cluster, trouble))
    assert told[0] == told[1]


# -- applications in processes of their own --------------------------------------------------------------


@pytest.mark.parametrize("pace", ["calls", "wall"])
def test_pkcs11_tool(hsm_pkcs11, hsm_cluster, hsm_chaos, tmp_path, pace):
    """OpenSC's tool finds the library by its environment; what it made outlives an HSM's process, at either pace."""
    hsm_pkcs11.pace = pace
    path = shutil.which("pkcs11-tool")
    if path is None:
        pytest.skip("there is no pkcs11-tool here: apt-get install opensc")

    def tool(*words):
        __tracebackhide__ = True  # a traceback would show the PIN
        command = [path, "--module", hsm_pkcs11.module, "--login", "--pin", "env:HSM_PIN", "--session-rw", *words]
        environment = {**os.environ, "LC_ALL": "C", **hsm_pkcs11.env, "HSM_PIN": hsm_pkcs11.user_pin}
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    hidden = ("--sensitive", "--private")
    tool("--keygen", "--key-type", "AES:32", "--label", "kek", "--id", "01", "--usage-decrypt", *hidden)
    hsm_chaos.crash("hsm-1")
    (tmp_path / "data").write_bytes(b"attack at dawn")
    cbc = ("-m", "AES-CBC-PAD", "--iv", "00" * 16, "--id", "01")
    tool("--encrypt", *cbc, "-i", "data", "-o", "box")
    hsm_chaos.restart("hsm-1")
    hsm_chaos.destroy("hsm-2")
    tool("--decrypt", *cbc, "-i", "box", "-o", "again")
    assert (tmp_path / "again").read_bytes() == b"attack at dawn"
    assert "label:      kek" in tool("-O", "--type", "secrkey")
    assert [[key.label for key in hsm.keys.values()] for hsm in hsm_cluster.hsms] == [["kek"]] * 2


APPLICATION = """
import sys
from tests.pkcs11.ckcalls import CKM, Calls, mechanism

module, slot = sys.argv[1:]
ck = Calls(module)
ck.initialize()
session = ck.open(int(slot))
ck.login(session, sys.stdin.readline().strip())
key = ck.aes(session, "kek")
print("ready", flush=True)
sys.stdin.readline()
print(len(ck.once(session, "Sign", mechanism(CKM.AES_CMAC), key, b"data")), flush=True)
ck.finalize()
"""


@pytest.mark.hsm_cluster(clock_rate=1)  # what is held is to wait for the test, not for a time-out
def test_a_test_may_mend_what_an_application_waits_for(hsm_pkcs11, hsm_client, hsm_chaos):
    """Its call is under way at the socket, held at an HSM; the test calls meanwhile, and lets it go on."""
    with subprocess.Popen(
        [sys.executable, "-c", APPLICATION, hsm_pkcs11.module, str(hsm_pkcs11.slot_id)],
        env={**os.environ, **hsm_pkcs11.env, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        program.stdin.write(hsm_pkcs11.user_pin + "\n")
        program.stdin.flush()
        assert program.stdout.readline() == "ready\n"
        with hsm_chaos.inject("hold @ hsm.execute command=sign nth=1") as held:
            program.stdin.write("\n")
            program.stdin.flush()
            while not held.hits:
                hsm_client.random(8)
            held.release()
            hsm_client.random(8)
            assert program.stdout.readline() == "16\n"
        program.stdin.close()
        assert program.wait(60) == 0
