"""Microsoft Teams: posts as cards in a channel or chat, by the webhook of a workflow there.

https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using: the workflow takes
an Adaptive Card of at most 28 KB and answers 202; whether it then posts the card is not told. Nothing drops a second.
Who has its URL can post, so that is a secret.
"""

import json
from collections.abc import Mapping
from typing import Any

from django import forms

from integrations.destinations import base
from integrations.destinations.base import Check, Context, Credentials, Outgoing, Receipt, Recipe
from integrations.domain.post import Post
from integrations.domain.templating import render
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from integrations.infra.text import harmless, shortened

EXAMPLE = "https://default0123.45.environment.api.powerplatform.com/powerautomate/…"
HELP = f"In Teams: … beside the channel, Workflows, “Send webhook alerts to a channel”. {base.SecretField.KEEP}"
LONGEST_TITLE, LONGEST_TEXT, MOST_LINES = 200, 5_000, 50
TITLE, TEXT = "{{ author|default:Someone }} on {{ network }}", "{{ text }}"


class TeamsConnectionForm(base.ConnectionFields):
    webhook_url = base.SecretField(label="Webhook URL", is_needed=True, is_chosen=True, max_length=1000, help_text=HELP)
    address = forms.CharField(required=False, widget=forms.HiddenInput)

    def clean_webhook_url(self) -> str:
        typed: str = self.cleaned_data["webhook_url"].strip()
        return "".join(base.checked_url(typed, EXAMPLE)) if typed else ""

    def clean_address(self) -> str:
        typed: str = self.cleaned_data.get("webhook_url", "")
        return base.checked_url(typed, EXAMPLE)[0] if typed else str(self.initial.get("address", ""))


class TeamsMappingForm(base.MappingFields):
    HEADLINE = "title"
    title = base.TemplateField(initial=TITLE, max_length=1000)
    text = base.TemplateField(initial=TEXT, max_length=20_000, strip=False, widget=forms.Textarea, help_text=base.NAMES)


class Teams(base.Destination[HttpClient]):
    kind, title, thing, repeats_freely = "teams", "Microsoft Teams", "card", False
    connection_form, mapping_form = TeamsConnectionForm, TeamsMappingForm
    title_of_alarms = "Tell a Teams channel about alarms of Casebridge"
    said_of_alarms = "What it is, what to do and a link. For some kinds only, add the condition “Kind of alarm”."
    alarm = {"title": "{{ title }}", "text": "{{ text }}"}
    recipes = (Recipe("alarms", title_of_alarms, said_of_alarms, "casebridge-alarm", alarm),)
    test_text = "its title begins with “[Test]”."

    def build(self, post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
        values = base.placeholder_values(post, context)
        title = harmless(render(settings.get("title") or TITLE, values)).strip() or "A post"
        text = harmless(render(settings.get("text") or TEXT, values))[:LONGEST_TEXT]
        return base.as_json({"title": shortened(title, LONGEST_TITLE), "text": text, "link": base.openable(post.link)})

    def as_test(self, request: str, uuid: str) -> tuple[str, str]:
        card = json.loads(request)
        return base.as_json(card | {"title": f"[Test] {card['title']}"}), f"khoros:test:{uuid}"

    def send(self, client: HttpClient, outgoing: Outgoing, credentials: Credentials) -> Receipt:
        _post(client, credentials, [_card(**json.loads(outgoing.request))])
        return Receipt(outgoing.external_id, "", "created")

    def check(self, client: HttpClient, credentials: Credentials) -> list[Check]:
        _post(client, credentials, [])
        return [Check(True, "The workflow takes messages. Nothing was posted: a test card shows where it posts.")]

    def shown_number(self, number: str) -> str:
        return ""


def _card(title: str, text: str, link: str) -> dict[str, Any]:
    """In runs of text nothing is mark-up: what posts say is shown as it stands."""
    lines = [line for line in text.splitlines() if line.strip()]
    runs = [{"type": "TextRun", "text": title, "weight": "bolder", "size": "large"}]
    runs += [{"type": "TextRun", "text": line} for line in [*lines[:MOST_LINES], " ".join(lines[MOST_LINES:])] if line]
    content: dict[str, Any] = {"type": "AdaptiveCard", "version": "1.4", "msteams": {"width": "Full"}}
    content["body"] = [{"type": "RichTextBlock", "inlines": [run]} for run in runs]
    content["actions"] = [{"type": "Action.OpenUrl", "title": "Open it", "url": link}] if link else []
    return {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": content}


def _post(client: HttpClient, credentials: Credentials, cards: list[dict[str, Any]]) -> None:
    path = "/" + credentials.secrets["webhook_url"].split("/", 3)[3]
    client.secrets = (*client.secrets, path)
    try:
        base.post_json(client, path, {"type": "message", "attachments": cards}, "The workflow")
    except Failure as failure:
        if "NotEnabled" in failure.detail:
            failure.pauses, failure.remedy = True, "Turn the workflow on in Power Automate, then test the connection."
        raise


TEAMS = Teams()
