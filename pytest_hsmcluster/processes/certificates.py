"""How do the HSMs of a cluster and its clients know each other on a real network?

A cluster's certificates come about as they do at AWS. The first HSM makes a key pair, which all HSMs of the cluster
will share, and a request for a certificate (CSR). The customer makes a self-signed issuing certificate, signs the
request with it, and tells each client to trust it (`customerCA.crt`). For mutual TLS the customer registers a second
self-signed certificate with the HSMs, the trust anchor, and clients show a certificate that it has signed.

In reality this connection runs inside another one, to the machine that houses the HSM. We leave the outer one out.

Source:
    AWS CloudHSM User Guide, "Initialize the cluster" and "Set up mutual TLS between client and AWS CloudHSM": a trust
    anchor complies with RFC 5280, is self-signed, has Basic Constraints, and P-256 is one of its kinds of key.
"""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder

from ..errors import UsageError
from ..keys.source import SystemSource

VALID_S = 3652 * 86_400
"""How long certificates are valid: ten years, as in the commands of the User Guide (`openssl x509 -days 3652`)."""

EARLIER = timedelta(days=1)
"""So long before its issue a certificate is valid already: clocks differ."""

SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""What TLS 1.2 may use, in OpenSSL's words; TLS 1.3 has authenticated encryption only."""


def server_name(cluster_id: str) -> str:
    """Return the DNS name that the HSMs of a cluster prove to have, whatever their address is."""
    return f"{cluster_id}.hsmcluster.internal"


@dataclass(frozen=True, slots=True)
class Identity:
    """What one end of a connection proves who it is with.

    Attributes:
        name: what the certificate is for, to be read by people.
        chain: PEM, the end's own certificate first.
        key: PEM (PKCS#8, not encrypted), the private key.
    """

    name: str
    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authority:
    """Somebody who signs certificates, with a certificate that is signed by nobody else.

    Attributes:
        name: what its certificate says, to be read by people.
        certificate: PEM, for those who are to trust it.
    """

    name: str
    certificate: bytes = field(repr=False)
    _issuer: x509.Certificate = field(repr=False)
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def new(cls, name: str, now: datetime) -> "Authority":
        """Return an authority with a new key, which is valid from a day before `now` for ten years."""
        key = _new_key()
        builder = _blank(_subject(name), _subject(name), key.public_key(), now, VALID_S)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        issuer = builder.sign(key, hashes.SHA256())
        return cls(name, issuer.public_bytes(Encoding.PEM), issuer, key)

    def sign(self, csr: bytes, *, server: bool, now: datetime, valid_s: int = VALID_S) -> bytes:
        """Return a certificate for the name, the DNS names and the key of a request; nothing else of it is granted.

        Args:
            csr: PEM, as `request()` makes it.
            server: for an HSM; otherwise for a client. Neither is accepted in the place of the other.
            now: the instant of issue, aware of its time zone; the certificate is valid from a day earlier.
            valid_s: until so many seconds after `now`.

        Returns:
            PEM.

        Raises:
            UsageError: whoever made the request does not have the key that it asks for.
        """
        asked = x509.load_pem_x509_csr(csr)
        if not asked.is_signature_valid:
            raise UsageError("the certificate request is not signed with the key that it asks a certificate for")
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        anchor = self._issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = _blank(asked.subject, self._issuer.subject, asked.public_key(), now, valid_s)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(anchor), critical=False
        )
        for extension in asked.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                builder = builder.add_extension(extension.value, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def issue(
        self, name: str, *, server: bool, now: datetime, valid_s: int = VALID_S, dns_name: str | None = None
    ) -> Identity:
        """Return a new key with a certificate: `request()` and `sign()` in one."""
        key = _new_key()
        chain = self.sign(request(key, name, dns_name), server=server, now=now, valid_s=valid_s)
        return Identity(name, chain, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@dataclass(frozen=True, slots=True)
class Activation:
    """The certificates of one cluster.

    Attributes:
        cluster_id: `cluster-…`.
        hsm: what all HSMs of the cluster show to their clients.
        customer_ca: PEM, what clients trust HSMs by.
        trust_anchor: PEM, what HSMs trust clients by.
    """

    cluster_id: str
    hsm: Identity
    customer_ca: bytes = field(repr=False)
    trust_anchor: bytes = field(repr=False)
    _clients: Authority = field(repr=False)
    _now: datetime = field(repr=False)

    def client(self, name: str, *, now: datetime | None = None, valid_s: int = VALID_S) -> Identity:
        """Return what one client shows to the HSMs.

        Args:
            name: the application's; its first 64 bytes are in the certificate.
            now: the instant of issue; without it, the one of the activation.
            valid_s: until so many seconds after `now`.
        """
        return self._clients.issue(name, server=False, now=self._now if now is None else now, valid_s=valid_s)


def activate(cluster_id: str, now: datetime) -> Activation:
    """Return new certificates for a cluster.

    Args:
        cluster_id: `cluster-…`; its HSMs prove to be `server_name(cluster_id)`.
        now: the present instant, aware of its time zone.
    """
    customer = Authority.new(f"customer CA of {cluster_id}", now)
    clients = Authority.new(f"clients of {cluster_id}", now)
    hsm = customer.issue(f"HSMs of {cluster_id}", server=True, now=now, dns_name=server_name(cluster_id))
    return Activation(cluster_id, hsm, customer.certificate, clients.certificate, clients, now)


def request(key: ec.EllipticCurvePrivateKey, name: str, dns_name: str | None = None) -> bytes:
    """Return a request for a certificate (PEM), signed with the key that it is to certify."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(name))
    if dns_name is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns_name)]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def server_context(identity: Identity, trust_anchor: bytes) -> ssl.SSLContext:
    """Return what an HSM takes connections with: TLS 1.2 or 1.3, from clients that the trust anchor has signed.

    No session tickets are issued: after a handshake nothing is on its way to a client that has not asked for anything.
    With TLS 1.3 a client learns at its first read that it was refused.

    Args:
        identity: the cluster's (`Activation.hsm`).
        trust_anchor: PEM of the authority that signs clients.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, identity, trust_anchor)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # of TLS 1.3
    context.options |= ssl.OP_NO_TICKET  # of TLS 1.2
    return context


def client_context(identity: Identity, customer_ca: bytes) -> ssl.SSLContext:
    """Return what a client connects with: TLS 1.2 or 1.3, to HSMs that the customer CA has signed.

    Connections are wrapped with `server_hostname=server_name(cluster_id)`; another name is refused, and so is none
    (ValueError).

    Args:
        identity: the client's own (`Activation.client()`).
        customer_ca: PEM of the authority that signs HSMs.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, identity, customer_ca)
    context.check_hostname = True
    context.hostname_checks_common_name = False
    return context


class _Context(ssl.SSLContext):
    """A context that no client can forget the HSMs' name with.

    `wrap_socket()` insists on a name when there is one to check. `wrap_bio()` does not: without a name it checks none.
    """

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        if self.check_hostname and not server_hostname:
            raise ValueError("a client says whom it wants: server_hostname=server_name(cluster_id)")
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def _context(protocol: ssl._SSLMethod, identity: Identity, trusted: bytes) -> ssl.SSLContext:
    # Not `ssl.create_default_context()`: that one writes secrets of connections to the file that SSLKEYLOGFILE names.
    context = _Context(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(SUITES)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # RFC 5280 to the letter
    context.load_verify_locations(cadata=trusted.decode("ascii"))
    with _as_file(identity) as path:
        context.load_cert_chain(path)
    return context


@contextmanager
def _as_file(identity: Identity) -> Iterator[str]:
    """Lend the path of a file with key and chain, which `ssl` cannot take otherwise.

    The file is in memory and has no name. A process can open its own after `prctl(PR_SET_DUMPABLE, 0)` too: ptrace(2),
    "Ptrace access mode checking", always allows access within a process. Where there is no Linux or no `/proc`, it is
    a file that its owner alone can read, in a folder that its owner alone can enter.
    """
    try:
        memory = os.memfd_create("identity")
    except (AttributeError, OSError):
        memory = None
    if memory is not None:
        with open(memory, "wb", buffering=0) as file:
            path = f"/proc/self/fd/{memory}"
            if os.access(path, os.R_OK):
                file.write(identity.key + identity.chain)
                yield path
                return
    with tempfile.TemporaryDirectory() as folder:
        private = Path(folder, "identity.pem")
        private.touch(mode=0o600, exist_ok=False)
        private.write_bytes(identity.key + identity.chain)
        yield str(private)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return SystemSource().ec_private(ec.SECP256R1())


def _subject(name: str) -> x509.Name:
    # RFC 5280, appendix A.1: a common name has 1 to 64 characters. `cryptography` counts bytes.
    short = name.encode(errors="replace")[:64].decode(errors="ignore") or "?"
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, short)])


def _blank(
    subject: x509.Name, issuer: x509.Name, public_key: CertificatePublicKeyTypes, now: datetime, valid_s: int
) -> x509.CertificateBuilder:
    """Return what all our certificates have in common."""
    # RFC 5280, 4.1.2.2: positive, at most 20 bytes.
    serial = int.from_bytes(SystemSource().random(20), "big") >> 1
    return (
        x509.CertificateBuilder()
        .serial_number(serial)
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public_key)
        .not_valid_before(_as_taken(now - EARLIER))
        .not_valid_after(_as_taken(now + timedelta(seconds=valid_s)))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _as_taken(instant: datetime) -> datetime:
    """Return an instant as `cryptography` takes it: in UTC, without a time zone, of a class that it knows.

    It looks `datetime.datetime` up once and then accepts instances of what it found, by their real type. If an
    application's test made the first certificate of this process under freezegun or in simulated time, that was a
    stand-in. The stand-ins make real dates when they are called, so they have to be gone round.
    """
    real: type[datetime] = next(kind for kind in datetime.__mro__ if kind.__module__ == "datetime")
    fields = instant.astimezone(UTC).timetuple()[:6]
    for kind in (real, *real.__subclasses__()):
        same = real.__new__(kind, *fields)
        try:
            PolicyBuilder().time(same)
        except TypeError:
            continue
        return same
    return real(*fields)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
