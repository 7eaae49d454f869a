"""Does a cluster notice that its commands and answers travel as bytes?"""

import pytest

from pytest_hsmcluster import HsmCluster
from pytest_hsmcluster.cryptoki import CKA, CKM
from pytest_hsmcluster.errors import ClusterError, KeyNotOnHsm, MechanismInvalid, SignatureInvalid
from pytest_hsmcluster.keys.mechanisms import CounterKdfParams, EcdhParams, GcmParams, OaepParams
from pytest_hsmcluster.processes.codec import decode_answer, decode_request, encode_answer, encode_request
from pytest_hsmcluster.service.hsm import Hsm
from tests.stories import drawn, play


@pytest.fixture
def as_bytes(monkeypatch):
    """All that clients and HSMs say to each other is encoded and decoded on its way; counts the requests."""
    serve, commands = Hsm.serve, []

    def served(hsm, call):
        _, arrived = decode_request(encode_request(len(commands), call), call.lane, hsm.id)
        arrived.deadline_ns, arrived.task = call.deadline_ns, call.task
        commands.append(arrived.command)
        try:
            answer = yield from serve(hsm, arrived)
        except ClusterError as error:
            raise decode_answer(encode_answer(0, error))[1] from None
        return decode_answer(encode_answer(0, answer))[1]

    monkeypatch.setattr(Hsm, "serve", served)
    return commands


@pytest.mark.parametrize("seed", range(12))
def test_story_is_the_same_when_its_commands_travel_as_bytes(seed, request):
    """With faults, refusals and whatever else a story has: the same journal, and the same outcomes."""
    plain = play(drawn(seed), keys="seeded")
    commands = request.getfixturevalue("as_bytes")

    travelled = play(drawn(seed), keys="seeded")

    assert commands
    assert travelled.first_difference(plain) is None


def test_all_that_a_client_asks_is_answered_when_it_travels_as_bytes(as_bytes):
    """With real keys: what one HSM encrypts, signs, wraps and derives, another opens, verifies and agrees with."""
    cluster = HsmCluster(2)
    cluster.create_user("bob", "bobs-password")
    client = cluster.client()
    aes = client.generate_key("AES", 256, label="aes", template={CKA.WRAP_TEMPLATE: {CKA.LABEL: "gift"}})
    rsa = client.generate_key_pair("RSA", 2048, label="rsa")
    ours, theirs = (client.generate_key_pair("EC", "secp256r1", label=label) for label in ("ours", "theirs"))
    peer = cluster.hsms[0].keys[theirs.public.number].material

    params = GcmParams(aad=b"authenticated")
    assert client.decrypt(aes, client.encrypt(aes, b"data", params=params), params=params) == b"data"
    secret = client.encrypt(rsa.public, b"data", params=OaepParams("SHA384"))
    assert client.decrypt(rsa.private, secret, params=OaepParams("SHA384")) == b"data"
    client.verify(ours.public, b"data", client.sign(ours.private, b"data", mechanism=CKM.ECDSA_SHA256))
    with pytest.raises(SignatureInvalid):
        client.verify(ours.public, b"data", bytes(64))
    agreed = client.derive_key(ours.private, EcdhParams(peer), label="agreed")
    client.derive_key(agreed, CounterKdfParams(label=b"purpose"), label="derived")
    with pytest.raises(MechanismInvalid, match="PRIVATE_KEY"):
        client.derive_key(ours.private, EcdhParams(cluster.hsms[0].keys[theirs.private.number].material), label="no")
    gift = client.import_key("AES", bytes(16), label="gift")
    client.unwrap_key(client.wrap_key(gift, with_key=aes), with_key=aes, kind="AES", label="again")
    client.share_key(gift, with_user="bob")
    client.set_attribute(gift, CKA.LABEL, "given")
    client.delete_key(gift)

    attributes = client.get_attributes(aes)
    assert attributes[CKA.WRAP_TEMPLATE] == {CKA.LABEL: "gift"}
    assert client.public_key(ours.private) == client.public_key(ours.public)
    assert [key.label for key in client.find_keys(kind="AES")] == ["aes", "agreed", "derived", "again"]
    assert len(client.random(16)) == 16
    with pytest.raises(KeyNotOnHsm):
        client.sign(gift, b"data")
    assert {"login", "extract_masked", "insert_masked", "check_key"} < set(as_bytes)
    cluster.close()
