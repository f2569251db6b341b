"""The address that Khoros calls."""

from django.http import HttpRequest

from integrations.infra.request_body import read_body
from integrations.infra.webhook import Stored, Unauthorized, webhook
from integrations.intake.authenticate import authenticate
from integrations.intake.receive import receive

KEPT_HEADERS = ("Content-Type", "Content-Length", "User-Agent", "Date", "X-Request-Id", "X-Forwarded-For", "Via")
REFUSED = "Unknown address or bearer token."


@webhook("notification")
def khoros_webhook(request: HttpRequest, address: str) -> Stored:
    """Authenticates first: a stranger's body is not even read."""
    subscription = authenticate(address, request.headers.get("Authorization", ""))
    if subscription is None:
        raise Unauthorized(REFUSED, "Bearer")
    return receive(subscription, read_body(request), _kept_headers(request), _charset(request))


def _kept_headers(request: HttpRequest) -> dict[str, str]:
    return {name: request.headers[name][:500] for name in KEPT_HEADERS if name in request.headers}


def _charset(request: HttpRequest) -> str:
    return (request.content_params or {}).get("charset", "")
