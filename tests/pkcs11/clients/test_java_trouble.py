"""What does a Java program do when the cluster is in trouble?"""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from pytest_hsmcluster.cryptoki import CKM, CKR
from pytest_hsmcluster.keys.parameters import IvParams
from tests.pkcs11.clients.java_program import CBC, NEEDS_JAVA, java_programs
from tests.pkcs11.clients.programs import Failed, held, results
from tests.pkcs11.clients.sunpkcs11 import SECRET, attributes

DATA = b"the quick brown fox"

pytestmark = NEEDS_JAVA


@pytest.fixture
def java(hsm_pkcs11, tmp_path_factory):
    """Starts the program."""
    with java_programs(hsm_pkcs11, tmp_path_factory) as begin:
        yield begin


def key_missing_on_hsm_3(program, chaos, *words):
    """Have the program make a key that one HSM of three lacks for now."""
    chaos.stall_sync()
    with chaos.fail_clone("hsm-3"), chaos.route_to("hsm-1", next=99):
        program.ask(*words)


def test_naive_java_fails_where_a_key_is_missing(java, hsm_chaos, hsm_check):
    """The call goes to the HSM that lacks the key: CKR_KEY_HANDLE_INVALID, and a missed retry."""
    program = java()
    key_missing_on_hsm_3(program, hsm_chaos, "pair", "p", "EC", "secp256r1")
    program.ask("sign", "p", "SHA256withECDSA", DATA)  # SDK 5 has seen it on two HSMs from now on
    with hsm_chaos.route_to("hsm-3"):
        with pytest.raises(Failed, match="ProviderException.*CKR_KEY_HANDLE_INVALID"):
            program.ask("sign", "p", "SHA256withECDSA", DATA)
    with pytest.raises(AssertionError, match="hsm-3"):
        hsm_check.misses_retried()


def test_java_that_retries_gets_over_a_missing_key(java, hsm_chaos, hsm_check, hsm_client, hsm_pkcs11):
    """A bounded loop around init, update and sign is enough: one of the next attempts is routed elsewhere."""
    program = java()
    key_missing_on_hsm_3(program, hsm_chaos, "pair", "p", "EC", "secp256r1")
    program.ask("sign", "p", "SHA256withECDSA", DATA)
    with hsm_chaos.route_to("hsm-3"):
        signature, attempts = program.ask("sign-patiently", "p", "SHA256withECDSA", DATA).split()

    made = int(attempts.removeprefix("attempts="))
    assert 2 <= made <= 5
    assert results(hsm_pkcs11, "C_SignInit")[-made:] == [*[CKR.KEY_HANDLE_INVALID] * (made - 1), CKR.OK]
    hsm_check.misses_retried()
    (found,) = (key for key in hsm_client.find_keys(label="payroll") if key.cls == "public")
    hsm_client.public_key(found).verify(bytes.fromhex(signature), DATA, ec.ECDSA(SHA256()))


def test_java_may_lose_sight_of_a_pair_that_it_made(java, hsm_chaos, hsm_client):
    """SunPKCS11 reads attributes of a new pair: a miss there is an exception of generateKeyPair, and the pair exists.

    Whoever generates again has two, so look for the label first, or take a label of its own for each attempt.
    """
    program = java()
    with hsm_chaos.inject("fail CKR_KEY_HANDLE_INVALID @ hsm.execute command=read_attributes nth=1"):
        with pytest.raises(Failed, match="ProviderException.*CKR_KEY_HANDLE_INVALID"):
            program.ask("pair", "p", "EC", "secp256r1")
    program.ask("pair", "p", "EC", "secp256r1")
    assert sorted(key.cls for key in hsm_client.find_keys(label="payroll")) == ["private"] * 2 + ["public"] * 2


def test_throttled_java_fails_until_the_cluster_is_relieved(java, hsm_cluster, hsm_chaos):
    """The library retries a few times by itself; then it is CKR_FUNCTION_FAILED, and the same program goes on later."""
    program = java()
    program.ask("generate", "k")
    for hsm in hsm_cluster.hsms:
        hsm_chaos.throttle(hsm.id)
    with pytest.raises(Failed, match="CKR_FUNCTION_FAILED"):
        program.ask("encrypt", "k", CBC, DATA)
    for hsm in hsm_cluster.hsms:
        hsm_chaos.relieve(hsm.id)
    program.ask("encrypt", "k", CBC, DATA)


def test_java_outlives_a_lost_hsm(java, hsm_chaos, hsm_client, hsm_check):
    """An HSM is destroyed while the program has its session: at the most one call fails, the others are served."""
    program = java()
    program.ask("generate", "k")
    hsm_chaos.destroy("hsm-2")
    boxes = [program.ask("encrypt-patiently", "k", CBC, DATA).split()[:2] for _ in range(6)]
    (key,) = hsm_client.find_keys(label="payroll")
    for iv, box in boxes:
        params = IvParams(bytes.fromhex(iv))
        assert hsm_client.decrypt(key, bytes.fromhex(box), mechanism=CKM.AES_CBC_PAD, params=params) == DATA
    hsm_check.no_lost_keys()


def test_java_loads_the_key_store_again_after_all_connections_were_lost(java, hsm_cluster, hsm_chaos, hsm_clock):
    """The login went with the connections, and with it all handles; `KeyStore.load` logs in and finds the keys."""
    program = java()
    program.ask("generate", "k")
    for hsm in hsm_cluster.hsms:
        hsm_chaos.crash(hsm.id)
    for hsm in hsm_cluster.hsms:
        hsm_chaos.restart(hsm.id)
    hsm_clock.advance(60)  # the client library reconnects by itself, but does not log in
    with pytest.raises(Failed, match="InvalidKeyException.*CKR_KEY_HANDLE_INVALID"):
        program.ask("encrypt", "k", CBC, DATA)

    program.ask("reload")
    program.ask("encrypt", "payroll", CBC, DATA)
    with pytest.raises(Failed, match="CKR_KEY_HANDLE_INVALID"):
        program.ask("encrypt", "k", CBC, DATA)  # the old key object stays useless: get it from the key store again


def test_sixteen_threads_of_java_sign_at_the_same_time(java, hsm_client, hsm_cluster):
    """CKF_OS_LOCKING_OK: each thread has a connection and SunPKCS11 a session for it; every signature is right."""
    program = java()
    program.ask("pair", "p", "EC", "secp256r1")
    made = program.ask("threads", "p", "16", "8").split()

    (found,) = (key for key in hsm_client.find_keys(label="payroll") if key.cls == "public")
    public = hsm_client.public_key(found)
    signed = [tuple(map(bytes.fromhex, one.split(":"))) for one in made]
    assert len({data for data, _ in signed}) == 128
    for data, signature in signed:
        public.verify(signature, data, ec.ECDSA(SHA256()))
    program.end()
    hsm_cluster.close()  # audits: what the HSMs hold is what the history says


def test_killed_java_leaves_nothing_behind(java, hsm_cluster):
    """SIGKILL: its session keys go with its connections, and the next program logs in and works."""
    fleeting = java(attributes("generate, CKO_SECRET_KEY, *", *SECRET[1:], label="fleeting"))
    fleeting.ask("generate", "k")
    assert held(hsm_cluster) == ["fleeting"]
    fleeting.kill()

    program = java()
    program.ask("generate", "k")
    program.ask("encrypt", "k", CBC, DATA)
    assert held(hsm_cluster) == ["payroll"] * 3


def test_java_killed_while_its_threads_sign_makes_nobody_wait(java, hsm_cluster, hsm_pkcs11):
    """Sixteen calls are under way when it dies; what the next program asks is answered."""
    killed = java()
    killed.ask("pair", "p", "EC", "secp256r1")
    killed.tell("threads", "p", "16", "100000")
    killed.kill_at(hsm_pkcs11, "C_SignFinal")

    program = java()
    program.ask("pair", "q", "EC", "secp256r1")
    program.ask("threads", "q", "4", "2")
    program.end()
    hsm_cluster.close()  # audits: what the HSMs hold is what the history says
