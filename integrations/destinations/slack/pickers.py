"""The mapping's form with the workspace's channels and people to choose from."""

from collections.abc import Mapping
from typing import Any

from django import forms

from integrations.destinations.slack.account import signs_in_by_webhook
from integrations.destinations.slack.forms import SlackMappingForm

Choice = tuple[str, Any]


def mapping_form_for(lists: Mapping[str, Any], stored: Mapping[str, Any]) -> type[SlackMappingForm]:
    """The plain form where nothing was read. What is stored stays selectable."""
    if not lists.get("channels"):
        return SlackMappingForm
    names = names_of(lists)
    target = str(stored.get("target") or "")
    choices: list[Choice] = [("", "Choose a channel or a person")]
    if target and target not in names:
        choices.append((target, f"{target} (no longer in the lists)"))
    for group, title in (("channels", "Channels"), ("people", "People")):
        if found := [(row["id"], names[row["id"]]) for row in lists.get(group) or []]:
            choices.append((title, found))
    field = forms.ChoiceField(
        label="Channel or person",
        choices=choices,
        help_text="Missing? Invite the app into a private channel; add people's e-mail addresses on the connection.",
    )
    return type("SlackMappingForm", (SlackMappingForm,), {"target": field})


def names_of(lists: Mapping[str, Any]) -> dict[str, str]:
    """Id -> name as Slack writes it: #channel, or the person's."""
    channels = {row["id"]: f"#{row['name']}" for row in lists.get("channels") or []}
    return channels | {row["id"]: row["name"] for row in lists.get("people") or []}


def unfit(settings: Mapping[str, Any], account: Mapping[str, Any]) -> dict[str, str]:
    """What needs a bot: an incoming webhook has neither channels to choose from, nor threads, nor updates."""
    if not signs_in_by_webhook(account):
        return {} if settings.get("target") else {"target": "Choose a channel or a person."}
    needs_a_bot = {
        "target": bool(settings.get("target")),
        "case": settings.get("case") not in ("post", "", None),
        "marks_solved": bool(settings.get("marks_solved")),
    }
    sentence = "The connection signs in with an incoming webhook, which cannot do this. Use a bot token, or leave it."
    return {name: sentence for name, is_wanted in needs_a_bot.items() if is_wanted}


def misfits(settings: Mapping[str, Any], lists: Mapping[str, Any]) -> list[dict[str, str]]:
    """A target that the workspace no longer shows."""
    names, target = names_of(lists), str(settings.get("target") or "")
    is_person = target[:1] in ("U", "W", "D")
    if not lists.get("channels") or target in names or is_person:
        return []
    message = "This channel or person is no longer in the workspace's lists." if target else "Choose one."
    return [{"field": "Channel or person", "message": message}]
