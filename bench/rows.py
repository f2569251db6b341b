"""Makes rows through the portal's own code, in a process of its own: `python -m bench.rows setup|...`."""

import argparse
import itertools
import json
import os
import random
import time
import uuid

import django

from bench import notification, words

ROUTED_WITHIN_SECONDS = 60.0


def set_up(zendesk: str) -> dict[str, str]:
    """A company, a subscription, a connection to this address and a mapping; where to send notifications."""
    from integrations.destinations.zendesk.ticket import DEFAULT_COMMENT, DEFAULT_SUBJECT
    from integrations.infra.encryption import Secret
    from integrations.models import Company, Connection, Mapping, Subscription
    from integrations.models.configuration import new_bearer_token

    token = new_bearer_token()
    company = Company.objects.create(name="Example", company_id="42", api_token=Secret.of("bench"))
    subscription = Subscription.objects.create(company=company, label="CreateCase", bearer_token=Secret.of(token))
    connection = Connection.objects.create(
        name="Zendesk",
        kind="zendesk",
        settings={"address": zendesk, "sign_in": "api_token", "email": "agent@example.com"},
        secrets=Secret.of(json.dumps({"api_token": "sandbox-zendesk-token"})),
    )
    texts = {"subject": DEFAULT_SUBJECT, "comment": DEFAULT_COMMENT, "comment_public": False, "tags": ["khoros"]}
    Mapping.objects.create(name="To Zendesk", subscription=subscription, connection=connection, settings=texts)
    return {"path": f"/webhooks/khoros/{subscription.uuid}", "token": token}


def make_further_mappings(count: int) -> None:
    """Beside the first one, each to a connection of its own."""
    from integrations.models import Connection, Mapping

    connection, mapping = Connection.objects.get(), Mapping.objects.get()
    for number in range(2, count + 2):
        for copied in (connection, mapping):
            copied.pk, copied.uuid = None, uuid.uuid4()
            copied.name = f"{copied.name.partition(',')[0]}, number {number}"
        connection.save()
        mapping.connection = connection
        mapping.save()


def make_deliveries(count: int, *, distinct: bool) -> None:
    """Notifications stored and routed as always, and workers called as a sweep would.

    `distinct`: each has a text of its own, as real ones have.
    """
    from integrations.infra.queue import publisher
    from integrations.infra.wakes import MOST_WAKES, wake_workers
    from integrations.models import Delivery, Notification, NotificationContent, Subscription
    from integrations.routing.route import route_notification

    subscription, run = Subscription.objects.get(), random.randrange(10**9)
    texts = words.texts(count) if distinct else itertools.repeat(notification.TEXT, count)
    rows = [
        Notification(subscription=subscription, event_key=Notification.hashed(_key(run, number)))
        for number in range(count)
    ]
    made: set[int] = set()
    stored = Notification.objects.bulk_create(rows, 500)
    NotificationContent.objects.bulk_create(
        [
            NotificationContent(
                notification=row,
                event_key=_key(run, number),
                event_name="stream-item-label-applied",
                body=notification.with_text(notification.body(run, number), text),
                headers={"Content-Type": "application/json", "User-Agent": "Khoros"},
            )
            for (number, row), text in zip(enumerate(stored), texts, strict=True)
        ],
        500,
    )
    for row in stored:
        made |= set(route_notification(row.pk))
    # A worker's sweep may route some of them first.
    until = time.monotonic() + ROUTED_WITHIN_SECONDS
    while Delivery.objects.filter(notification__in=stored).count() < count:
        assert time.monotonic() < until, "not every notification was routed"
        time.sleep(0.2)
    for connection_id in made:
        wake_workers(connection_id, count=MOST_WAKES)
    publisher().waiting.join()


def _key(run: int, number: int) -> str:
    return f"uuid:{notification.event_uuid(run, number)}"


def make_wall(count: int) -> str:
    """A wall with so many posts on it; the path where it is read."""
    from datetime import timedelta
    from urllib.parse import urlsplit

    from django.utils import timezone

    from integrations.models import Wall, WallPost
    from integrations.walls import create_wall, page_address

    wall, now = Wall(name="Wall", title="Wall"), timezone.now()
    create_wall(wall)
    rows = (
        WallPost(
            wall=wall,
            key=str(number),
            post_id=f"twitter:{number}",
            author=f"Author {number}",
            handle=f"author{number}",
            network="twitter",
            text=text,
            link=f"https://twitter.com/author{number}/status/{number}",
            posted_at=now - timedelta(minutes=number),
            shown_at=now - timedelta(minutes=number),
            state=WallPost.State.SHOWN,
        )
        for number, text in enumerate(words.texts(count))
    )
    WallPost.objects.bulk_create(rows, 1000)
    return urlsplit(page_address(wall)).path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.rows")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup").add_argument("zendesk")
    commands.add_parser("mappings").add_argument("count", type=int)
    commands.add_parser("wall").add_argument("count", type=int)
    deliveries = commands.add_parser("deliveries")
    deliveries.add_argument("count", type=int)
    deliveries.add_argument("--distinct", action="store_true")
    given = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    if given.command == "setup":
        print(json.dumps(set_up(given.zendesk)))
    elif given.command == "mappings":
        make_further_mappings(given.count)
    elif given.command == "wall":
        print(make_wall(given.count))
    else:
        make_deliveries(given.count, distinct=given.distinct)


if __name__ == "__main__":
    main()
