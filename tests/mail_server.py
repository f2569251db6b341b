"""A mail server with encryption, whose certificate is made for the occasion."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiosmtpd.smtp import SMTP
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox.mailbox import Mailbox, end_tasks, sign_in
from sandbox.state import State


@contextmanager
def running_tls_server(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """(port for STARTTLS, port for TLS from the beginning, the certificate to trust)."""
    certificate = make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, folder / "key.pem")
    state = State(folder / "state")
    loop = asyncio.new_event_loop()
    mailbox = Mailbox(state, "127.0.0.1")

    def starttls() -> SMTP:
        return SMTP(mailbox, tls_context=context, require_starttls=True, authenticator=sign_in, loop=loop)

    def encrypted() -> SMTP:
        return SMTP(mailbox, authenticator=sign_in, auth_require_tls=False, loop=loop)

    first = loop.run_until_complete(loop.create_server(starttls, "127.0.0.1", 0))
    second = loop.run_until_complete(loop.create_server(encrypted, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        ports = [server.sockets[0].getsockname()[1] for server in (first, second)]
        yield ports[0], ports[1], certificate
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        first.close()
        second.close()
        loop.run_until_complete(end_tasks())
        loop.close()
        mailbox.close()
        state.close()


def make_certificate(folder: Path) -> Path:
    """For localhost, for an hour, vouched for by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "certificate.pem"
