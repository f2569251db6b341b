"""From a post and a mapping to a mail: its parts as they are stored and shown, and the whole as it is sent.

Facts: RFC 5322 (Message-ID, References), RFC 2919 (List-Id), RFC 3834 (Auto-Submitted).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from email.headerregistry import Address, HeaderRegistry, MessageIDHeader
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import localtime
from typing import Any

from django.utils.html import format_html, format_html_join, linebreaks
from django.utils.safestring import SafeString, mark_safe

from integrations.destinations import base
from integrations.destinations.base import Context
from integrations.destinations.capabilities import BurstNews
from integrations.domain.post import Post
from integrations.domain.templating import render
from integrations.infra.text import harmless, shortened

LONGEST_SUBJECT, LONGEST_TEXT, LONGEST_NAME = 200, 100_000, 100
DEFAULT_SUBJECT = "{{ label }}: {{ author|default:Someone }} on {{ network }}"
DEFAULT_TEXT = "{{ author|default:Someone }} wrote on {{ network }}:\n\n{{ text }}\n\n{{ details }}"
TEST_TEXT = "This is a test from Casebridge. Please ignore it."
STYLE = "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;color:#111827;max-width:40em"
REPLY = "Re: "
# As ids, which are never folded or encoded, however long the sender's domain is.
_HEADERS = HeaderRegistry()
for _name in ("references", "in-reply-to", "list-id"):
    _HEADERS.map_to_type(_name, MessageIDHeader)  # type: ignore[arg-type]
POLICY = SMTP.clone(header_factory=_HEADERS)


def build(post: Post, context: Context, settings: Mapping[str, Any], recipients: Sequence[str]) -> str:
    """The mail's parts: {"to", "subject", "text", "links", "reply_to", "list"}. Its sender is the connection's."""
    values = base.placeholder_values(post, context)
    links = [(f"Open the {context.made_thing}", context.made_link)]
    if settings.get("adds_link", True):
        links.append((post.link_words, post.link))
    return _parts(
        settings,
        recipients,
        subject=render(settings.get("subject") or DEFAULT_SUBJECT, values),
        text=render(settings.get("text") or DEFAULT_TEXT, values),
        links=links,
        uuid=context.mapping_uuid,
    )


def _parts(
    settings: Mapping[str, Any], recipients: Sequence[str], *, subject: str, text: str,
    links: Sequence[tuple[str, str]], uuid: str = "",
) -> str:  # fmt: skip
    return base.as_json(
        {
            "to": list(recipients),
            "reply_to": str(settings.get("reply_to") or ""),
            "subject": one_line(subject, LONGEST_SUBJECT) or "(no subject)",
            "text": harmless(text).strip()[:LONGEST_TEXT],
            "links": [(title, address) for title, found in links if (address := base.quoted_link(found))],
            "list": uuid,
        }
    )


def build_burst(news: BurstNews, settings: Mapping[str, Any]) -> str:
    """The mail that counts a burst: one at its beginning, one at its end."""
    minutes = max(round((news.last_at - news.began_at).total_seconds() / 60), 1)
    count = f"{news.count} post{'s' * (news.count != 1)} in {minutes} minute{'s' * (minutes != 1)}"
    end = "It is over: they no longer come so fast." if news.is_over else "A last mail says when it is over."
    latest = [
        f"• {shortened(post.author or 'Someone', 100)}: {post.text} {base.quoted_link(post.link)}"
        for post in news.latest
    ]
    return _parts(
        settings,
        list(settings.get("to") or []),
        subject=f"{count}: {news.listens_to}",
        text="\n".join([f"{count}. {end}", "", "The latest:", *latest]),
        links=[("All of them in Casebridge", news.address)],
        uuid=news.mapping_uuid,
    )


def in_thread(request: str, first: str) -> str:
    """With the subject of the thread's first mail: some programs tell threads by it."""
    began = str(json.loads(first)["subject"])
    subject = began if began.startswith(REPLY) else f"{REPLY}{began}"
    return base.as_json(json.loads(request) | {"subject": subject})


def as_test(request: str) -> str:
    content = json.loads(request)
    return base.as_json(
        content | {"subject": f"[Test] {content['subject']}", "text": f"{TEST_TEXT}\n\n{content['text']}"}
    )


# --- The whole -------------------------------------------------------------------------------------------------------


def message_id(external_id: str, sender: str) -> str:
    """The same at every try of a delivery, whoever asks for it."""
    return f"{hashlib.sha256(external_id.encode()).hexdigest()[:40]}@{domain_of(sender)}"


def domain_of(address: str) -> str:
    return address.rpartition("@")[2] or "localhost"


def whole(content: Mapping[str, Any], account: Mapping[str, Any], number: str, answers: str) -> bytes:
    """The mail with its head, ready to be sent. `answers`: the number of the mail that its thread began with."""
    mail, sender = EmailMessage(policy=POLICY), str(account["sender"])
    name = one_line(str(account.get("sender_name") or "Casebridge"), LONGEST_NAME)
    mail["From"] = Address(name, addr_spec=sender)
    mail["To"] = tuple(Address(addr_spec=address) for address in content["to"])
    mail["Subject"] = content["subject"]
    mail["Date"] = localtime()
    mail["Message-ID"] = f"<{number}>"
    if answers:
        mail["In-Reply-To"] = mail["References"] = f"<{answers}>"
    if content["reply_to"]:
        mail["Reply-To"] = Address(addr_spec=content["reply_to"])
    if uuid := content["list"]:
        mail["List-Id"] = f"<{uuid}.casebridge.{domain_of(sender)}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content(_plain(content), cte="quoted-printable")
    mail.add_alternative(_html(content), subtype="html", cte="quoted-printable")
    return mail.as_bytes()


def _plain(content: Mapping[str, Any]) -> str:
    links = [f"{title}: {address}" for title, address in content["links"]]
    return "\n\n".join(filter(None, [content["text"], "\n".join(links)])) + "\n"


def _html(content: Mapping[str, Any]) -> str:
    link = '<a href="{}" style="color:#0f766e">{}</a>'
    links = format_html_join(mark_safe(" &nbsp; "), link, ((address, title) for title, address in content["links"]))
    said = mark_safe(linebreaks(content["text"], autoescape=True))  # noqa: S308 - escaped by it
    body: SafeString = format_html(
        '<!doctype html><html><head><meta charset="utf-8"><title>{}</title></head><body>'
        '<div dir="auto" style="{}">{}</div><p style="{}">{}</p></body></html>',
        content["subject"], STYLE, said, STYLE, links,
    )  # fmt: skip
    return str(body)


# --- Text ------------------------------------------------------------------------------------------------------------


def one_line(text: str, most: int) -> str:
    """Foreign text for a head: without line breaks, controls, and what turns the reading direction.

    Nor with what reads as an encoded word (RFC 2047), which could bring all of these back.
    """
    return shortened(harmless(text).replace("=?", "=\u200b?"), most)
