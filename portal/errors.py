"""What a person sees when a page cannot be made."""

import sys

import structlog
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.defaults import bad_request as djangos_bad_request
from django.views.defaults import server_error as djangos_server_error

from integrations.infra.postgresql import outage

log = structlog.get_logger(__name__)

RETRY_AFTER_SECONDS = "10"


def database_is_away(_request: HttpRequest) -> HttpResponse:
    """503, made without the database."""
    return HttpResponse(render_to_string("503.html"), status=503, headers={"Retry-After": RETRY_AFTER_SECONDS})


def server_error(request: HttpRequest) -> HttpResponse:
    """Called with the error being handled: one that means that PostgreSQL is away is told as that."""
    if outage.suspect(sys.exception()):
        return database_is_away(request)
    return djangos_server_error(request)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400; a host name that the portal does not know is told with the variable to set."""
    if not isinstance(exception, DisallowedHost):
        return djangos_bad_request(request, exception)
    host = str(request.META.get("HTTP_HOST") or "")[:200]
    log.warning("request for an unknown host name", host=host, public_url=settings.PUBLIC_URL or "not set")
    context = {"host": host, "public_url": settings.PUBLIC_URL}
    return HttpResponse(render_to_string("unknown_host.html", context), status=400)
