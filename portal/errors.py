"""What a person sees when a page cannot be made."""

import sys

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.defaults import server_error as djangos_server_error

from integrations.infra.postgresql import outage

RETRY_AFTER_SECONDS = "10"


def database_is_away(_request: HttpRequest) -> HttpResponse:
    """503, made without the database."""
    return HttpResponse(render_to_string("503.html"), status=503, headers={"Retry-After": RETRY_AFTER_SECONDS})


def server_error(request: HttpRequest) -> HttpResponse:
    """Called with the error being handled: one that means that PostgreSQL is away is told as that."""
    if outage.suspect(sys.exception()):
        return database_is_away(request)
    return djangos_server_error(request)
