"""What comes in from outside: the addresses that Khoros and Zendesk call."""

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from integrations import intake, ticket_events
from integrations.encryption import UnreadableSecret

log = structlog.get_logger(__name__)

READ_AT_ONCE = 64 * 1024
# A body over the limit is read on (and thrown away) this far, so that its sender sees our answer and not a reset.
DRAINED_BYTES = 8 * 1024 * 1024


class BodyTooLarge(Exception):
    """More than INTAKE_MAX_BYTES."""


class BodyIncomplete(Exception):
    """The sender stopped in the middle, or its chunks could not be read."""


@csrf_exempt
def khoros_webhook(request: HttpRequest, address: str) -> HttpResponse:
    """200 with the notification's id once it is stored; 401, 405, 413 or 503 otherwise (docs/architecture.md)."""
    if request.method != "POST":
        return _answer(405, "Send notifications with POST.", {"Allow": "POST"})
    try:
        feed = intake.authenticate(address, request.headers.get("Authorization", ""))
        if feed is None:
            return _answer(401, "The address or the bearer token is not known here.", {"WWW-Authenticate": "Bearer"})
        body = _read_body(request)
        stored = intake.receive(feed, body, _kept_headers(request), _charset(request))
    except BodyIncomplete:
        return _answer(400, "The body ended before it was complete. Nothing was stored; send it again.")
    except BodyTooLarge:
        return _answer(413, f"A notification may have {settings.INTAKE_MAX_BYTES} bytes at most.")
    except (DatabaseError, UnreadableSecret) as error:
        log.error("notification not stored", error=type(error).__name__)
        return _answer(503, "Not stored. Try again later.", {"Retry-After": "30"})
    return JsonResponse({"id": stored.notification_id, "repeat": stored.is_repeat})


@csrf_exempt
def zendesk_webhook(request: HttpRequest, address: str) -> HttpResponse:
    """200 once the event is stored, whatever its body; 400, 401, 405, 413 or 503 otherwise (docs/outcomes.md).

    The body is read first: the signature is over its bytes.
    """
    if request.method != "POST":
        return _answer(405, "Send events with POST.", {"Allow": "POST"})
    try:
        body = _read_body(request)
        source = ticket_events.authenticate(address, request.headers, body)
        if source is None:
            return _answer(401, "The address or the signature is not known here.")
        stored = ticket_events.receive(source, request.headers, body)
    except BodyIncomplete:
        return _answer(400, "The body ended before it was complete. Nothing was stored; send it again.")
    except BodyTooLarge:
        return _answer(413, f"An event may have {settings.INTAKE_MAX_BYTES} bytes at most.")
    except (DatabaseError, UnreadableSecret) as error:
        log.error("ticket event not stored", error=type(error).__name__)
        return _answer(503, "Not stored. Try again later.", {"Retry-After": "30"})
    return JsonResponse({"id": stored.event_id, "repeat": stored.is_repeat})


def _answer(status: int, words: str, headers: dict[str, str] | None = None) -> HttpResponse:
    return JsonResponse({"error": words}, status=status, headers=headers)


def _read_body(request: HttpRequest) -> bytes:
    """The body, at most INTAKE_MAX_BYTES of it, also when it is sent in chunks without a Content-Length.

    Django reads a chunked body as empty (it trusts Content-Length alone), so that one is read from the server itself.
    """
    is_chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    source = request.META["wsgi.input"] if is_chunked else request
    declared = None if is_chunked else int(request.META.get("CONTENT_LENGTH") or 0)
    body = bytearray()
    while len(body) <= settings.INTAKE_MAX_BYTES:
        piece = _read_piece(source)
        if not piece:
            if declared is not None and len(body) < declared:
                raise BodyIncomplete
            return bytes(body)
        body += piece
    _drain(source)
    raise BodyTooLarge


def _read_piece(source: HttpRequest) -> bytes:
    try:
        return source.read(READ_AT_ONCE)
    except Exception as error:
        # The server's own errors about chunks share no base class, and all of them mean the same.
        raise BodyIncomplete from error


def _drain(source: HttpRequest) -> None:
    left = DRAINED_BYTES
    while left > 0 and (piece := _read_piece(source)):
        left -= len(piece)


def _kept_headers(request: HttpRequest) -> dict[str, str]:
    return {name: request.headers[name][:500] for name in intake.KEPT_HEADERS if name in request.headers}


def _charset(request: HttpRequest) -> str:
    return (request.content_params or {}).get("charset", "")
