"""E-mail: what a mail looks like to Python's parser, who gets it, what each refusal means, and what is sent twice."""

import email
import email.policy
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from integrations.destinations import DESTINATIONS
from integrations.domain.conditions import all_of
from integrations.infra.http.failure import Failure
from integrations.infra.smtp import Login, Mail, Refused, SmtpClient
from integrations.models import Attempt, Connection, Delivery, Mapping, Subscription
from integrations.routing.actions import retry_now
from sandbox import mailbox
from tests.deliveries import became, move
from tests.factories import EmailFactory, MappingFactory
from tests.mail_server import running_tls_server
from tests.stand_in import StandIn
from tests.test_admin import form_of, page, save
from tests.test_slack import of_delivery, push_post, work_again

State = Delivery.State
LINK = "https://twitter.com/ann/status/7"
SENDER = "care@example.com"
MARK_UP = "<script>alert(1)</script> <img src=x onerror=alert(1)> [a](javascript:alert(1)) <a href=javascript:b()>c</a>"


@pytest.fixture
def mail(portal: Any, sandbox: StandIn) -> Connection:
    return EmailFactory.create(port=sandbox.mail_port)


@pytest.fixture
def to_team(subscription: Subscription, mail: Connection) -> Mapping:
    return MappingFactory.create(
        name="To the team", subscription=subscription, connection=mail, settings={"to": ["team@example.com"]}
    )


def change(mapping: Mapping, **settings: Any) -> None:
    mapping.settings |= settings
    mapping.save()


def parsed(received: dict[str, Any]) -> EmailMessage:
    return email.message_from_string(received["source"], policy=email.policy.default)


def body(received: dict[str, Any], kind: str) -> str:
    part = parsed(received).get_body((kind,))
    assert isinstance(part, EmailMessage)
    return str(part.get_content())


# --- A mail ----------------------------------------------------------------------------------------------------------


def test_a_labelled_post_becomes_a_mail_of_text_and_html(
    push: Any, work: Any, to_team: Mapping, sandbox: StandIn
) -> None:
    change(to_team, to=["team@example.com", "lead@example.com"], reply_to="desk@example.com")
    push_post(push, text="Where is my <parcel>?", author="Ann", link=LINK)
    work()
    (received,) = sandbox.mails()
    assert (received["sender"], received["recipients"]) == (SENDER, ["team@example.com", "lead@example.com"])
    head = parsed(received)
    assert str(head["From"]) == f"Social care <{SENDER}>"
    assert str(head["To"]) == "team@example.com, lead@example.com"
    assert str(head["Subject"]) == "CreateCase: Ann on twitter"
    assert str(head["Reply-To"]) == "desk@example.com"
    assert str(head["List-Id"]) == f"<{to_team.uuid}.casebridge.example.com>"
    assert (str(head["Auto-Submitted"]), head["References"]) == ("auto-generated", None)
    assert head["Date"].datetime.tzinfo is not None
    assert "Where is my <parcel>?" in body(received, "plain")
    assert f"Open the post: {LINK}" in body(received, "plain")
    assert "Where is my &lt;parcel&gt;?" in body(received, "html")
    assert f'<a href="{LINK}"' in body(received, "html")
    delivery = Delivery.objects.get()
    assert delivery.state == State.DELIVERED
    assert f"<{became(delivery).number}>" == str(head["Message-ID"])


def test_every_byte_of_it_is_plain_ascii_in_short_lines(
    push: Any, work: Any, to_team: Mapping, sandbox: StandIn
) -> None:
    push_post(push, text=f"{'é' * 5000}\n.\n.hidden dot", author="李小龍 👩‍👩‍👧‍👦" * 5)
    work()
    (received,) = sandbox.mails()
    assert received["source"].isascii()
    assert max(map(len, received["source"].splitlines())) < 998
    assert "\n.\n.hidden dot" in body(received, "plain").replace("\r\n", "\n")
    assert "李小龍" in str(parsed(received)["Subject"])


@pytest.mark.parametrize(
    ("author", "shown"),
    [
        ("Ann\r\nBcc: victim@example.com", "Ann Bcc: victim@example.com"),
        ("Ann\nSubject: other\n\nbody", "Ann Subject: other body"),
        ("\u202egnp.exe\u2066Ann", "gnp.exeAnn"),
        ("=?utf-8?q?Bcc=3A_a=40example=2Ecom?= Ann", None),
        ("a\x00\x0bb\x1bc\u2028d", None),
    ],
)
def test_no_name_writes_into_the_head(
    push: Any, work: Any, to_team: Mapping, sandbox: StandIn, author: str, shown: str | None
) -> None:
    push_post(push, author=author)
    work()
    (received,) = sandbox.mails()
    head = parsed(received)
    assert received["recipients"] == ["team@example.com"]
    assert (head["Bcc"], len(head.get_all("Subject") or [])) == (None, 1)
    if shown is not None:
        assert str(head["Subject"]) == f"CreateCase: {shown} on twitter"


@pytest.mark.parametrize(
    "author",
    [
        "=?utf-8?q?=E2=80=AEgpj.exe?=",
        "=?utf-8?q?a=00b?=",
        "é=?unknown?q?=0A?==E9=?us-ascii?q?Bcc:=E9?=",
        "=?utf-8?b?x?=",
    ],
)
def test_an_encoded_word_in_a_name_is_no_word_of_the_heads(
    push: Any, work: Any, to_team: Mapping, sandbox: StandIn, author: str
) -> None:
    push_post(push, author=author)
    work()
    (received,) = sandbox.mails()
    subject = str(parsed(received)["Subject"])
    assert not any(character in subject for character in "\u202e\x00\n")
    assert subject.replace("\u200b", "") == f"CreateCase: {author} on twitter"


def test_threads_and_lists_are_named_whole_however_long_the_senders_domain_is(
    push: Any, work: Any, to_team: Mapping, sandbox: StandIn, mail: Connection
) -> None:
    domain = "mail.notifications.customercare.socialmedia.example.com"
    Connection.objects.update(settings=mail.settings | {"sender": f"care@{domain}"})
    change(to_team, case="conversation")
    push_post(push, "twitter:1")
    work()
    push_post(push, "twitter:2", parentPost="twitter:1")
    work()
    first, second = (received["source"] for received in sandbox.mails())
    (number,) = re.findall(r"^Message-ID: (<\S+>)\r?$", first, re.MULTILINE)
    assert f"References: {number}" in second
    assert f"In-Reply-To: {number}" in second
    assert f"List-Id: <{to_team.uuid}.casebridge.{domain}>" in second


def test_mark_up_is_only_text(push: Any, work: Any, to_team: Mapping, sandbox: StandIn) -> None:
    push_post(push, text=MARK_UP, author="<script>x</script>", link='https://x.example/"><script>1</script>')
    work()
    html = body(sandbox.mails()[0], "html")
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("<a ") == 1


def test_a_mail_after_the_ticket_names_it(
    push: Any, work: Any, mapping: Mapping, mail: Connection, sandbox: StandIn
) -> None:
    recipe = next(found for found in DESTINATIONS["email"].recipes if found.slug == "tell-about-tickets")
    settings = {**recipe.settings, "to": ["team@example.com"]}
    MappingFactory.create(subscription=mapping.subscription, connection=mail, settings=settings, follows=mapping)
    push_post(push, author="Ann")
    work()
    (ticket,), (received,) = sandbox.tickets(), sandbox.mails()
    assert received["subject"] == f"Ticket {ticket['id']}: Ann on twitter"
    assert f"Open the ticket: {sandbox.url}/agent/tickets/{ticket['id']}" in body(received, "plain")


def test_posts_of_one_conversation_are_one_thread(push: Any, work: Any, to_team: Mapping, sandbox: StandIn) -> None:
    change(to_team, case="conversation")
    push_post(push, "twitter:1", author="Ann")
    work()
    push_post(push, "twitter:2", author="Bob", parentPost="twitter:1")
    work()
    push_post(push, "twitter:3", author="Cem", inReplyTo="twitter:2")
    work()
    first, second, third = (parsed(received) for received in sandbox.mails())
    assert first["References"] is None
    for later in (second, third):
        assert str(later["References"]) == str(later["In-Reply-To"]) == str(first["Message-ID"])
        # Some programs tell threads by the subject.
        assert str(later["Subject"]) == "Re: CreateCase: Ann on twitter"
    assert len({str(each["Message-ID"]) for each in (first, second, third)}) == 3
    assert "Bob wrote" in str(second.get_body(("plain",)).get_content())  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("post", "to"),
    [
        ({"entity_id": "facebook:1"}, "facebook@example.com"),
        ({"entity_id": "twitter:1", "followerCount": "50000"}, "vip@example.com"),
        ({"entity_id": "twitter:1", "followerCount": "5"}, "team@example.com"),
        ({"entity_id": "twitter:1", "followerCount": None}, "team@example.com"),
    ],
)
def test_the_first_condition_that_applies_says_who_gets_it(
    push: Any, work: Any, to_team: Mapping, sandbox: StandIn, post: dict[str, Any], to: str
) -> None:
    routes = [
        {"field": "network", "test": "is", "value": ["facebook"], "to": ["facebook@example.com"]},
        {"field": "followers", "test": "at_least", "value": 10_000, "to": ["vip@example.com"]},
    ]
    change(to_team, routes=routes)
    push_post(push, **post)
    work()
    assert sandbox.mails()[0]["recipients"] == [to]


def test_a_burst_is_two_mails(push: Any, work: Any, to_team: Mapping, sandbox: StandIn) -> None:
    change(to_team, gathers_over=2)
    for number in range(1, 9):
        push_post(push, f"twitter:{number}", text=f"Outage {number}")
    work()
    first, second, third = (received["subject"] for received in sandbox.mails())
    assert (first, second) == ("CreateCase: Author Name on twitter",) * 2 or "CreateCase" in first
    assert third == "6 posts in 1 minute: CreateCase"
    assert Delivery.objects.filter(result="counted").count() == 6


# --- Refusals --------------------------------------------------------------------------------------------------------


def test_who_is_greylisted_gets_it_once_when_the_server_takes_it(
    push: Any, work: Any, to_team: Mapping, sandbox: StandIn
) -> None:
    change(to_team, to=["team@example.com", "greylisted@example.com"])
    push_post(push)
    work()
    state, error = of_delivery()
    assert state == State.PENDING
    assert "puts off mail for greylisted@example.com, as many do at first (greylisting)" in error
    assert "Nothing was sent to anybody" in error
    assert sandbox.mails() == []
    work_again(work, 4)
    (received,) = sandbox.mails()
    assert received["recipients"] == ["team@example.com", "greylisted@example.com"]
    assert of_delivery()[0] == State.DELIVERED


@pytest.mark.parametrize(
    ("to", "said", "remedy"),
    [
        ("unknown@example.com", "knows no mailbox unknown@example.com", "Correct the address"),
        ("relay@example.com", "may not send mail to relay@example.com", "use a server that may"),
    ],
)
def test_a_recipient_that_is_refused_fails_at_once_and_in_words(
    push: Any, work: Any, to_team: Mapping, sandbox: StandIn, to: str, said: str, remedy: str
) -> None:
    change(to_team, to=[to])
    push_post(push)
    work()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempt_count, delivery.is_uncertain) == (State.FAILED, 1, False)
    assert said in delivery.last_error
    assert remedy in delivery.remedy
    assert "550 5." in Attempt.objects.get().detail
    assert Connection.objects.get(kind="email").paused_at is None


def test_whom_the_server_does_not_know_is_named_and_the_others_have_it(
    push: Any, work: Any, to_team: Mapping, sandbox: StandIn
) -> None:
    change(to_team, to=["unknown@example.com", "team@example.com"])
    push_post(push)
    work()
    assert sandbox.mails()[0]["recipients"] == ["team@example.com"]
    delivery = Delivery.objects.get()
    assert delivery.state == State.DELIVERED
    assert "did not take it for: unknown@example.com (550 5.1.1 No such user here)" in delivery.remarks


def test_a_full_mailbox_holds_up_nobody_else(push: Any, work: Any, to_team: Mapping, sandbox: StandIn) -> None:
    change(to_team, to=["full@example.com", "team@example.com"])
    push_post(push)
    work()
    assert sandbox.mails()[0]["recipients"] == ["team@example.com"]
    assert "did not take it for: full@example.com (452 4.2.2 Mailbox full)" in Delivery.objects.get().remarks


def test_a_full_mailbox_is_tried_again(push: Any, work: Any, to_team: Mapping, sandbox: StandIn) -> None:
    change(to_team, to=["full@example.com"])
    push_post(push)
    work()
    assert of_delivery()[0] == State.PENDING
    assert "The mailbox of full@example.com is full for now" in of_delivery()[1]


def test_a_sender_that_is_rejected_pauses_the_connection(
    push: Any, work: Any, to_team: Mapping, sandbox: StandIn, mail: Connection
) -> None:
    Connection.objects.filter(pk=mail.pk).update(settings=mail.settings | {"sender": "rejected@example.com"})
    push_post(push)
    work()
    mail.refresh_from_db()
    assert "does not take mail from rejected@example.com" in mail.pause_reason
    assert of_delivery()[0] == State.PENDING
    assert sandbox.mails() == []


def test_what_is_taken_for_spam_fails_with_words(push: Any, work: Any, to_team: Mapping, sandbox: StandIn) -> None:
    push_post(push, author="Buy SPAM")
    work()
    state, error = of_delivery()
    assert state == State.FAILED
    assert "refused the mail's content" in error


def test_an_unknown_outcome_after_the_end_of_the_mail_is_sent_once_more_and_the_page_says_so(
    push: Any, work: Any, to_team: Mapping, sandbox: StandIn
) -> None:
    change(to_team, to=["hangup@example.com"])
    push_post(push)
    work()
    state, error = of_delivery()
    assert state == State.PENDING
    assert "it may have been sent" in error
    move()
    work()
    first, second = (parsed(received) for received in sandbox.mails())
    assert str(first["Message-ID"]) == str(second["Message-ID"])
    assert of_delivery()[0] == State.DELIVERED
    assert "may have been sent twice" in Delivery.objects.get().remarks


def test_a_refusal_in_between_leaves_the_one_more_try(push: Any, work: Any, to_team: Mapping, sandbox: StandIn) -> None:
    change(to_team, to=["hangup@example.com", "greylisted@example.com"])
    push_post(push)
    work_again(work, 5)
    assert of_delivery()[0] == State.DELIVERED
    assert [found.outcome for found in Attempt.objects.order_by("number")] == ["retry", "retry", "retry", "delivered"]
    assert len(sandbox.mails()) == 2


@pytest.mark.parametrize("answer", [b"what?", b"", b"xx", b"25", b"000", b"354 more"])
def test_whatever_is_no_answer_after_the_end_leaves_the_outcome_unknown(answer: bytes) -> None:
    with running_server(partial(answers_the_end_with, answer)) as port:
        client = SmtpClient(f"smtp://127.0.0.1:{port}", seconds=2, name="E-mail")
        with pytest.raises(Failure, match="it may have been sent") as failed:
            client.deliver(A_MAIL, Login(), greets_as="example.com")
    assert failed.value.is_uncertain


def test_after_a_second_unknown_outcome_only_a_person_sends_it_again(
    push: Any, work: Any, to_team: Mapping, sandbox: StandIn, mail: Connection
) -> None:
    with running_server(hangs_up_at_the_end) as port:
        Connection.objects.filter(pk=mail.pk).update(settings=mail.settings | {"port": port})
        push_post(push)
        work_again(work, 4)
    assert Attempt.objects.count() == 2
    assert of_delivery()[0] == State.FAILED
    Connection.objects.filter(pk=mail.pk).update(settings=mail.settings, breaker_opened_at=None, breaker_probe_at=None)
    retry_now(Delivery.objects.all())
    work()
    assert of_delivery()[0] == State.DELIVERED
    assert len(sandbox.mails()) == 1


# --- The server ------------------------------------------------------------------------------------------------------


def says_nothing(opened: socket.socket, ends: threading.Event) -> None:
    ends.wait(5)


def drips(opened: socket.socket, ends: threading.Event) -> None:
    """A greeting that never comes to its end."""
    opened.sendall(b"220-")
    while not ends.wait(0.05):
        opened.sendall(b"x")


def hangs_up_at_the_end(opened: socket.socket, ends: threading.Event) -> None:
    """Takes a mail to its last line, and does not answer."""
    answers_the_end_with(None, opened, ends)


def answers_the_end_with(answer: bytes | None, opened: socket.socket, ends: threading.Event) -> None:
    answers = {b"EHLO": b"250 fine", b"MAIL": b"250 fine", b"RCPT": b"250 fine", b"DATA": b"354 go on"}
    opened.sendall(b"220 hello\r\n")
    for line in opened.makefile("rb"):
        if line.strip() == b".":
            if answer is not None:
                opened.sendall(answer + b"\r\n")
            return
        if known := answers.get(line[:4].upper()):
            opened.sendall(known + b"\r\n")


@contextmanager
def running_server(manner: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """A server of this manner; the port it listens at."""
    listening, ends = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        while not ends.is_set():
            try:
                opened, _ = listening.accept()
                with opened:
                    manner(opened, ends)
            except OSError:
                continue

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        ends.set()
        listening.close()


A_MAIL = Mail(SENDER, ["team@example.com"], b"Subject: x\r\n\r\ny\r\n")


@pytest.mark.parametrize("manner", [says_nothing, drips])
def test_a_server_that_does_not_come_to_the_point_costs_no_more_than_the_deadline(manner: Any) -> None:
    with running_server(manner) as port:
        client = SmtpClient(f"smtp://127.0.0.1:{port}", seconds=0.5, name="E-mail")
        began = time.monotonic()
        with pytest.raises(Failure, match="did not respond in time") as failed:
            client.deliver(A_MAIL, Login(), greets_as="example.com")
    assert time.monotonic() - began < 3
    assert not failed.value.is_uncertain
    assert "Nothing was sent" in failed.value.message


def test_a_handshake_that_drags_on_ends_at_the_deadline(portal: Any) -> None:
    def drags_on(opened: socket.socket, ends: threading.Event) -> None:
        opened.sendall(b"220 hello\r\n")
        heard = opened.makefile("rb")
        heard.readline()
        opened.sendall(b"250-fine\r\n250 STARTTLS\r\n")
        heard.readline()
        opened.sendall(b"220 go on\r\n")
        while not ends.wait(0.1):
            opened.sendall(b"\x16")

    with running_server(drags_on) as port:
        client = SmtpClient(f"smtp+tls://127.0.0.1:{port}", seconds=1, name="E-mail")
        began = time.monotonic()
        with pytest.raises(Failure) as failed:
            client.deliver(A_MAIL, Login(), greets_as="example.com")
    assert time.monotonic() - began < 4
    assert not failed.value.is_uncertain


def test_a_server_that_is_not_there_is_told_so(portal: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = SmtpClient(f"smtp://127.0.0.1:{port}", seconds=2, name="E-mail")
    with pytest.raises(Failure, match="cannot be reached") as failed:
        client.deliver(A_MAIL, Login(), greets_as="example.com")
    assert (failed.value.is_transport, failed.value.is_uncertain) == (True, False)


def test_no_private_address_is_called_but_the_server_that_the_administrator_named(
    settings: Any, shared_sandbox: StandIn
) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    client = SmtpClient(f"smtp://127.0.0.1:{shared_sandbox.mail_port}", seconds=5, name="E-mail")
    with pytest.raises(Failure, match="private address"):
        client.test(SENDER, Login(), greets_as="example.com")
    by_the_administrator(settings, shared_sandbox)
    client.test(SENDER, Login(), greets_as="example.com")


def by_the_administrator(settings: Any, sandbox: StandIn) -> None:
    """As EMAIL_URL=smtp://127.0.0.1:... sets it."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", sandbox.mail_port
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = mailbox.USER, mailbox.PASSWORD


def test_mail_goes_by_the_portals_own_server_where_that_is_chosen(
    push: Any, work: Any, to_team: Mapping, sandbox: StandIn, settings: Any
) -> None:
    by_the_administrator(settings, sandbox)
    Connection.objects.update(settings={"server": "portal", "sender": SENDER, "sender_name": ""})
    push_post(push)
    work()
    assert len(sandbox.mails()) == 1
    attempt = Attempt.objects.get()
    assert mailbox.PASSWORD not in str(attempt.exchanges)
    assert "> AUTH [removed]" in attempt.exchanges[0]["reply"]


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, Path]]:
    with running_tls_server(tmp_path_factory.mktemp("tls")) as found:
        yield found


@pytest.mark.parametrize("scheme", ["smtp+tls", "smtps"])
def test_an_encrypted_server_with_a_sign_in_takes_mail(
    tls_server: tuple[int, int, Path], scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    starttls, tls, certificate = tls_server
    monkeypatch.setitem(os.environ, "SSL_CERT_FILE", str(certificate))
    client = SmtpClient(f"{scheme}://localhost:{starttls if scheme == 'smtp+tls' else tls}", seconds=5, name="E-mail")
    login = Login(mailbox.USER, mailbox.PASSWORD)
    assert client.deliver(A_MAIL, login, greets_as="example.com") == []
    assert client.exchanges[0]["status"] == 250
    with pytest.raises(Refused) as refused:
        client.deliver(A_MAIL, Login(mailbox.USER, "wrong"), greets_as="example.com")
    assert (refused.value.step, refused.value.code) == ("sign-in", 535)


@pytest.mark.parametrize("scheme", ["smtp+tls", "smtps"])
def test_a_certificate_that_nobody_vouches_for_is_not_accepted(tls_server: tuple[int, int, Path], scheme: str) -> None:
    starttls, tls, _ = tls_server
    client = SmtpClient(f"{scheme}://localhost:{starttls if scheme == 'smtp+tls' else tls}", seconds=5, name="E-mail")
    with pytest.raises(Failure, match="its certificate or TLS was not accepted"):
        client.deliver(A_MAIL, Login(), greets_as="example.com")


def test_without_encryption_nothing_is_said_where_it_was_asked_for(
    push: Any, work: Any, to_team: Mapping, sandbox: StandIn, mail: Connection
) -> None:
    Connection.objects.update(settings=mail.settings | {"security": "smtp+tls"})
    push_post(push)
    work()
    mail.refresh_from_db()
    assert "offers no encryption (STARTTLS)" in mail.pause_reason
    assert sandbox.mails() == []


# --- The pages -------------------------------------------------------------------------------------------------------


def test_a_connection_is_tested_without_a_mail(admin: Any, mail: Connection, sandbox: StandIn) -> None:
    answer = save(admin, f"connection/{mail.pk}/change/")
    assert f"takes mail from {SENDER}. Nothing was sent." in answer.content.decode()
    assert sandbox.mails() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sender": "not an address"}, "is not an e-mail address"),
        ({"sender": "a@b.example\r\nBcc: c@d.example"}, "is not an e-mail address"),
        ({"server": "portal"}, "The portal has no mail server"),
        ({"host": ""}, "Required for a server of its own."),
        ({"host": "smtp.example.com/x"}, "Enter the server's name alone"),
        ({"user": "ann", "security": "smtp+tls"}, "Required with a user."),
        ({"user": "ann", "password": "secret"}, "A password is not sent in the clear"),
        ({"port": "0"}, "greater than or equal to 1"),
    ],
)
def test_wrong_input_of_a_connection_is_refused_beside_its_field(
    admin: Any, mail: Connection, changes: dict[str, str], message: str
) -> None:
    answer = save(admin, f"connection/{mail.pk}/change/", **changes)
    assert message in str(answer.context["adminform"].form.errors).replace("&#x27;", "'")


def test_a_password_is_asked_for_again_where_the_server_is_another(admin: Any, mail: Connection) -> None:
    changes = {"user": "ann", "password": "secret", "security": "smtp+tls"}
    save(admin, f"connection/{mail.pk}/change/", **changes)
    answer = save(admin, f"connection/{mail.pk}/change/", host="127.0.0.2", password="")
    assert "The address changed, so enter this again" in str(answer.context["adminform"].form.errors)


def test_addresses_by_condition_are_filled_in_and_shown_again(
    admin: Any, to_team: Mapping, push: Any, work: Any, sandbox: StandIn
) -> None:
    row = {"routes-0-field": "network", "routes-0-test": "is", "routes-0-value": "facebook, instagram"}
    save(admin, f"mapping/{to_team.pk}/change/", **row, **{"routes-0-to": "a@example.com, b@bücher.example"})
    to_team.refresh_from_db()
    assert to_team.settings["routes"] == [
        {
            "field": "network", "test": "is", "value": ["facebook", "instagram"],
            "to": ["a@example.com", "b@xn--bcher-kva.example"],
        }
    ]  # fmt: skip
    shown = form_of(page(admin, f"mapping/{to_team.pk}/change/"))
    assert (shown["routes-0-value"], shown["routes-1-value"]) == ("facebook, instagram", "")
    push_post(push, "instagram:1")
    work()
    assert sandbox.mails()[0]["recipients"] == ["a@example.com", "b@xn--bcher-kva.example"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"to": ""}, "This field is required."),
        ({"to": "team@example.com, nobody"}, "“nobody” is not an e-mail address."),
        ({"to": " ".join(f"a{number}@example.com" for number in range(21))}, "Enter at most 20 addresses."),
        ({"to": "\N{KELVIN SIGN}elvin@example.com"}, "is not an e-mail address."),
        ({"reply_to": "desk"}, "“desk” is not an e-mail address."),
        ({"routes-0-field": "network", "routes-0-to": "a@example.com"}, "Row 1: Enter a value"),
        ({"routes-0-field": "network", "routes-0-value": "x"}, "Row 1: Enter the address that gets the post."),
        ({"routes-1-value": "x"}, "Row 1: Choose what the condition is about."),
        (
            {"routes-0-field": "followers", "routes-0-test": "contains", "routes-0-value": "x"},
            "Row 1: “Number of followers” cannot be compared like that.",
        ),
    ],
)
def test_wrong_addresses_of_a_mapping_are_refused_beside_their_field(
    admin: Any, to_team: Mapping, changes: dict[str, str], message: str
) -> None:
    answer = save(admin, f"mapping/{to_team.pk}/change/", **changes)
    assert message in str(answer.context["adminform"].form.errors).replace("&#x27;", "'")


def test_a_deliverys_page_shows_the_mail_and_what_the_server_said(
    admin: Any, push: Any, work: Any, to_team: Mapping
) -> None:
    push_post(push, text="Where is my parcel?", author="Ann", link=LINK)
    work()
    html = page(admin, f"delivery/{Delivery.objects.get().pk}/change/")
    assert "cb-drawn-header" in html
    assert "team@example.com" in html
    assert "RCPT TO:&lt;team@example.com&gt;" in html


def test_a_condition_that_cannot_be_said_sends_nobody_elsewhere(
    push: Any, work: Any, to_team: Mapping, sandbox: StandIn
) -> None:
    rows = all_of(("followers", "at_most", 10))["groups"][0]["rows"]
    change(to_team, routes=[row | {"to": ["few@example.com"]} for row in rows])
    push_post(push, followerCount=None)
    work()
    assert sandbox.mails()[0]["recipients"] == ["team@example.com"]
