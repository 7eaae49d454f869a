"""Which story is told a thousand times?

Run as a program it prints the digests of that story and of some drawn ones.
"""

import sys
from contextlib import suppress

from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.errors import ClusterError
from tests.stories import drawn, play, play_at_once


def chaos_story(
    cluster: HsmCluster, *, app: str = "app", user: str = "bob", labels: tuple[str, str] = ("kek", "dek")
) -> None:
    """Let two applications work while an HSM is lost, an answer vanishes, the network is cut and dice are rolled."""
    first, second = labels
    cluster.create_user(user, "password")
    client, other = cluster.client(app), cluster.client(f"{app}-2")
    kek = client.generate_key("AES", 256, label=first)
    with cluster.chaos.inject(f"delay 2ms @ hsm.execute chance=0.5 key={first}", may_miss=True):
        boxes = [client.encrypt(kek, bytes([number]) * number) for number in range(8)]
    client.share_key(kek, with_user=user)
    with cluster.chaos.kill_mid_create(), suppress(ClusterError):
        client.generate_key("AES", 256, label=second)
    with cluster.chaos.lose_response("generate_key"), suppress(ClusterError):
        other.generate_key("AES", 256, label=second)
    with cluster.chaos.partition(app, "hsm-3"):
        for box in boxes[:3]:
            with suppress(ClusterError):
                client.decrypt(kek, box)
    session = other.generate_key_pair("EC", "P-256", label=first, token=False)
    with suppress(ClusterError):
        other.sign(session.private, b"data")
    cluster.chaos.replace("hsm-3")
    cluster.clock.advance(400)
    for key in other.find_keys(label=second):
        other.delete_key(key)
    cluster.sweep_now()
    assert not cluster.chaos.unfired, "every fault of the story does its harm"


if __name__ == "__main__":
    with HsmCluster(4, sdk=3, seed=7, create_object_minimum_nodes=2, routing="random") as told:
        chaos_story(told)
    digests = [told.history.digest()]
    for number in range(4):
        digests += [play(drawn(number)).digest, play_at_once(drawn(number)).digest]
    sys.stdout.write("\n".join(digests))
