"""How do two ends of a connection meet in one thread?

They hand each other their bytes; nobody waits, and what each of them thinks of the other can be looked at.
"""

import ssl

from pytest_hsmcluster.processes.certificates import client_context, server_context, server_name

CLUSTER = "cluster-abcdefghijk"
NAME = server_name(CLUSTER)


class End:
    """One end of a connection, with the bytes that it has got and those that it wants to send."""

    def __init__(self, context, **role):
        self.got, self.sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.got, self.sent, **role)
        self.ready = False
        self.error = None

    def try_to(self, do):
        """Do something and return what came of it; None when it waits for bytes or when it was refused."""
        try:
            return do()
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            self.error = error
            return None

    def shake(self):
        if not self.ready and self.error is None:
            self.ready = self.try_to(lambda: self.tls.do_handshake() is None) or False

    def read(self):
        return self.try_to(lambda: self.tls.read(100))


def connect(server, client, name=NAME):
    """Let two contexts meet, until neither has more to say; each end then knows whether it refused."""
    hsm = End(server, server_side=True)
    application = End(client, server_hostname=name)
    for _ in range(4):
        for one, other in ((application, hsm), (hsm, application)):
            one.shake()
            other.got.write(one.sent.read())
    return hsm, application


def assert_they_talk(hsm, application):
    """Both ends have no complaint, and bytes come through in both directions."""
    assert (hsm.error, application.error) == (None, None)
    for sender, receiver in ((application, hsm), (hsm, application)):
        assert sender.tls.write(b"hello") == 5
        receiver.got.write(sender.sent.read())
        assert receiver.read() == b"hello"


def assert_cluster_talks(cluster):
    """An HSM and a new client of a cluster accept each other."""
    hsm = server_context(cluster.hsm, cluster.trust_anchor)
    app = client_context(cluster.client("app"), cluster.customer_ca)
    assert_they_talk(*connect(hsm, app, server_name(cluster.cluster_id)))
