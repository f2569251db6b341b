"""A signed webhook: each post as one POST to any address, signed as https://www.standardwebhooks.com describes.

`webhook-id` is the same at every try of a delivery, whoever asks for it, so that receivers can drop repeats: nothing
else protects them, as a receiver cannot be asked what it has.
"""

import base64
import hashlib
import json
import secrets as randomness
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django import forms
from standardwebhooks import Webhook as Signer

from integrations.destinations import base
from integrations.destinations.base import Check, Context, Credentials, Outgoing, Receipt
from integrations.domain.post import Post
from integrations.domain.templating import render_json
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure

OVERLAP = timedelta(days=1)
SIGN_IN_REMEDY = "Give the receiver the secret (“Make a new secret” shows one), then press “Test connection” to resume."


class WebhookConnectionForm(base.ConnectionFields):
    """Where posts are sent. The secret is not entered: Casebridge makes it and shows it once."""

    address = forms.CharField(
        label="URL",
        max_length=1000,
        help_text="The https:// address that receives the posts. Receivers must check the signature and drop repeats: "
        "a webhook-id that they had before is the same post, sent again.",
    )

    def clean_address(self) -> str:
        return "".join(base.checked_url(self.cleaned_data["address"].strip(), "https://example.com/hooks/posts"))


class WebhookMappingForm(base.MappingFields):
    template = base.JSONTemplateField(
        label="JSON template",
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 10}),
        help_text='Your own JSON, for example {"title": "{{ author }}", "body": "{{ text }}"}. Leave empty to send the '
        "whole post. Placeholders: {PLACEHOLDERS}. Filters: {FILTERS}.",
    )


class SignedWebhook(base.Destination[HttpClient]):
    kind, title, thing = "webhook", "Signed webhook", "message"
    connection_form, mapping_form = WebhookConnectionForm, WebhookMappingForm

    def origin(self, settings: Mapping[str, Any]) -> str:
        return "{0.scheme}://{0.netloc}".format(urlsplit(str(settings.get("address", ""))))

    def build(self, post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
        values = base.placeholder_values(post, context)
        if template := settings.get("template"):
            return base.as_json(render_json(template, values))
        data = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
        return base.as_json({"type": context.event, "timestamp": data["labelled_at"], "data": data})

    def send(self, client: HttpClient, outgoing: Outgoing, credentials: Credentials) -> Receipt:
        """2xx is a delivery; what concerns every post (sign-in, redirects, 410) pauses; all else is tried again."""
        number = f"msg_{hashlib.sha256(outgoing.external_id.encode()).hexdigest()[:32]}"
        self._post(client, number, outgoing.request, credentials)
        return Receipt(number, "", "created")

    def check(self, client: HttpClient, credentials: Credentials) -> list[Check]:
        status = self._post(client, f"ping_{randomness.token_hex(8)}", base.as_json({"type": "ping"}), credentials)
        return [Check(True, f"The receiver took a test event of type “ping” (status {status}).")]

    # --- MarksTests ---

    test_text = "its JSON has “casebridge_test”: true."

    def as_test(self, request: str, uuid: str) -> tuple[str, str]:
        """Where an own template is no object there is no place for a mark: the id alone tells it."""
        content = json.loads(request)
        marked = content | {"casebridge_test": True} if isinstance(content, dict) else content
        return base.as_json(marked), f"khoros:test:{uuid}"

    # --- IssuesSecret ---

    def issue_secret(self, secrets: Mapping[str, str], now: datetime) -> tuple[dict[str, str], str]:
        new = f"whsec_{base64.b64encode(randomness.token_bytes(32)).decode()}"
        older = {"previous": secrets["secret"], "until": (now + OVERLAP).isoformat()} if "secret" in secrets else {}
        # Pressed twice within the day: the receiver may still have the one before.
        if secrets.get("until", "") > now.isoformat():
            older |= {"earlier": secrets["previous"], "earlier_until": secrets["until"]}
        return {"secret": new, **older}, new

    def _post(self, client: HttpClient, number: str, text: str, credentials: Credentials) -> int:
        now, secrets = datetime.now(UTC), credentials.secrets
        if "secret" not in secrets:
            raise Failure("This webhook has no secret yet: press “Make a new secret”.", permanent=True, pauses=True)
        older = (("previous", "until"), ("earlier", "earlier_until"))
        in_use = [secrets["secret"], *(secrets[old] for old, end in older if secrets.get(end, "") > now.isoformat())]
        headers = {
            "webhook-id": number,
            "webhook-timestamp": str(int(now.timestamp())),
            "Content-Type": "application/json",
        }
        headers["webhook-signature"] = " ".join(Signer(secret).sign(number, now, text) for secret in in_use)
        path = str(credentials.settings["address"]).removeprefix(client.origin) or "/"
        reply = client.call("POST", path, headers=headers, body=text.encode())
        if 200 <= reply.status < 300:
            return reply.status
        failure = base.refusal(reply, "The receiver")
        failure.permanent, failure.pauses = False, failure.pauses and reply.status != 404
        if reply.status in (401, 403):
            failure.remedy = SIGN_IN_REMEDY
        elif failure.remedy_at == "mapping":
            failure.remedy = "Ask whoever runs the receiver why, or change the mapping's template and press “Rebuild”."
        raise failure


WEBHOOK = SignedWebhook()
