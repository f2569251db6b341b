"""The pages: overview, inbox and faults. Those about one service are in `khoros_pages` and `zendesk_pages`.

Every form is answered with a redirect, so that reloading a page repeats nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sandbox import events, inbox, khoros, mailbox, on_call, sign_in
from sandbox import slack_workspace as workspace
from sandbox.controls import Controls
from sandbox.exchange import Answer, Request, Routes, first_text, form_number, see_other
from sandbox.faults import APIS, KINDS, Fault, fault_from
from sandbox.khoros_pages import KhorosPages
from sandbox.mail_pages import MailPages
from sandbox.on_call import OnCallPages
from sandbox.rendering import count_words, page, problem_page
from sandbox.slack_pages import SlackPages
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

STYLE = Path(__file__).parent / "static" / "sandbox.css"
SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    (
        "Content-Security-Policy",
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    ("Referrer-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)

# The settings on the faults page.
LIMITS_AND_HABITS = ("rate_limit", "index_limit", "resubscribe", "push", "labels_in_payload")
RESUBSCRIBE_WORDS = {"update": "changes the subscription in place", "second": "makes a second subscription"}


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
            *SlackPages(controls).routes,
            *MailPages(controls).routes,
            *OnCallPages(controls).routes,
        )

    def answer(self, request: Request) -> Answer:
        try:
            answer = self._routes.answer(request) or problem_page("Not done", "There is no such page.", 404)
        except LookupError as missing:
            answer = problem_page("Not done", str(missing), 404)
        except ValueError as problem:
            answer = problem_page("Not done", str(problem), 400)
        return replace(answer, headers=(*answer.headers, *SECURITY_HEADERS))

    def _overview(self, request: Request) -> Answer:
        count = self._state.count
        return page(
            "overview.html",
            "Overview",
            posts=count("SELECT count(*) FROM posts"),
            tickets=count("SELECT count(*) FROM tickets"),
            subscriptions=count("SELECT count(*) FROM subscriptions"),
            events=count("SELECT count(*) FROM events"),
            faults=len(self._controls.faults.all()),
            origin=request.origin,
            khoros_token=_unless_own(khoros.accepted_token(), khoros.DEFAULT_TOKEN),
            zendesk_email=sign_in.accepted_email(),
            zendesk_token=_unless_own(sign_in.accepted_token(), sign_in.DEFAULT_TOKEN),
            slack_token=workspace.BOT_TOKEN,
            slack_webhook=f"{request.origin}{workspace.WEBHOOK_PATH}",
            slack_people=", ".join(place.email for place in workspace.PLACES if place.email),
            messages=count("SELECT count(*) FROM slack_messages"),
            mails=count("SELECT count(*) FROM mails"),
            routing_key=on_call.ROUTING_KEY,
            teams_webhook=f"{request.origin}{on_call.WORKFLOW_PATH}?api-version=1&sig={on_call.SIGNATURE}",
            alerts=count("SELECT count(*) FROM alerts"),
            mail_host="127.0.0.1",
            mail_port=self._controls.mailbox.port,
            mail_user=mailbox.USER,
            mail_password=mailbox.PASSWORD,
            client_id=sign_in.CLIENT_ID,
            client_secret=sign_in.habits(self._state)["client_secret"],
        )

    def _inbox(self, request: Request) -> Answer:
        posts = inbox.posts(self._state, SHOWN_POSTS)
        total = self._state.count("SELECT count(*) FROM posts")
        return page(
            "inbox.html",
            "Inbox",
            # Only while a push is in flight: at any other time a reload would clear a form being filled in.
            refresh=2 if events.is_pushing(self._state) else 0,
            count=count_words(len(posts), total, "posts"),
            posts=[self._post(post) for post in posts],
            networks=NETWORKS,
            labels=inbox.LABELS,
        )

    def _post(self, post: dict[str, Any]) -> dict[str, Any]:
        """A post with its labellings and their pushes, and the beginning of its text if that is long."""
        text = post["text"]
        labellings = [
            {**dict(row), "outcomes": events.outcomes(self._state, labelling_id=row["id"])}
            for row in inbox.labellings(self._state, post["id"])
        ]
        beginning = text[:FOLDED_CHARACTERS].rsplit(" ", 1)[0] if len(text) > FOLDED_CHARACTERS else ""
        return {**post, "labellings": labellings, "beginning": beginning}

    def _compose(self, request: Request) -> Answer:
        form = request.form()
        wanted = {
            name: form.get(name, "").strip()
            for name in ("network", "author", "handle", "text", "followers", "in_reply_to")
        }
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
        return page(
            "faults.html",
            "Faults",
            active=[(fault, _details(fault)) for fault in self._controls.faults.all()],
            apis=APIS,
            kinds=KINDS,
            settings=self._state.settings,
            key_hours=f"{self._state.settings.idempotency_age_seconds / 3600:g}",
            resubscribe=RESUBSCRIBE_WORDS,
        )

    def _add_fault(self, request: Request) -> Answer:
        self._controls.faults.add(fault_from(_fault_values(request.form())))
        return see_other("/faults")

    def _clear_faults(self, request: Request) -> Answer:
        self._controls.faults.clear()
        return see_other("/faults")

    def _remove_fault(self, request: Request, fault_id: str) -> Answer:
        # A fault that has ended by itself in the meantime is off too, so that is no error.
        self._controls.faults.remove(int(fault_id))
        return see_other("/faults")

    def _change_settings(self, request: Request) -> Answer:
        self._controls.change_settings(self._state.settings.in_form(request.form(), LIMITS_AND_HABITS))
        return see_other("/faults")

    def _age_keys(self, request: Request) -> Answer:
        self._controls.age_keys(self._state.settings.idempotency_age_seconds)
        return see_other("/faults")

    def _reset(self, request: Request) -> Answer:
        self._controls.reset()
        return see_other("/")

    def _style(self, request: Request) -> Answer:
        return Answer(200, STYLE.read_bytes(), (("Content-Type", "text/css; charset=utf-8"),))

    def _icon(self, request: Request) -> Answer:
        return Answer(204)


def _unless_own(token: str, default: str) -> str:
    """The well-known token. One from the environment may be secret and is not shown."""
    return token if token == default else "as set in the environment"


def _details(fault: Fault) -> str:
    details = [
        f"{fault.seconds:g} seconds" if fault.seconds is not None else "",
        f"Retry-After {fault.retry_after}" if fault.retry_after else "",
        f"status {fault.status}" if fault.status is not None else "",
    ]
    return ", ".join(part for part in details if part)


def _fault_values(form: Mapping[str, str]) -> dict[str, Any]:
    """The fault form in the format of the control API, without blank fields."""
    texts = {name: form.get(name, "").strip() for name in ("api", "kind", "method", "path", "retry_after")}
    values: dict[str, Any] = {name: text for name, text in texts.items() if text}
    kinds: dict[str, Callable[[str], Any]] = {"times": int, "status": int, "seconds": float}
    values |= {name: form_number(form, name, kind) for name, kind in kinds.items() if form.get(name, "").strip()}
    headers = [line.partition(":") for line in form.get("headers", "").splitlines() if line.strip()]
    pairs = [[name.strip(), value.strip()] for name, _, value in headers]
    if form.get("location", "").strip():
        pairs.append(["Location", form["location"].strip()])
    return {**values, "headers": pairs, "body": form.get("body") or None}
