"""E-mail: each post as a mail, to fixed addresses or to those of the first condition that applies.

A mail that may have been sent cannot be asked for, so it is sent once more at most. Its Message-ID is the same at every
try, by which programs that look at it recognise the second. Posts of one case are one thread.
"""

import json
from collections.abc import Mapping
from typing import Any

from integrations.destinations import base
from integrations.destinations.base import Check, Context, Credentials, Outgoing, Receipt
from integrations.destinations.capabilities import BurstNews, DrawnPart, Piece
from integrations.destinations.email import answers, message
from integrations.destinations.email.addresses import recipients_of
from integrations.destinations.email.forms import EmailConnectionForm, EmailMappingForm, origin_of
from integrations.destinations.email.recipes import RECIPES
from integrations.domain.post import Post
from integrations.infra.smtp import Login, Mail, Refused, SmtpClient, portal_server


class Email(base.Destination[SmtpClient]):
    kind, title, thing = "email", "E-mail", "mail"
    client_class = SmtpClient
    connection_form, mapping_form = EmailConnectionForm, EmailMappingForm
    repeats_freely = False
    recipes = RECIPES

    def origin(self, settings: Mapping[str, Any]) -> str:
        return origin_of(settings)

    def build(self, post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
        return message.build(post, context, settings, recipients_of(post, context, settings))

    def send(self, client: SmtpClient, outgoing: Outgoing, credentials: Credentials) -> Receipt:
        content = json.loads(outgoing.request)
        sender = str(credentials.settings["sender"])
        number = message.message_id(outgoing.external_id, sender)
        try:
            whole = message.whole(content, credentials.settings, number, outgoing.target)
        except (ValueError, LookupError) as error:
            raise answers.unwritable(error) from error
        login = _login(credentials)
        try:
            unknown = client.deliver(Mail(sender, content["to"], whole), login, greets_as=message.domain_of(sender))
        except Refused as refused:
            raise answers.failure(refused, sender) from None
        # A thread is known by the mail that it began with.
        how = "appended" if outgoing.target else "created"
        return Receipt(outgoing.target or number, "", how, answers.warning(unknown))

    def check(self, client: SmtpClient, credentials: Credentials) -> list[Check]:
        sender = str(credentials.settings["sender"])
        try:
            client.test(sender, _login(credentials), greets_as=message.domain_of(sender))
        except Refused as refused:
            raise answers.failure(refused, sender) from None
        signed_in = "signs Casebridge in and " if _login(credentials).user else ""
        return [Check(True, f"The server {signed_in}takes mail from {sender}. Nothing was sent.")]

    def describe(self, request: str, lists: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
        content = json.loads(request)
        rows = [("To", ", ".join(content["to"])), ("Reply to", content["reply_to"]), ("Subject", content["subject"])]
        links = [(title, address) for title, address in content["links"]]
        return [(name, value) for name, value in [*rows, ("Text", content["text"]), *links] if value]

    def shown_number(self, number: str) -> str:
        return ""

    def rules(self, settings: Mapping[str, Any]) -> base.Rules:
        return base.Rules(
            case=str(settings.get("case") or "post"),
            case_hours=int(settings.get("case_hours") or 24),
            gathers_over=int(settings.get("gathers_over") or 0),
        )

    # --- KeepsCases, AnswersInThreads ---

    def as_comment(self, request: str, external_id: str) -> str:
        return request

    def in_thread(self, request: str, first: str) -> str:
        return message.in_thread(request, first)

    # --- CountsBursts ---

    def can_update(self, account: Mapping[str, Any]) -> bool:
        return False

    def as_solved(self, request: str, sentence: str) -> str:
        return request

    def build_burst(self, news: BurstNews, settings: Mapping[str, Any], external_id: str) -> str:
        return message.build_burst(news, settings)

    # --- Draws, MarksTests ---

    test_text = "its subject begins with “[Test]”."

    def draw(self, request: str) -> list[DrawnPart]:
        content = json.loads(request)
        parts = [DrawnPart("header", (Piece(content["subject"]),)), DrawnPart("section", (Piece(content["text"]),))]
        links = [piece for title, address in content["links"] for piece in (Piece("  ·  "), Piece(title, link=address))]
        return [*parts, DrawnPart("context", tuple(links[1:]))] if links else parts

    def as_test(self, request: str, uuid: str) -> tuple[str, str]:
        return message.as_test(request), f"khoros:test:{uuid}"


def _login(credentials: Credentials) -> Login:
    if credentials.settings.get("server") == "portal":
        known = portal_server()
        return known[1] if known else Login()
    return Login(str(credentials.settings.get("user") or ""), credentials.secrets.get("password", ""))


EMAIL = Email()
