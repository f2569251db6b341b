"""Pages show times in the zone that the signed-in person chose."""

from collections.abc import Callable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from integrations.models import Preferences

PAGES = "/admin/"


class TimeZoneMiddleware:
    """For pages alone: whatever workers and webhooks write is in UTC."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(PAGES):
            return self.get_response(request)
        with timezone.override(_zone(_chosen_by(request))):
            return self.get_response(request)


def _chosen_by(request: HttpRequest) -> str | None:
    """In all sessions of a person at once; asked for by the session's own number, without loading the account."""
    user = request.session.get(SESSION_KEY)
    return Preferences.objects.filter(user=user).values_list("time_zone", flat=True).first() if user else None


def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")
