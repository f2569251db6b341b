"""The pages for people: the inbox and the faults. Those about one service alone are in `khoros_pages` and
`zendesk_pages`.

Every value is escaped by `filled`, which is the only way a page is put together. Every form is answered with a
redirect, so that loading a page again repeats nothing.
"""

import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from html import escape
from typing import Any
from urllib.parse import urlsplit

from sandbox import inbox, khoros, sign_in
from sandbox.controls import Controls
from sandbox.exchange import Answer, Request, Routes, first_text, see_other
from sandbox.faults import APIS, KINDS, Fault, fault_from
from sandbox.khoros_pages import KhorosPages
from sandbox.markup import HERE, Markup, checked, filled, form_number, joined, moment, options, outcome, page
from sandbox.zendesk_pages import ZendeskPages

SHOWN_POSTS = 100
FOLDED_CHARACTERS = 600
NETWORKS = {
    "twitter": "Twitter",
    "facebook": "Facebook",
    "instagram": "Instagram",
    "linkedin": "LinkedIn",
    "youtube": "YouTube",
}

SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    (
        "Content-Security-Policy",
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    ("Referrer-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)

API_WORDS = {"zendesk": "Zendesk", "khoros": "Khoros", "both": "Khoros and Zendesk"}
RESUBSCRIBE_WORDS = {"update": "changes the subscription in place", "second": "makes a second subscription"}


def secured(answer: Answer) -> Answer:
    return replace(answer, headers=(*answer.headers, *SECURITY_HEADERS))


class Pages:
    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._state = controls.state
        self._routes = Routes(
            ("GET", "/", self._overview),
            ("GET", "/inbox", self._inbox),
            ("POST", "/inbox/posts", self._compose),
            ("POST", "/inbox/posts/([0-9]{1,15})/labels", self._apply_label),
            ("POST", "/inbox/events/([0-9a-f-]{36})/push", self._push_again),
            ("GET", "/faults", self._faults),
            ("POST", "/faults", self._add_fault),
            ("POST", "/faults/off", self._clear_faults),
            ("POST", "/faults/([0-9]{1,15})/off", self._remove_fault),
            ("POST", "/settings", self._change_settings),
            ("POST", "/age-keys", self._age_keys),
            ("POST", "/reset", self._reset),
            ("GET", "/static/sandbox.css", self._style),
            ("GET", "/favicon.ico", self._icon),
            *KhorosPages(controls).routes,
            *ZendeskPages(controls).routes,
        )

    def answer(self, request: Request) -> Answer:
        try:
            answer = self._routes.answer(request) or self._problem(404, "There is no such page.")
        except LookupError as missing:
            answer = self._problem(404, str(missing))
        except ValueError as problem:
            answer = self._problem(400, str(problem))
        return secured(answer)

    def _problem(self, status: int, sentence: str) -> Answer:
        return page("Not done", filled("problem", sentence=sentence), status=status)

    def _overview(self, request: Request) -> Answer:
        count = self._state.count
        is_own_zendesk = sign_in.accepted_token() != sign_in.DEFAULT_TOKEN
        is_own_khoros = khoros.accepted_token() != khoros.DEFAULT_TOKEN
        own = "as set in the environment"
        content = filled(
            "overview",
            posts=count("SELECT count(*) FROM posts"),
            tickets=count("SELECT count(*) FROM tickets"),
            subscriptions=count("SELECT count(*) FROM subscriptions"),
            events=count("SELECT count(*) FROM events"),
            faults=len(self._controls.faults.all()),
            origin=request.origin,
            khoros_token=own if is_own_khoros else khoros.DEFAULT_TOKEN,
            zendesk_email=sign_in.accepted_email(),
            zendesk_token=own if is_own_zendesk else sign_in.DEFAULT_TOKEN,
            client_id=sign_in.CLIENT_ID,
            client_secret=sign_in.habits(self._state)["client_secret"],
        )
        return page("Overview", content, here="/")

    def _inbox(self, request: Request) -> Answer:
        posts = inbox.posts(self._state, SHOWN_POSTS)
        total = self._state.count("SELECT count(*) FROM posts")
        is_pushing = self._state.row("SELECT 1 FROM pushes WHERE finished_at IS NULL") is not None
        content = filled(
            "inbox",
            count=f"The newest {SHOWN_POSTS} of {total:,} posts" if total > len(posts) else f"{total} posts",
            posts=joined(self._post(post) for post in posts),
            networks=options(NETWORKS, "twitter"),
        )
        # Only while a push is on its way: at any other time a reload would empty a form being filled in.
        return page("Inbox", content, here="/inbox", refresh=2 if is_pushing else 0)

    def _post(self, post: dict[str, Any]) -> Markup:
        link = _outside_link(post["link"], "Open the post") if post["link"] else filled("no_link")
        known = post["network"] if post["network"] in NETWORKS else "other"
        return filled(
            "post",
            id=post["id"],
            network=NETWORKS.get(post["network"], post["network"]),
            known_network=known,
            author=post["author"],
            handle=post["handle"],
            followers=_with_commas(post["followers"]),
            posted_at=post["posted_at"],
            posted_at_words=moment(post["posted_at"]),
            text=_folded(post["text"]),
            link=link,
            entity_id=post["entityId"],
            labellings=joined(self._labelling(row) for row in inbox.labellings(self._state, post["id"])),
            labels=options({label: label for label in inbox.LABELS}, inbox.LABELS[0]),
        )

    def _labelling(self, labelling: sqlite3.Row) -> Markup:
        outcomes = inbox.outcomes(self._state, labelling["id"])
        return filled(
            "labelling",
            label=labelling["label"],
            applied_at=labelling["applied_at"],
            applied_at_words=moment(labelling["applied_at"]),
            outcomes=joined(outcome(row, f"/inbox/events/{row['event_uuid']}/push") for row in outcomes)
            if outcomes
            else filled("no_outcome"),
        )

    def _compose(self, request: Request) -> Answer:
        form = request.form()
        wanted = {name: form.get(name, "").strip() for name in ("network", "author", "handle", "text", "followers")}
        link = form.get("link", "").strip()
        made = inbox.compose(self._state, {**wanted, "link": "" if form.get("no_link") else link or None})
        return see_other(f"/inbox#post-{made['id']}")

    def _apply_label(self, request: Request, post_id: str) -> Answer:
        form = request.form()
        label = first_text((form.get("other_label", ""), form.get("label", "")))
        self._controls.apply_label(label, [int(post_id)])
        return see_other(f"/inbox#post-{post_id}")

    def _push_again(self, request: Request, event_uuid: str) -> Answer:
        self._controls.push_again(event_uuid)
        return see_other("/inbox")

    def _faults(self, request: Request) -> Answer:
        active = self._controls.faults.all()
        settings = self._state.settings
        content = filled(
            "faults",
            active=joined(_fault_card(fault) for fault in active) if active else filled("no_faults"),
            all_off=filled("all_faults_off") if active else "",
            apis=options({api: API_WORDS[api] for api in APIS}, "zendesk"),
            kinds=options(KINDS, "500"),
            methods=options({"": "any", "GET": "GET", "POST": "POST", "PUT": "PUT", "DELETE": "DELETE"}, ""),
            rate_limit=settings.rate_limit,
            index_limit=settings.index_limit,
            key_hours=f"{settings.idempotency_age_seconds / 3600:g}",
            resubscribe=options(RESUBSCRIBE_WORDS, settings.resubscribe),
            push_checked=checked(settings.push),
            labels_checked=checked(settings.labels_in_payload),
        )
        return page("Faults", content, here="/faults")

    def _add_fault(self, request: Request) -> Answer:
        self._controls.faults.add(fault_from(_fault_values(request.form())))
        return see_other("/faults")

    def _clear_faults(self, request: Request) -> Answer:
        self._controls.faults.clear()
        return see_other("/faults")

    def _remove_fault(self, request: Request, fault_id: str) -> Answer:
        # One that has ended by itself in the meantime is off as well, so there is nothing to complain about.
        self._controls.faults.remove(int(fault_id))
        return see_other("/faults")

    def _change_settings(self, request: Request) -> Answer:
        form = request.form()
        self._controls.change_settings(
            {
                "rate_limit": form_number(form, "rate_limit", int),
                "index_limit": form_number(form, "index_limit", int),
                "resubscribe": form.get("resubscribe", ""),
                "push": "push" in form,
                "labels_in_payload": "labels_in_payload" in form,
            }
        )
        return see_other("/faults")

    def _age_keys(self, request: Request) -> Answer:
        self._controls.age_keys(self._state.settings.idempotency_age_seconds)
        return see_other("/faults")

    def _reset(self, request: Request) -> Answer:
        self._controls.reset()
        return see_other("/")

    def _style(self, request: Request) -> Answer:
        style = (HERE / "static" / "sandbox.css").read_text(encoding="utf-8")
        return Answer(200, style.encode(), (("Content-Type", "text/css; charset=utf-8"),))

    def _icon(self, request: Request) -> Answer:
        return Answer(204)


def _outside_link(address: str, words: str) -> Markup:
    """A link where the address is one a browser may follow, else the address as text."""
    if urlsplit(address).scheme in ("http", "https"):
        return filled("outside_link", address=address, words=words)
    return Markup(escape(address))


def _folded(text: str) -> Markup:
    if len(text) <= FOLDED_CHARACTERS:
        return filled("post_text", text=text)
    beginning = text[:FOLDED_CHARACTERS].rsplit(" ", 1)[0]
    return filled("long_post_text", beginning=beginning, text=text, length=f"{len(text):,}")


def _with_commas(number: str) -> str:
    return f"{int(number):,}" if re.fullmatch("[0-9]{1,15}", number, re.ASCII) else number


def _fault_card(fault: Fault) -> Markup:
    limits = " ".join(part for part in (fault.method, fault.path and f"{fault.path}…") if part)
    details = [
        f"{fault.seconds:g} seconds" if fault.seconds is not None else "",
        f"Retry-After {fault.retry_after}" if fault.retry_after else "",
        f"status {fault.status}" if fault.status is not None else "",
    ]
    return filled(
        "fault",
        id=fault.id,
        api=API_WORDS[fault.api],
        words=KINDS[fault.kind],
        lasts="until switched off" if fault.times is None else f"{fault.times} more",
        applies_to=f"only {limits}" if limits else "every request",
        details=", ".join(part for part in details if part) or "–",
        fired=fault.fired,
    )


def _fault_values(form: Mapping[str, str]) -> dict[str, Any]:
    """The fields of the fault form, as the control API would take them; what is left blank is left out."""
    texts = {name: form.get(name, "").strip() for name in ("api", "kind", "method", "path", "retry_after")}
    values: dict[str, Any] = {name: text for name, text in texts.items() if text}
    kinds: dict[str, Callable[[str], Any]] = {"times": int, "status": int, "seconds": float}
    values |= {name: form_number(form, name, kind) for name, kind in kinds.items() if form.get(name, "").strip()}
    headers = [line.partition(":") for line in form.get("headers", "").splitlines() if line.strip()]
    pairs = [[name.strip(), value.strip()] for name, _, value in headers]
    if form.get("location", "").strip():
        pairs.append(["Location", form["location"].strip()])
    return {**values, "headers": pairs, "body": form.get("body") or None}
