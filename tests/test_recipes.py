"""Recipes: ready mappings that fit their event, a form that begins with one, and copies of mappings."""

import html as markup
import json
import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Recipe
from integrations.domain.conditions import all_of
from integrations.domain.templating import check_template
from integrations.mapping.preview import example_event, preview_post
from integrations.models import Connection, Mapping, Subscription
from integrations.sources.khoros.events import EVENTS, kind_of
from integrations.sources.khoros.examples import example
from tests.factories import (
    ConnectionFactory,
    EmailFactory,
    MappingFactory,
    PagerDutyFactory,
    SubscriptionFactory,
    TeamsFactory,
    WallFactory,
)
from tests.stand_in import StandIn
from tests.test_admin import form_of, page, save
from tests.test_slack import BotFactory, block

RECIPES = [(kind, recipe) for kind, destination in DESTINATIONS.items() for recipe in destination.recipes]


def named(found: tuple[str, Recipe]) -> str:
    return f"{found[0]}:{found[1].slug}"


@pytest.mark.parametrize("found", RECIPES, ids=named)
def test_a_recipe_makes_something_readable_of_its_events_example(portal: Any, found: tuple[str, Recipe]) -> None:
    kind, recipe = found
    subscription = SubscriptionFactory.create(event_name=recipe.event)
    mapping = Mapping(
        name=recipe.title,
        subscription=subscription,
        connection=ConnectionFactory.create(kind=kind),
        settings=dict(recipe.settings),
        conditions={},
    )
    event = example_event(recipe.event)
    preview = preview_post(mapping, event, event.posts[0], {})
    assert preview.problem == ""
    shown = "\n".join(value for _, value in preview.rows)
    assert event.posts[0].text.split("\n")[0][:40] in shown or event.posts[0].title in shown
    assert "{{" not in shown
    assert "Someone on" not in shown
    assert "someone on" not in shown


@pytest.mark.parametrize("found", RECIPES, ids=named)
def test_a_recipe_fills_in_the_form_and_the_form_takes_it(
    admin: Client, sandbox: StandIn, found: tuple[str, Recipe]
) -> None:
    kind, recipe = found
    made = {
        "slack": lambda: BotFactory.create(url=sandbox.url),
        "email": lambda: EmailFactory.create(port=sandbox.mail_port),
        "pagerduty": lambda: PagerDutyFactory.create(url=sandbox.url),
        "teams": lambda: TeamsFactory.create(url=sandbox.url),
        "wall": lambda: WallFactory.create().connection,
    }
    connection = made.get(kind, lambda: ConnectionFactory.create(url=sandbox.url))()
    subscription = SubscriptionFactory.create(event_name=recipe.event, match="everything", label="")
    query = f"?recipe={named(found)}&connection={connection.pk}&subscription={subscription.pk}"
    chosen = {"slack": {"target": "C0ADTECH"}, "email": {"to": "team@example.com"}}.get(kind, {})
    assert b"was added successfully" in save(admin, f"mapping/add/{query}", **chosen).content
    mapping = Mapping.objects.get()
    assert (mapping.name, mapping.subscription, mapping.connection) == (recipe.title, subscription, connection)
    assert mapping.conditions == recipe.conditions
    assert {name: mapping.settings[name] for name in recipe.settings} == recipe.settings


def test_a_natively_scheduled_facebook_post_is_told_to_adtech(
    push: Any, work: Any, subscription: Subscription, sandbox: StandIn
) -> None:
    Subscription.objects.update(event_name="message-sent-to-network", match="everything", label="")
    recipe = next(recipe for kind, recipe in RECIPES if recipe.slug == "boost-native-post")
    MappingFactory.create(
        subscription=subscription,
        connection=BotFactory.create(url=sandbox.url),
        settings={**recipe.settings, "target": "C0ADTECH"},
        conditions=dict(recipe.conditions),
    )
    envelope = example("message-sent-to-network", at=timezone.now())
    for link in ("https://www.facebook.com/acme/posts/7", "https://twitter.com/acme/status/7"):
        message = envelope["data"] | {"id": link[-9:], "publicationResults": [{"serviceLink": link}]}
        message |= {"scheduledPublishDate": "2026-12-24T09:00:00.000Z", "service": "", "messageService": ""}
        assert push(envelope | {"data": message}).status_code == 200
    work()
    (told,) = sandbox.messages()
    assert told["channel"] == "C0ADTECH"
    assert block(told, "header")["text"]["text"].endswith("on facebook")
    assert "Scheduled for 2026-12-24 09:00:00 UTC" in block(told, "section")["text"]["text"]
    assert block(told, "context")["elements"][0]["text"] == "<https://www.facebook.com/acme/posts/7|Open the post>"


def test_adding_a_mapping_begins_with_the_recipes_for_the_connections_there_are(
    admin: Client, connection: Connection, subscription: Subscription
) -> None:
    html = page(admin, "mapping/add/")
    assert "Make a ticket of each labelled post" in html
    assert "Tell a channel" not in html
    assert "First add a subscription to this event" in html
    (address,) = re.findall(r'href="(\?recipe=zendesk%3Alabel-to-ticket[^"]*)"', html)
    form = form_of(page(admin, f"mapping/add/{markup.unescape(address)}"))
    assert form["name"] == "CreateCase: Make a ticket of each labelled post"
    assert (form["subscription"], form["connection"]) == (str(subscription.pk), str(connection.pk))


def test_a_recipe_after_the_ticket_follows_the_tickets_mapping(
    admin: Client, mapping: Mapping, sandbox: StandIn
) -> None:
    slack = BotFactory.create(url=sandbox.url)
    query = f"recipe=slack:tell-a-channel&connection={slack.pk}&subscription={mapping.subscription_id}"
    assert form_of(page(admin, f"mapping/add/?{query}"))["follows"] == str(mapping.pk)


def test_a_recipe_after_the_ticket_is_offered_where_there_is_a_ticket(
    admin: Client, mapping: Mapping, sandbox: StandIn
) -> None:
    slack = BotFactory.create(url=sandbox.url)
    love = SubscriptionFactory.create(company=mapping.subscription.company, label="Love")
    offered = re.findall(r'href="\?(recipe=slack%3Atell-a-channel[^"]*)"', page(admin, "mapping/add/"))
    query = f"recipe=slack%3Atell-a-channel&amp;connection={slack.pk}&amp;subscription={mapping.subscription_id}"
    assert offered == [query]
    html = page(admin, f"mapping/add/?subscription={love.pk}")
    assert "First add a mapping that makes a ticket of these posts." in html
    query = f"recipe=slack:keyword-rule&connection={slack.pk}&subscription={love.pk}"
    assert form_of(page(admin, f"mapping/add/?{query}"))["name"] == "Love: Tell a channel when a keyword rule fires"


def test_a_mapping_can_be_copied(admin: Client, mapping: Mapping) -> None:
    mapping.settings |= {"subject": "A subject of its own", "tags": ["one", "two"]}
    mapping.conditions = all_of(("network", "is", ["facebook"]))
    mapping.save()
    html = page(admin, f"mapping/{mapping.pk}/change/")
    (address,) = re.findall(r'href="/admin/integrations/mapping/add/(\?copy=[^"]*)"', html)
    assert b"was added successfully" in save(admin, f"mapping/add/{markup.unescape(address)}").content
    copied = Mapping.objects.exclude(pk=mapping.pk).get()
    assert copied.name == f"{mapping.name} (copy)"
    assert copied.conditions == mapping.conditions
    assert (copied.settings["subject"], copied.settings["tags"]) == ("A subject of its own", ["one", "two"])


def test_what_a_mapping_follows_is_changed_by_its_form(admin: Client, mapping: Mapping, sandbox: StandIn) -> None:
    other = MappingFactory.create(subscription=mapping.subscription, connection=mapping.connection, name="Other")
    save(admin, f"mapping/{other.pk}/change/", follows=str(mapping.pk), without_first="skip")
    other.refresh_from_db()
    assert (other.follows, other.without_first) == (mapping, "skip")


@pytest.mark.parametrize("event_name", EVENTS)
def test_the_first_text_of_a_new_mapping_fits_its_event(admin: Client, connection: Connection, event_name: str) -> None:
    subscription = SubscriptionFactory.create(event_name=event_name, match="everything", label="")
    html = page(admin, f"mapping/add/?empty=1&subscription={subscription.pk}")
    subject = form_of(html)["subject"]
    check_template(subject)
    mapping = Mapping(name="x", subscription=subscription, connection=connection, settings={"subject": subject})
    event = example_event(event_name)
    built = json.loads(preview_post(mapping, event, event.posts[0], {}).request)["ticket"]["subject"]
    assert "someone" not in built.lower()
    assert f"all {event_name}" not in built
    assert len(built) > 10


def test_the_expression_of_a_subscription_is_in_no_ticket(
    push: Any, work: Any, mapping: Mapping, sandbox: StandIn
) -> None:
    Subscription.objects.update(match="expression", label="^(Create|Make).*Case$")
    assert push().status_code == 200
    work()
    assert "^(Create" not in json.dumps(sandbox.tickets())
    assert sandbox.tickets()[0]["subject"].startswith(kind_of("stream-item-label-applied").title)
