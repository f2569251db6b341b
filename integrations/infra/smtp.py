"""The way out for mail: one server, one mail, within a deadline.

Promised: no private address unless the administrator of this machine named the server (EMAIL_URL); what a server said
is recorded, without the password; whatever happens is either what the server refused, a Failure that nothing was sent,
or one that the outcome is unknown, as the mail's end was sent and no answer came (RFC 5321, section 4.5.3.2.6).
"""

import base64
import binascii
import re
import smtplib
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from urllib3.exceptions import HTTPError

from integrations.infra.client import MASK, Client
from integrations.infra.http.addresses import AddressRefused
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import KEPT_BYTES, Reply
from integrations.infra.http.transport import Deadline, open_socket

ACCOUNT = "account"
SMTP_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
# How a server is reached: its scheme, with the port that is usual.
PLAIN, STARTTLS, TLS = "smtp", "smtp+tls", "smtps"
PORTS = {PLAIN: 25, STARTTLS: 587, TLS: 465}
MOST_HEARD = 256 * 1024
ANSWERED = Reply(200, {}, b"")
DOT = re.compile(rb"^\.", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Login:
    """How to sign in; without a user, not at all."""

    user: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """Envelope and content; `content` has CRLF line ends."""

    sender: str
    recipients: Sequence[str]
    content: bytes


@dataclass(eq=False)
class Refused(Exception):
    """What a server did not take, in its own words.

    `step`: "greeting", "encryption", "sign-in", "sender", "recipient" (then `recipient` names it) or "content".
    """

    step: str
    code: int
    text: str
    recipient: str = ""

    @property
    def is_temporary(self) -> bool:
        return 400 <= self.code < 500

    @property
    def is_full(self) -> bool:
        """The mailbox is full (4.2.2), which no few minutes mend."""
        return self.enhanced[1:] == ".2.2" or (self.code == 452 and not self.enhanced)

    @property
    def enhanced(self) -> str:
        """The code of RFC 3463, such as "5.1.1", where the server sends one."""
        found = re.match(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}\b", self.text)
        return found[0] if found else ""


def portal_server() -> tuple[str, Login] | None:
    """The server that EMAIL_URL names, as (origin, login); None where it names none."""
    if settings.EMAIL_BACKEND != SMTP_BACKEND:
        return None
    scheme = TLS if settings.EMAIL_USE_SSL else STARTTLS if settings.EMAIL_USE_TLS else PLAIN
    login = Login(settings.EMAIL_HOST_USER or "", settings.EMAIL_HOST_PASSWORD or "")
    return f"{scheme}://{settings.EMAIL_HOST}:{settings.EMAIL_PORT or PORTS[scheme]}", login


class SmtpClient(Client):
    """Hands mails to the server at its origin, like smtp+tls://mail.example.com:587."""

    def deliver(self, mail: Mail, login: Login, *, greets_as: str) -> list[Refused]:
        """Sends one mail and returns the recipients that the server did not take.

        As long as a recipient may be taken within minutes, nothing is sent: tried again, the others would have it
        twice. A full mailbox holds up nobody else. Raises Refused, Failure, NoPermit.
        """
        with _Exchange(self, "MAIL", mail) as exchange:
            server = self._signed_in(exchange, login, greets_as)
            exchange.ask("sender", "MAIL", f"FROM:<{mail.sender}>")
            unknown = self._name_recipients(exchange, mail)
            exchange.ask("content", "DATA", expected=354)
            server.send(DOT.sub(b"..", mail.content).rstrip(b"\r\n") + b"\r\n")
            exchange.end_mail()
        return unknown

    def test(self, sender: str, login: Login, *, greets_as: str) -> None:
        """Signs in and names the sender, without sending anything. Raises Refused, Failure, NoPermit."""
        with _Exchange(self, "TEST", Mail(sender, (), b"")) as exchange:
            self._signed_in(exchange, login, greets_as)
            exchange.ask("sender", "MAIL", f"FROM:<{sender}>")

    def _signed_in(self, exchange: "_Exchange", login: Login, greets_as: str) -> smtplib.SMTP:
        self.secrets = (*self.secrets, *_spellings(login))
        server = exchange.open(greets_as)
        if urlsplit(self.origin).scheme == STARTTLS:
            exchange.encrypt()
        if login.user:
            exchange.sign_in(login)
        return server

    @staticmethod
    def _name_recipients(exchange: "_Exchange", mail: Mail) -> list[Refused]:
        unknown: list[Refused] = []
        for recipient in mail.recipients:
            try:
                exchange.ask("recipient", "RCPT", f"TO:<{recipient}>", recipient=recipient)
            except Refused as refused:
                if refused.is_temporary and not refused.is_full:
                    raise
                unknown.append(refused)
        if len(unknown) == len(mail.recipients):
            raise unknown[0]
        return unknown


class _Connection(smtplib.SMTP):
    """smtplib's, over a socket that was opened here."""

    def __init__(self, opened: socket.socket, host: str, greets_as: str) -> None:
        super().__init__(local_hostname=greets_as)
        self.sock, self.file, self.host_name = opened, None, host

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None:
            self.file = _Capped(self.sock.makefile("rb"))  # type: ignore[union-attr]
        return super().getreply()


class _Capped:
    """What a server says, up to a cap: a reply may go on for ever."""

    def __init__(self, file: Any) -> None:
        self._file, self._left = file, MOST_HEARD

    def readline(self, most: int) -> bytes:
        line: bytes = self._file.readline(most)
        self._left -= len(line)
        if self._left < 0:
            raise smtplib.SMTPServerDisconnected("The server does not stop talking.")
        return line

    def close(self) -> None:
        self._file.close()


class _Exchange:
    """One conversation with a server: recorded whole, ended at the deadline, its troubles told as failures."""

    def __init__(self, client: SmtpClient, method: str, mail: Mail) -> None:
        self._client = client
        self._deadline = Deadline(client.seconds_left)
        self._server: Any = None
        self._said: list[str] = []
        self._code = 0
        self._began = time.monotonic()
        self.is_sent = False
        self._record: dict[str, Any] = {
            "method": method,
            "url": client.origin,
            "headers": {"From": mail.sender, **({"To": ", ".join(mail.recipients)} if mail.recipients else {})},
            "body_bytes": len(mail.content),
        }

    def __enter__(self) -> "_Exchange":
        self._client.before_call(ACCOUNT)
        self._deadline = Deadline(self._client.seconds_left)
        if self._client.seconds_left <= 0.05:
            raise Failure("The time for this try was used up before the call.")
        self._client.exchanges.append(self._record)
        self._deadline.__enter__()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._server is not None:
            self._say_goodbye(is_well=error is None)
        if self._deadline.socket is not None:
            self._deadline.socket.close()
        self._deadline.__exit__()
        self._record |= {
            "duration_ms": round((time.monotonic() - self._began) * 1000),
            "reply": self._client.without_secrets("\n".join(self._said))[:KEPT_BYTES],
        }
        if self._code:
            self._record["status"] = self._code
            self._client.on_reply(ACCOUNT, ANSWERED)
        if isinstance(error, AddressRefused):
            message = f"The address of {self._client.name} may not be called: {error} Correct the address."
            raise Failure(message, pauses=True) from None
        if isinstance(error, OSError | HTTPError | UnicodeError | smtplib.SMTPException):
            failure = self._broken(error)
            self._record["error"] = failure.detail
            raise failure from error

    # --- The conversation ---

    def open(self, greets_as: str) -> smtplib.SMTP:
        parts = urlsplit(self._client.origin)
        host, trusted = parts.hostname or "", portal_server()
        opened = open_socket(
            host, parts.port or PORTS[parts.scheme],
            may_be_private=trusted is not None and trusted[0] == self._client.origin,
        )  # fmt: skip
        self._watch(opened)
        if parts.scheme == TLS:
            opened = self._encrypted(opened, host)
        self._server = _Connection(opened, host, greets_as)
        self.hear("greeting", expected=220)
        self._greet()
        return self._server

    def encrypt(self) -> None:
        """What was said in the clear counts for nothing afterwards (RFC 3207)."""
        if not self._server.has_extn("starttls"):
            raise Refused("encryption", 502, "STARTTLS is not among what the server offers.")
        self.ask("encryption", "STARTTLS", expected=220)
        opened = self._encrypted(self._server.sock, self._server.host_name)
        self._server.sock, self._server.file = opened, None
        self._server.ehlo_resp = self._server.helo_resp = None
        self._server.esmtp_features, self._server.does_esmtp = {}, False
        self._greet()

    def sign_in(self, login: Login) -> None:
        try:
            code, text = self._server.login(login.user, login.password)
        except smtplib.SMTPAuthenticationError as refused:
            said = refused.smtp_error if isinstance(refused.smtp_error, bytes) else refused.smtp_error.encode()
            self._note(f"AUTH {MASK}", refused.smtp_code, said)
            raise Refused("sign-in", refused.smtp_code, _text(said)) from None
        except smtplib.SMTPServerDisconnected:
            raise
        except binascii.Error:
            raise smtplib.SMTPServerDisconnected("The server's challenge could not be read.") from None
        except smtplib.SMTPException as error:
            # It offers none, or none that is known here.
            raise Refused("sign-in", 504, str(error)) from None
        self._note(f"AUTH {MASK}", code, text)

    def ask(self, step: str, command: str, rest: str = "", *, expected: int = 250, recipient: str = "") -> None:
        self._server.putcmd(command, rest)
        self.hear(step, expected, recipient, f"{command} {rest}".strip())

    def hear(self, step: str, expected: int = 250, recipient: str = "", asked: str = "") -> None:
        code, text = self._server.getreply()
        self._note(asked, code, text)
        if code // 100 == expected // 100:
            return
        if not 400 <= code < 600:
            raise smtplib.SMTPServerDisconnected(f"The server answered {code}, which means nothing here.")
        raise Refused(step, code, _text(text), recipient)

    def end_mail(self) -> None:
        """The line that ends it: from here on only the answer tells whether it was taken."""
        if self._deadline.is_over:
            raise TimeoutError("cut off at the deadline")
        self.is_sent = True
        self._server.send(b".\r\n")
        self.hear("content")

    def _greet(self) -> None:
        code, text = self._server.ehlo()
        if code // 100 != 2:
            code, text = self._server.helo()
        self._note("EHLO", code, text.partition(b"\n")[0])
        if code // 100 != 2:
            raise Refused("greeting", code, _text(text))

    def _note(self, asked: str, code: int, text: bytes) -> None:
        # What is no number is read as -1.
        self._code = max(code, 0)
        self._said += [f"> {asked}"] * bool(asked) + [f"{code} {_text(text)}"]

    def _watch(self, opened: socket.socket) -> None:
        """Has the deadline end this one: it fires once, so what comes after it is not begun."""
        self._deadline.socket = opened
        opened.settimeout(max(self._client.seconds_left, 0.01))
        if self._deadline.is_over or self._client.seconds_left <= 0:
            raise TimeoutError("cut off at the deadline")

    def _encrypted(self, opened: socket.socket, host: str) -> ssl.SSLSocket:
        """The handshake under the deadline: the encrypted socket takes the plain one's place before it begins."""
        context = ssl.create_default_context()
        wrapped = context.wrap_socket(opened, server_hostname=host, do_handshake_on_connect=False)
        self._watch(wrapped)
        wrapped.do_handshake()
        return wrapped

    def _say_goodbye(self, *, is_well: bool) -> None:
        try:
            if is_well:
                self._server.putcmd("QUIT")
        except (OSError, smtplib.SMTPException):
            # The mail was taken already.
            return
        finally:
            self._server.close()

    # --- When there is no answer ---

    def _broken(self, error: Exception) -> Failure:
        name, assured = self._client.name, " Nothing was sent."
        host = urlsplit(self._client.origin).hostname
        failure = Failure(f"{name} did not answer to the end of the mail: it may have been sent.", is_uncertain=True)
        if not self.is_sent:
            failure = Failure(f"The connection to {name} broke.{assured}")
            if isinstance(error, socket.gaierror | UnicodeError) and self._server is None:
                failure.message = f"The name of {name}'s server cannot be found ({host})."
            elif isinstance(error, ssl.SSLError):
                failure.message = f"{name}'s server cannot be reached safely: its certificate or TLS was not accepted."
            elif self._deadline.is_over or self._client.seconds_left < 0.1:
                failure.message = f"{name}'s server did not respond in time ({self._client.seconds:.0f} s).{assured}"
            elif self._server is None:
                failure.message = f"{name}'s server cannot be reached."
        failure.detail = self._client.without_secrets(str(error))
        failure.is_transport, failure.remedy_at, failure.cause = True, "connection", failure.message
        failure.remedy = "If this keeps happening, check the server's name, and whether this machine can reach it."
        return failure


def _spellings(login: Login) -> list[str]:
    """The password as a server may echo it: in the clear, or as it is sent (RFC 4616, LOGIN)."""
    sent = [login.password, login.user, f"\0{login.user}\0{login.password}"] if login.password else []
    return [*sent[:1], *(base64.b64encode(each.encode()).decode() for each in sent)]


def _text(raw: bytes) -> str:
    return " ".join(raw.decode("utf-8", "replace").split())
