"""What answers or adds headers around Django's own middleware."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import Resolver404, resolve
from django.utils.crypto import constant_time_compare

from integrations.infra.postgresql import outage
from integrations.infra.webhook import not_stored
from portal.errors import database_is_away

GetResponse = Callable[[HttpRequest], HttpResponse]


CHECK_SECONDS = 2.0
WEBHOOKS = "/webhooks/"
# Who has the address may call: no session, no form and no host name has a part in it.
BY_ADDRESS = (WEBHOOKS, "/walls/")


class ContentLengthMiddleware:
    """How long an answer is stands in its head, whoever made it; else the server sends it in chunks."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not response.streaming:
            response.headers.setdefault("Content-Length", str(len(response.content)))
        return response


class HealthMiddleware:
    """/healthz and /readyz, answered first: probes come by any host name, without https, and want no session.

    /healthz: the process answers. /readyz: 503 without what intake needs (database, migrations): a dead worker must not
    stop intake. /readyz?full=1: 503 when anything is missing. A stranger learns yes or no; who sends READYZ_TOKEN as
    bearer token is told what is missing.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        path = request.path_info.rstrip("/")
        if path == "/healthz":
            return JsonResponse({"status": "ok"})
        if path == "/readyz":
            is_full = request.GET.get("full", "") not in ("", "0", "false")
            return self._ready(is_full=is_full, tells_parts=_is_watcher(request))
        return self.get_response(request)

    @staticmethod
    def _ready(*, is_full: bool, tells_parts: bool) -> JsonResponse:
        from integrations.installation import OK, health_checks

        with outage.Limit(CHECK_SECONDS):
            found = health_checks()
        needed = found if is_full else {"database": found["database"]}
        is_ready = all(state == OK for state in needed.values())
        content: dict[str, Any] = {"status": "ok" if is_ready else "not ready"}
        if tells_parts:
            content |= {"degraded": [name for name, state in found.items() if state != OK], "checks": found}
        answer = JsonResponse(content, status=200 if is_ready else 503)
        # Whoever asks knows; while the portal starts, it would be an error for each time it is asked.
        answer._has_been_logged = True  # type: ignore[attr-defined]
        return answer


def _is_watcher(request: HttpRequest) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    token = settings.READYZ_TOKEN
    return bool(token) and scheme.casefold() == "bearer" and constant_time_compare(given.strip(), token)


class DatabaseOutageMiddleware:
    """While PostgreSQL is away every request is told so within seconds, and none of them waits for it.

    A webhook's caller gets its own 503; a person a page that says what to do. An error in the middle of a page comes
    back as `portal.errors.server_error`.
    """

    CALL_SECONDS = 2.0
    PAGE_SECONDS = 30.0

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        is_call = request.path_info.startswith(WEBHOOKS)
        if outage.is_on():
            return not_stored() if is_call else database_is_away(request)
        with outage.Limit(self.CALL_SECONDS if is_call else self.PAGE_SECONDS, in_all=is_call):
            return self.get_response(request)


class ContentSecurityPolicyMiddleware:
    """The policy on every answer, error pages included."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", settings.CONTENT_SECURITY_POLICY)
        return response


class AddressedMiddleware:
    """Calls of webhooks and readers of walls go straight to their view: no session and no form has a part in them.

    Their credentials, or the address itself, prove them, at any host name: when the public address changes, Khoros
    still calls the old one for a while. And what a page needs would cost a call a tenth of its time.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(BY_ADDRESS):
            return self.get_response(request)
        try:
            view, args, kwargs = resolve(request.path_info)
        except Resolver404:
            return self.get_response(request)
        answer: HttpResponse = view(request, *args, **kwargs)
        return answer
