"""What a person sees when a page cannot be made."""

import sys

import structlog
from django.conf import settings
from django.contrib import admin
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


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    sentence = "Nothing is kept at this address: it may have been deleted, or the address is mistyped."
    return _problem(request, 404, "There is no such page", sentence)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    sentence = "Your role does not include this page. An administrator can give you another one, under Users."
    return _problem(request, 403, "This page is not for your role", sentence)


def form_too_old(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form whose protection does not fit: usually one that was opened before signing in anew."""
    log.warning("form refused", reason=reason)
    sentence = "The form was opened too long ago, or cookies are blocked. Go back, load the page again and repeat it."
    return _problem(request, 403, "Nothing was changed", sentence)


def _problem(request: HttpRequest, status: int, title: str, sentence: str) -> HttpResponse:
    """In the theme, with the menu, for who is signed in; a plain page for everybody else."""
    person = getattr(request, "user", None)
    is_signed_in = person is not None and person.is_authenticated and person.is_staff
    context = {"title": title, "sentence": sentence, "home": "/admin/", "base": "plain_page.html"}
    if is_signed_in:
        context |= {
            **admin.site.each_context(request),
            "title": title,
            "page_title": title,
            "base": "admin/base_site.html",
        }
    return HttpResponse(render_to_string("problem.html", context, request), status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400; a host name that the portal does not know is told with the variable to set."""
    if not isinstance(exception, DisallowedHost):
        return djangos_bad_request(request, exception)
    host = str(request.META.get("HTTP_HOST") or "")[:200]
    log.warning("request for an unknown host name", host=host, public_url=settings.PUBLIC_URL or "not set")
    context = {"host": host, "public_url": settings.PUBLIC_URL}
    return HttpResponse(render_to_string("unknown_host.html", context), status=400)
