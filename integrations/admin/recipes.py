"""How a new mapping begins: with a recipe, as a copy of another, or empty. What each fills the form in with."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Recipe
from integrations.domain.post import LABEL_APPLIED
from integrations.models import Connection, Mapping, Subscription
from integrations.sources.registry import kind_of

MOST_CONNECTIONS, MOST_SUBSCRIPTIONS = 10, 6
# In the address of the form; without any of these the page of recipes comes first.
BEGINNINGS = ("recipe", "copy", "empty", "connection", "kind")


@dataclass(frozen=True, slots=True)
class Beginning:
    """A recipe as the page offers it: (query, connection's name) each, or what it needs first."""

    title: str
    description: str
    kind: str
    event: str
    # The fields of the form of a subscription to its event.
    new_subscription: str
    links: list[tuple[str, str]]
    needs_subscription: bool
    # The thing that another mapping has to make first, where none does.
    needs_first: str


def beginnings(subscription: Subscription | None) -> Iterator[Beginning]:
    """The recipes for connections that there are; for one subscription those of its event."""
    connections = list(Connection.objects.filter(is_active=True)[:MOST_CONNECTIONS])
    for kind, destination in DESTINATIONS.items():
        accounts = [connection for connection in connections if connection.kind == kind]
        for recipe in destination.recipes if accounts else ():
            if subscription is not None and subscription.event_name != recipe.event:
                continue
            rows = Subscription.objects.filter(event_name=recipe.event, deleted_at__isnull=True)
            of_event = [subscription] if subscription else list(rows[:MOST_SUBSCRIPTIONS])
            first = [listened for listened in of_event if not recipe.after or _to_be_followed(recipe, listened.pk)]
            links = [
                _link(f"{kind}:{recipe.slug}", account, listened, is_one=len(of_event) == 1)
                for account in accounts
                for listened in first
            ]
            yield Beginning(
                recipe.title, recipe.description, destination.title, kind_of(recipe.event).title,
                _new_subscription(recipe.event), links, not of_event, recipe.after if of_event and not first else "",
            )  # fmt: skip


def _new_subscription(event_name: str) -> str:
    listens_to = {} if event_name == LABEL_APPLIED else {"match": Subscription.Match.EVERYTHING.value}
    return urlencode({"event_name": event_name, **listens_to})


def _link(recipe: str, account: Connection, subscription: Subscription, *, is_one: bool) -> tuple[str, str]:
    query = {"recipe": recipe, "connection": account.pk, "subscription": subscription.pk}
    return urlencode(query), account.name if is_one else f"{account.name}, {subscription.listens_to}"


def named_recipe(value: str) -> Recipe | None:
    """The recipe that an address names as “kind:slug”."""
    kind, _, slug = value.partition(":")
    destination = DESTINATIONS.get(kind)
    return next((recipe for recipe in destination.recipes if recipe.slug == slug), None) if destination else None


def initial_of_recipe(value: str, subscription_id: int | None) -> dict[str, Any]:
    """What the form is filled in with; empty where the address names no recipe."""
    recipe = named_recipe(value)
    if recipe is None:
        return {}
    form = DESTINATIONS[value.partition(":")[0]].mapping_form
    follows = _to_be_followed(recipe, subscription_id)
    return {
        "name": _named(recipe, subscription_id),
        **{name: shown for name, shown in form.initial_of(dict(recipe.settings)).items() if shown is not None},
        "conditions": dict(recipe.conditions),
        **({"follows": follows.pk} if follows else {}),
    }


def _named(recipe: Recipe, subscription_id: int | None) -> str:
    """With the label, as the same recipe may serve several."""
    if subscription_id is None:
        return recipe.title
    label = (
        Subscription.objects.filter(pk=subscription_id, company__isnull=False).values_list("label", flat=True).first()
    )
    return f"{label}: {recipe.title}"[:120] if label else recipe.title


def _to_be_followed(recipe: Recipe, subscription_id: int | None) -> Mapping | None:
    if not recipe.after or subscription_id is None:
        return None
    kinds = [kind for kind, destination in DESTINATIONS.items() if destination.thing == recipe.after]
    return Mapping.objects.filter(subscription=subscription_id, is_active=True, connection__kind__in=kinds).first()


def initial_of_copy(mapping: Mapping) -> dict[str, Any]:
    form = DESTINATIONS[mapping.connection.kind].mapping_form
    return {
        "name": f"{mapping.name} (copy)"[:120],
        "subscription": mapping.subscription_id,
        "connection": str(mapping.connection_id),
        "follows": mapping.follows_id,
        "without_first": mapping.without_first,
        **form.initial_of(mapping.settings),
        "conditions": mapping.conditions,
    }
