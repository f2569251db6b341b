"""How every webhook answers: the one place where an error becomes a status."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from integrations.infra.encryption import UnreadableSecret
from integrations.infra.postgresql import outage
from integrations.infra.request_body import BodyIncomplete, BodyTooLarge

log = structlog.get_logger(__name__)

RETRY_AFTER_SECONDS = "10"


@dataclass(frozen=True, slots=True)
class Stored:
    """The id of the stored row, and whether it had been stored before."""

    id: int
    is_repeat: bool


class Unauthorized(Exception):
    """The address or the credentials are wrong; the text does not say which. `scheme` is for WWW-Authenticate."""

    def __init__(self, message: str, scheme: str = "") -> None:
        super().__init__(message)
        self.headers = {"WWW-Authenticate": scheme} if scheme else {}


Store = Callable[[HttpRequest, str], Stored]
View = Callable[[HttpRequest, str], HttpResponse]


def webhook(noun: str) -> Callable[[Store], View]:
    """Turns a function that stores the call to an address, or raises, into a view.

    200 with the id once it is stored; 400, 401, 405, 413 or 503 otherwise (docs/architecture.md).
    """

    def decorate(store: Store) -> View:
        @csrf_exempt
        @wraps(store)
        def view(request: HttpRequest, address: str) -> HttpResponse:
            if request.method != "POST":
                return _refusal(405, f"Send a {noun} with POST.", {"Allow": "POST"})
            try:
                stored = store(request, address)
            except Unauthorized as refused:
                return _refusal(401, str(refused), refused.headers)
            except BodyIncomplete:
                return _refusal(400, "The body ended before it was complete. Nothing was stored; send it again.")
            except BodyTooLarge:
                return _refusal(413, f"A {noun} may have {settings.INTAKE_MAX_BYTES} bytes at most.")
            except (DatabaseError, UnreadableSecret) as error:
                outage.suspect(error)
                log.error("call not stored", noun=noun, error=type(error).__name__)
                return not_stored()
            return JsonResponse({"id": stored.id, "repeat": stored.is_repeat})

        return view

    return decorate


def not_stored() -> HttpResponse:
    """What a caller is told while nothing can be stored."""
    return _refusal(503, "Not stored. Try again later.", {"Retry-After": RETRY_AFTER_SECONDS})


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> HttpResponse:
    return JsonResponse({"error": message}, status=status, headers=headers)
