"""Who calls: the subscription at this address, if the bearer token is its own.

Promised: a stranger learns nothing, costs the database next to nothing, and is compared in constant time.
"""

import hashlib
import hmac
import threading
import time
import uuid
from dataclasses import dataclass

from integrations.infra.known_addresses import KnownAddresses, Looks
from integrations.intake.bearer_tokens import previous_tokens
from integrations.models import Subscription

# Reading and decrypting a subscription costs as much as storing a notification, so each process caches it for a moment.
# Only existing ones are cached; whether one is switched on is checked again by routing. Keyed by uuid, as the same
# address can be written in many ways.
CACHED_SECONDS = 1.0
MOST_CACHED = 1000
# While one thread reads it anew, the others go on with what was known.
REFRESH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class KnownSubscription:
    """A subscription as the webhook knows it."""

    id: int
    is_active: bool
    tokens: tuple[str, ...]


def authenticate(address: str, authorization: str) -> KnownSubscription | None:
    """The subscription at this address if the bearer token is its own, else None, whichever of the two was wrong.

    Raises UnreadableSecret when the stored token cannot be read with the present key.
    """
    given = _bearer_token(authorization)
    subscription_uuid = _parse_uuid(address)
    subscription, was_cached = _subscription_at(subscription_uuid)
    if was_cached and not _accepts(subscription, given) and _looks.may_begin():
        # The token may have been rotated a moment ago.
        subscription = _read(subscription_uuid)
    return subscription if _accepts(subscription, given) else None


def is_surely_refused(address: str, authorization: str) -> bool:
    """Whether `authenticate` would refuse without a look at the database. For a web server that strangers try.

    An address that is none, or one that does not exist or whose subscription is cached, once the looks are used up.
    """
    subscription_uuid = _parse_uuid(address)
    if subscription_uuid is None:
        return True
    until, known = _cache.get(subscription_uuid, (0.0, None))
    if known is None or until <= time.monotonic():
        return _addresses.is_surely_unknown(subscription_uuid)
    return _looks.are_used_up and not _accepts(known, _bearer_token(authorization))


def _bearer_token(authorization: str) -> str:
    scheme, _, given = authorization.strip().partition(" ")
    return given.strip() if scheme.casefold() == "bearer" else ""


def _all_addresses() -> list[uuid.UUID]:
    return list(Subscription.objects.filter(company__isnull=False).order_by().values_list("uuid", flat=True))


_looks = Looks()
_addresses = KnownAddresses(_all_addresses, _looks)


def _accepts(subscription: KnownSubscription | None, given: str) -> bool:
    matches = [_equals(given, token) for token in (subscription.tokens if subscription else ("",))]
    return bool(given) and any(matches)


_cache: dict[uuid.UUID, tuple[float, KnownSubscription]] = {}
_cache_lock = threading.Lock()


def _parse_uuid(address: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(address)
    except ValueError:
        return None


def _subscription_at(subscription_uuid: uuid.UUID | None) -> tuple[KnownSubscription | None, bool]:
    """The subscription, and whether it came from the cache."""
    if subscription_uuid is None:
        return None, False
    known = _cached(subscription_uuid)
    if known is not None:
        return known, True
    return (_read(subscription_uuid) if _addresses.may_exist(subscription_uuid) else None), False


def _cached(subscription_uuid: uuid.UUID) -> KnownSubscription | None:
    """Not expired; of those who find it expired the first is to read it anew."""
    with _cache_lock:
        until, known = _cache.get(subscription_uuid, (0.0, None))
        now = time.monotonic()
        if known is None or until > now:
            return known
        _cache[subscription_uuid] = (now + min(REFRESH_SECONDS, CACHED_SECONDS), known)
        return None


def _read(subscription_uuid: uuid.UUID | None) -> KnownSubscription | None:
    if subscription_uuid is None:
        return None
    row = Subscription.objects.filter(uuid=subscription_uuid, company__isnull=False).order_by().first()
    if row is None:
        _drop_from_cache(subscription_uuid)
        return None
    known = KnownSubscription(row.pk, row.is_active, tuple(_accepted_tokens(row)))
    _store_in_cache(subscription_uuid, known)
    _addresses.note(subscription_uuid)
    return known


def _store_in_cache(subscription_uuid: uuid.UUID, subscription: KnownSubscription) -> None:
    with _cache_lock:
        _cache.pop(subscription_uuid, None)
        _cache[subscription_uuid] = (time.monotonic() + CACHED_SECONDS, subscription)
        while len(_cache) > MOST_CACHED:
            del _cache[next(iter(_cache))]


def _drop_from_cache(subscription_uuid: uuid.UUID | None) -> None:
    with _cache_lock:
        if subscription_uuid is not None:
            _cache.pop(subscription_uuid, None)


def _accepted_tokens(subscription: Subscription) -> list[str]:
    """The current token, and earlier ones during a rotation."""
    return [subscription.bearer_token.reveal(), *previous_tokens(subscription)]


def _equals(given: str, token: str) -> bool:
    """Constant-time, also in the length of either; an empty token equals nothing."""
    # Header bytes reach us decoded as Latin-1 (PEP 3333), whatever they were.
    digests = (hashlib.sha256(raw).digest() for raw in (given.encode("latin-1", "replace"), token.encode()))
    return hmac.compare_digest(*digests) and bool(token)
