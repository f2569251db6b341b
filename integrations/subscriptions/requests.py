"""What staff and the clock request of a subscription; a worker carries it out."""

from collections.abc import Iterable

from django.db.models import F
from django.db.models.functions import Now

from integrations.installation import NoPublicAddress, subscription_webhook_url
from integrations.intake import BEARER_TOKEN_COLUMNS, replace_bearer_token
from integrations.models import Subscription
from integrations.subscriptions.catch_up import forget_idle_runs
from integrations.subscriptions.volume import count_volume

Registration = Subscription.Registration


def request_check(subscription_ids: Iterable[int], by: str = "") -> None:
    """Requests a check as soon as a worker is free; `by` is the user who wants drift repaired."""
    Subscription.objects.filter(pk__in=subscription_ids, company__isnull=False).update(
        next_check_at=Now(), requested_by=by[:150] if by else F("requested_by")
    )


# --- A new public address --------------------------------------------------------------------------------------------


def notice_new_address() -> None:
    """After the portal moved, has subscriptions registered at the new address before their next regular check."""
    rows = Subscription.objects.filter(is_active=True, registration=Registration.REGISTERED)
    for subscription in rows.exclude(registered_address="").only("uuid", "receives_by", "registered_address"):
        try:
            moved = subscription.is_pushed and subscription_webhook_url(subscription) != subscription.registered_address
        except NoPublicAddress:
            continue
        if moved:
            request_check([subscription.pk])


# --- By staff --------------------------------------------------------------------------------------------------------


def change_bearer_token(subscription: Subscription, new_token: str, by: str = "") -> None:
    """Sets a new token; the old one is accepted until Khoros is seen to use the new one, and a day more."""
    replace_bearer_token(subscription, new_token)
    subscription.registration = Registration.WAITING
    subscription.save(update_fields=[*BEARER_TOKEN_COLUMNS, "registration"])
    request_check([subscription.pk], by)


def delete_subscription(subscription: Subscription, by: str) -> None:
    """Retires it at Khoros as soon as a worker is free; its history stays, its mappings are switched off."""
    subscription.mappings.update(is_active=False)
    Subscription.objects.filter(pk=subscription.pk, deleted_at__isnull=True).update(
        is_active=False, deleted_at=Now(), registration=Registration.WAITING
    )
    request_check([subscription.pk], by)


# --- Upkeep ----------------------------------------------------------------------------------------------------------


def keep_up() -> None:
    """Regular upkeep: a new public address, the counted volume, idle catch-ups."""
    notice_new_address()
    count_volume()
    forget_idle_runs()
