"""The address at which Khoros and accounts reach this portal."""

from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse

from integrations.models import Connection, Installation, Subscription

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class NoPublicAddress(Exception):
    """No address is known at which others reach us; the text says what to do about it."""


def public_url() -> str:
    """Scheme and host under which Khoros reaches us. Raises NoPublicAddress.

    In order: PUBLIC_URL (or Heroku's own name for the app); HEROKU_APP_NAME's old address, once a request to it has
    reached us (apps made since June 2023 do not live there); the local address, if Khoros' stand-in is local too.
    """
    if settings.PUBLIC_URL:
        _refuse_loopback_for_the_real_khoros(settings.PUBLIC_URL)
        return str(settings.PUBLIC_URL)
    if settings.HEROKU_APP_HOST:
        if Installation.objects.filter(heroku_address_seen_at__isnull=False).exists():
            return f"https://{settings.HEROKU_APP_HOST}"
        raise NoPublicAddress(
            f"No request to https://{settings.HEROKU_APP_HOST} has arrived yet, so it may not be this portal's "
            "address. Open the portal there once, or set PUBLIC_URL to the address Khoros should call."
        )
    if settings.LOCAL_URL and _is_loopback(settings.KHOROS_API_URL):
        return str(settings.LOCAL_URL)
    raise NoPublicAddress("PUBLIC_URL is not set. Set it to the https:// address Khoros should call.")


def _refuse_loopback_for_the_real_khoros(url: str) -> None:
    if _is_loopback(url) and not _is_loopback(settings.KHOROS_API_URL):
        raise NoPublicAddress(
            f"PUBLIC_URL is {url}, which is only reachable from this machine. Set it to the https:// address Khoros "
            "should call."
        )


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in LOOPBACK


def subscription_webhook_url(subscription: Subscription) -> str:
    """The address that Khoros calls for this subscription. Raises NoPublicAddress."""
    return public_url() + reverse("khoros-webhook", args=[subscription.uuid])


def connection_webhook_url(connection: Connection) -> str:
    """The address that the account of this connection calls about its tickets. Raises NoPublicAddress."""
    return public_url() + reverse("account-webhook", args=[connection.uuid])
