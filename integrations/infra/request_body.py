"""The body of a webhook call: complete and within the limit, or refused."""

from django.conf import settings
from django.http import HttpRequest

from integrations.infra.packing import gunzipped

READ_AT_ONCE = 64 * 1024
# A body over the limit is drained up to here, so that its sender sees our answer and not a reset.
DRAINED_BYTES = 8 * 1024 * 1024


class BodyTooLarge(Exception):
    """More than INTAKE_MAX_BYTES."""


class BodyIncomplete(Exception):
    """The sender stopped in the middle, or its chunks could not be read."""


def read_body(request: HttpRequest) -> bytes:
    """The body, at most INTAKE_MAX_BYTES of it, also when it is sent in chunks without a Content-Length, or as gzip.

    Raises BodyTooLarge, BodyIncomplete.
    """
    body = gunzipped(_received(request), settings.INTAKE_MAX_BYTES)
    if len(body) > settings.INTAKE_MAX_BYTES:
        raise BodyTooLarge
    return body


def _received(request: HttpRequest) -> bytes:
    """What was sent, at most INTAKE_MAX_BYTES of it.

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
