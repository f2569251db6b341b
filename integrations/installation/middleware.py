"""Records that a request reached us under HEROKU_APP_NAME's address, where only that proves it is ours."""

from collections.abc import Callable

from django.conf import settings
from django.db import Error as DatabaseError
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse

from integrations.models import Installation, Subscription


class PublicAddressMiddleware:
    """With HEROKU_APP_NAME set, the first request to its old address proves that the portal lives there."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.is_watching = bool(settings.HEROKU_APP_HOST) and not settings.PUBLIC_URL

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if self.is_watching and request.META.get("HTTP_HOST", "").partition(":")[0] == settings.HEROKU_APP_HOST:
            self.is_watching = not self._record()
        return self.get_response(request)

    @staticmethod
    def _record() -> bool:
        try:
            if Installation.objects.filter(heroku_address_seen_at=None).update(heroku_address_seen_at=Now()):
                Subscription.objects.filter(company__isnull=False).update(next_check_at=Now())
        except DatabaseError:
            return False
        return True
