"""What staff fill in for a Slack connection and for a mapping to it."""

import re
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from integrations.destinations.base import ConnectionFields, MappingFields, SecretField, TemplateField, checked_address
from integrations.destinations.slack.message import DEFAULT_TEXT, DEFAULT_TITLE

ADDRESS, HOOKS = "https://slack.com", "https://hooks.slack.com"
EXAMPLE_WEBHOOK = "https://hooks.slack.com/services/T000/B000/XXXX"
WAYS = [
    ("webhook", "Incoming webhook (one channel, quickest to set up)"),
    ("bot", "Bot token (any channel, and single people)"),
]
# Ids of channels (C, G), of conversations with one person (D) and of people (U, W).
TARGET = re.compile(r"[CDGUW][A-Z0-9]{2,30}")
MOST_PEOPLE = 50


class SlackConnectionForm(ConnectionFields):
    """How to sign in. The URL of an incoming webhook is a secret like a token: who has it can post."""

    sign_in = forms.ChoiceField(
        label="Sign in with",
        choices=WAYS,
        initial="webhook",
        help_text="Both are made at api.slack.com/apps: create an app, then add a webhook for a channel under Incoming "
        "Webhooks, or install the app under OAuth & Permissions with the scopes chat:write, chat:write.public, "
        "channels:read, groups:read, im:write and users:read.email.",
    )
    webhook_url = SecretField(label="Webhook URL", max_length=1000, is_chosen=True)
    bot_token = SecretField(label="Bot token", max_length=1000)
    people = forms.CharField(
        label="People",
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Bot token only: e-mail addresses of people who are to get messages themselves, one per line. "
        "Casebridge looks them up in Slack; mappings then offer them by name.",
    )
    address = forms.CharField(
        label="Slack's address",
        required=False,
        max_length=200,
        initial=ADDRESS,
        help_text=f"{ADDRESS}, unless your organisation uses GovSlack. A webhook URL brings its own.",
    )

    NEEDED = {"webhook": "webhook_url", "bot": "bot_token"}
    ASSUMED = {"address": ADDRESS}
    SHOWN_WITH = {
        "webhook_url": ("sign_in", ("webhook",)),
        **dict.fromkeys(("bot_token", "people", "address"), ("sign_in", ("bot",))),
    }

    def clean_webhook_url(self) -> str:
        typed: str = self.cleaned_data["webhook_url"].strip()
        if typed:
            parts = _split(typed)
            checked_address(f"{parts.scheme}://{parts.netloc}", EXAMPLE_WEBHOOK)
            if not re.fullmatch(r"/services/[\w/-]+", parts.path) or parts.query:
                raise ValidationError(f"This is not the URL of an incoming webhook. It looks like {EXAMPLE_WEBHOOK}.")
        return typed

    def clean_bot_token(self) -> str:
        typed: str = self.cleaned_data["bot_token"].strip()
        if typed and not re.fullmatch(r"xox[bpe][\w.-]+", typed):
            raise ValidationError("A bot token begins with xoxb-. Find it under OAuth & Permissions.")
        return typed

    def clean_people(self) -> str:
        addresses = self.cleaned_data["people"].replace(",", " ").split()
        if len(addresses) > MOST_PEOPLE:
            raise ValidationError(f"Enter at most {MOST_PEOPLE} addresses.")
        for address in addresses:
            try:
                validate_email(address)
            except ValidationError:
                raise ValidationError(f"“{address[:100]}” is not an e-mail address.") from None
        return "\n".join(dict.fromkeys(addresses))

    def clean_address(self) -> str:
        """Where calls go: the webhook's own host, or Slack's."""
        webhook = urlsplit(self.cleaned_data.get("webhook_url") or "")
        if self.cleaned_data.get("sign_in") == "webhook":
            typed = f"{webhook.scheme}://{webhook.netloc}" if webhook.netloc else self.cleaned_data["address"]
            return checked_address(typed or HOOKS, HOOKS)
        typed = self.cleaned_data["address"]
        return checked_address((typed or ADDRESS).replace("://hooks.", "://"), ADDRESS)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        way = cleaned.get("sign_in", "")
        needed = self.NEEDED.get(way, "")
        if needed and not cleaned.get(needed) and needed not in self.stored_secrets and needed not in self.errors:
            self.add_error(needed, f"Required to sign in with “{dict(WAYS)[way]}”.")
        return cleaned


def _split(typed: str) -> SplitResult:
    try:
        return urlsplit(typed)
    except ValueError:
        raise ValidationError(f"This is not an address. Enter one like {EXAMPLE_WEBHOOK}.") from None


CASES = {
    "post": "Each post is a message of its own",
    "conversation": "Posts of one conversation go into one thread",
    "author": "Posts of one author go into one thread",
}


class SlackMappingForm(MappingFields):
    HEADLINE = "title"
    FOLDED = (
        (
            "Threads, updates and bursts",
            "Threads and updates need a bot token.",
            ("case", "case_hours", "marks_solved", "gathers_over"),
        ),
    )
    target = forms.CharField(
        label="Channel or person",
        required=False,
        max_length=40,
        help_text="The id of a channel or person, like C0123ABCD: in Slack, under the channel's name, About. Leave "
        "empty with an incoming webhook, which has its own channel.",
    )
    title = TemplateField(
        label="Title",
        initial=DEFAULT_TITLE,
        max_length=1000,
        help_text="Bold, on top. At most 150 characters are sent.",
    )
    text = TemplateField(
        label="Text",
        initial=DEFAULT_TEXT,
        max_length=20_000,
        strip=False,
        required=False,
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text="Slack's mark-up works in what you write (*bold*, _italic_, &lt;https://example.com|link&gt;), never "
        "in what a post says. At most 3,000 characters are sent. Placeholders: {PLACEHOLDERS}. Filters: {FILTERS}.",
    )
    adds_link = forms.BooleanField(label="Link to the post", required=False, initial=True)
    unfurl = forms.BooleanField(
        label="Show previews of links",
        required=False,
        help_text="Slack then shows a picture and a summary of the pages that the message links to.",
    )

    case = forms.ChoiceField(label="Threads", choices=list(CASES.items()), required=False)
    case_hours = forms.IntegerField(
        label="Hours for “one author”",
        initial=24,
        min_value=1,
        max_value=720,
        required=False,
        help_text="After this many hours without a post, the author's next one is a message of its own.",
    )
    marks_solved = forms.BooleanField(
        label="Say when the ticket is solved",
        required=False,
        help_text="The message is updated; replies in a thread are not. Only where the mapping is sent after one that "
        "makes tickets.",
    )
    gathers_over = forms.IntegerField(
        label="Count bursts of more than",
        initial=20,
        min_value=1,
        max_value=1000,
        required=False,
        help_text="Posts a minute. Posts above this are combined into one message that counts and links them. It is "
        "updated as it grows; with an incoming webhook there is one message at the beginning and one at the end. Leave "
        "empty for a message each.",
    )

    @classmethod
    def initial_of(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """What is not stored is off, whatever a new mapping begins with."""
        return {"gathers_over": None} | settings

    def clean_target(self) -> str:
        target: str = self.cleaned_data["target"].strip()
        if target and not TARGET.fullmatch(target):
            raise ValidationError("Enter an id like C0123ABCD, not a name: names can change.")
        return target
