"""A mapping's conditions against a post as it was received: with its event's time, and whether its author is known."""

import hashlib
import threading
from functools import partial

from integrations.domain.conditions import Subject, Verdict, judge
from integrations.domain.post import Event, Post
from integrations.infra import database_clock
from integrations.models import Mapping, Notification, PostContent


def judge_post(mapping: Mapping, event: Event, post: Post, notification: Notification | None) -> Verdict:
    """Without a notification it is an example, whose author nobody has seen or not seen."""
    received_at = notification.received_at if notification else database_clock.now()
    is_known = partial(_is_author_known, notification, event, post)
    return judge(mapping.conditions, Subject(post, event.happened_at or received_at, is_known))


def author_key(company_id: int | None, post: Post) -> int | None:
    """The same number for all posts of one author on one network; None where nobody is named."""
    known_as = post.author_id or post.author_handle.casefold().removeprefix("@") or post.author.casefold()
    if not known_as:
        return None
    digest = hashlib.blake2b(f"{company_id}:{post.network}:{known_as}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


_latest = threading.local()


def _first_of_author(event: Event, company_id: int | None) -> dict[int | None, str]:
    """The first post of each author in an event. Kept for the event that a thread reads last: it may have thousands."""
    event_and_company, firsts = getattr(_latest, "found", ((None, None), {}))
    if event_and_company[0] is not event or event_and_company[1] != company_id:
        firsts = {author_key(company_id, post): post.post_id for post in reversed(event.posts)}
        _latest.found = ((event, company_id), firsts)
    return firsts


def _is_author_known(notification: Notification | None, event: Event, post: Post) -> bool | None:
    """Whether another post of the author came before: in this notification, or in one that was received earlier."""
    key = author_key(notification.subscription.company_id, post) if notification else None
    if notification is None or key is None:
        return None
    if _first_of_author(event, notification.subscription.company_id).get(key, post.post_id) != post.post_id:
        return True
    earlier = PostContent.objects.filter(author_key=key, notification__lt=notification.pk)
    return earlier.exclude(post_id=post.post_id).exists()
