"""The mail server: takes mails for anybody and keeps them, unless an address asks for trouble.

What a recipient's or sender's name begins with decides, so that staff can try it by choosing an address:
unknown@ (550), greylisted@ (451 the first two times), full@ (452), relay@ (550), hangup@ (taken, and no answer the
first time); a sender rejected@ (550). A subject with "spam" is refused once the mail was heard (554).
"""

import asyncio
import email
import email.policy
import json
import threading
from collections import Counter
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from sandbox.state import State, timestamp

USER, PASSWORD = "sandbox-mail", "sandbox-mail-password"
LARGEST_MAIL = 1_000_000
GREYLISTED_TIMES = 2
TAKEN = "250 2.0.0 Taken"


class Mailbox:
    """Listens at `port` while it is open; mails are in the sandbox's file."""

    def __init__(self, state: State, host: str, port: int = 0) -> None:
        self._state = state
        self._tries: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        # In the thread that asks for it, so that a port in use is told at once.
        try:
            self._server = self._loop.run_until_complete(self._loop.create_server(self._session, host, port))
        except (OSError, OverflowError):
            self._loop.close()
            raise
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="mailbox", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._server.close()
        self._loop.run_until_complete(end_tasks())
        self._loop.close()

    def forget(self) -> None:
        """Those who were put off before are strangers again."""
        self._tries.clear()

    def _session(self) -> SMTP:
        return SMTP(
            self, hostname="sandbox.example", data_size_limit=LARGEST_MAIL, authenticator=sign_in,
            auth_require_tls=False, loop=self._loop, ident="Casebridge sandbox",
        )  # fmt: skip

    # --- What aiosmtpd asks ---

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, mail_options: list[str]
    ) -> str:
        if _name(address) == "rejected":
            return "550 5.7.1 Sender address rejected: not allowed"
        envelope.mail_from = address
        envelope.mail_options.extend(mail_options)
        return "250 2.1.0 Sender fine"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        refused = {
            "unknown": "550 5.1.1 No such user here",
            "full": "452 4.2.2 Mailbox full",
            "relay": "550 5.7.1 Relaying denied",
        }
        if (name := _name(address)) in refused:
            return refused[name]
        if name == "greylisted" and self._count(f"{envelope.mail_from} {address}") <= GREYLISTED_TIMES:
            return "451 4.7.1 Greylisted, come back later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient fine"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        if "spam" in str(_parsed(content)["Subject"] or "").lower():
            return "554 5.7.1 Message looks like spam"
        self._keep(envelope, content)
        hangs_up = [address for address in envelope.rcpt_tos if _name(address) == "hangup"]
        if hangs_up and self._count(hangs_up[0]) == 1 and isinstance(server.transport, asyncio.Transport):
            server.transport.abort()
        return TAKEN

    def _count(self, what: str) -> int:
        self._tries[what] += 1
        return self._tries[what]

    def _keep(self, envelope: Envelope, content: bytes) -> None:
        self._state.insert(
            "INSERT INTO mails (received_at, sender, recipients, content) VALUES (?, ?, ?, ?)",
            timestamp(), envelope.mail_from or "", json.dumps(envelope.rcpt_tos), content,
        )  # fmt: skip


async def end_tasks() -> None:
    """Conversations that are still going on."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def sign_in(server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: Any) -> AuthResult:
    fits = isinstance(auth_data, LoginPassword) and auth_data == LoginPassword(USER.encode(), PASSWORD.encode())
    return AuthResult(success=fits, handled=False)


def _name(address: str) -> str:
    return address.partition("@")[0].lower()


def _parsed(content: bytes) -> email.message.EmailMessage:
    return email.message_from_bytes(content, policy=email.policy.default)


def mails(state: State, most: int = -1) -> list[dict[str, Any]]:
    """The newest first: {"id", "at", "sender", "recipients", "subject", "from", "text", "html", "source"}."""
    rows = state.rows("SELECT * FROM mails ORDER BY id DESC LIMIT ?", most)
    return [_shown(row["id"], row["received_at"], row["sender"], row["recipients"], row["content"]) for row in rows]


def _shown(number: int, at: str, sender: str, recipients: str, content: bytes) -> dict[str, Any]:
    parsed = _parsed(content)
    plain, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
    return {
        "id": number,
        "at": at,
        "sender": sender,
        "recipients": json.loads(recipients),
        "subject": str(parsed["Subject"] or ""),
        "from": str(parsed["From"] or ""),
        "answers": str(parsed["In-Reply-To"] or ""),
        "text": str(plain.get_content()) if plain else "",
        "html": str(html.get_content()) if html else "",
        "source": content.decode("utf-8", "replace"),
    }
