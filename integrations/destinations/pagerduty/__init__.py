"""PagerDuty: posts as alerts of one service, by https://developer.pagerduty.com/docs/events-api-v2-overview.

While an alert is open, whatever comes with its `dedup_key` is added to it: a second try makes no second alert, a
conversation is one, and a resolved alarm resolves its own.
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
from integrations.infra.text import shortened

AMERICA, EUROPE = "https://events.pagerduty.com", "https://events.eu.pagerduty.com"
WHERE = "In PagerDuty: your service, Integrations, Add integration, “Events API V2”; copy its Integration Key. "
SEVERITIES = [("critical", "Critical"), ("error", "Error"), ("warning", "Warning"), ("info", "Info")]
SUMMARY, SEVERITY = "{{ author|default:Someone }} on {{ network }}: {{ text|short:200 }}", "error"
LONGEST_SUMMARY, LONGEST_TEXT = 1024, 20_000


class PagerDutyConnectionForm(base.ConnectionFields):
    routing_key = base.SecretField(
        label="Integration key", is_needed=True, min_length=32, max_length=32, help_text=WHERE + base.SecretField.KEEP
    )
    address = forms.CharField(max_length=200, initial=AMERICA, help_text=f"Accounts in the European Union: {EUROPE}")

    def clean_address(self) -> str:
        return base.checked_address(self.cleaned_data["address"], AMERICA)


class PagerDutyMappingForm(base.MappingFields):
    HEADLINE = "summary"
    summary = base.TemplateField(
        initial=SUMMARY,
        max_length=2000,
        help_text="The first line that the person on call sees. Placeholders: {PLACEHOLDERS}. Filters: {FILTERS}.",
    )
    severity = forms.ChoiceField(choices=SEVERITIES, initial=SEVERITY)


class PagerDuty(base.Destination[HttpClient]):
    kind, title, thing, drops_repeats = "pagerduty", "PagerDuty", "alert", True
    connection_form, mapping_form = PagerDutyConnectionForm, PagerDutyMappingForm
    alarm = {"summary": "{{ title }}", "severity": "error"}
    said_of_alarms = "Resolved when the alarm is. For some kinds only, add the condition “Kind of alarm”."
    recipes = (Recipe("alarms", "Call somebody about alarms of Casebridge", said_of_alarms, "casebridge-alarm", alarm),)
    test_text = "its summary begins with “[Test]”. It calls whoever is on call: resolve it in PagerDuty."

    def build(self, post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
        values = base.placeholder_values(post, context)
        summary = " ".join(render(settings.get("summary") or SUMMARY, values).split()) or "A post without text"
        details = {"text": post.text[:LONGEST_TEXT], "author": values["author"], "link": post.link, **dict(post.facts)}
        event = {
            "event_action": "resolve" if post.fact("alarm_state") == "resolved" else "trigger",
            "dedup_key": self.external_id(post.parent_post, context.mapping_uuid) if post.parent_post else external_id,
            "payload": {
                "summary": shortened(summary, LONGEST_SUMMARY),
                "severity": settings.get("severity") or SEVERITY,
                "source": context.company or "Casebridge",
                "custom_details": {name: value for name, value in details.items() if value},
            },
            "links": [{"href": link, "text": "Open it"}] if (link := base.openable(post.link)) else [],
        }
        return base.as_json(event)

    def as_test(self, request: str, uuid: str) -> tuple[str, str]:
        event, external_id = json.loads(request), f"khoros:test:{uuid}"
        event["payload"]["summary"] = shortened(f"[Test] {event['payload']['summary']}", LONGEST_SUMMARY)
        return base.as_json(event | {"dedup_key": external_id, "event_action": "trigger"}), external_id

    def send(self, client: HttpClient, outgoing: Outgoing, credentials: Credentials) -> Receipt:
        event = json.loads(outgoing.request)
        _enqueue(client, event, credentials)
        return Receipt(event["dedup_key"], "", "updated" if event["event_action"] == "resolve" else "created")

    def check(self, client: HttpClient, credentials: Credentials) -> list[Check]:
        _enqueue(client, {"event_action": "resolve", "dedup_key": "casebridge-test"}, credentials)
        return [Check(True, "PagerDuty takes events with this key. Nobody was called.")]

    def shown_number(self, number: str) -> str:
        return ""


def _enqueue(client: HttpClient, event: Mapping[str, Any], credentials: Credentials) -> None:
    try:
        whole = {**event, "routing_key": credentials.secrets["routing_key"]}
        base.post_json(client, "/v2/enqueue", whole, "PagerDuty", accepted_by={202})
    except Failure as failure:
        if failure.status == 400 and "routing" in failure.detail:
            failure.pauses, failure.remedy, failure.remedy_at = True, f"Enter the key again. {WHERE}", "connection"
        raise


PAGERDUTY = PagerDuty()
