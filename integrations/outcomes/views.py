"""The address that an account calls about its tickets."""

from django.http import HttpRequest

from integrations.infra.request_body import read_body
from integrations.infra.webhook import Stored, Unauthorized, webhook
from integrations.outcomes.events import authenticate, receive


@webhook("ticket event")
def account_webhook(request: HttpRequest, address: str) -> Stored:
    """The body is read first: the signature is over its bytes."""
    body = read_body(request)
    source = authenticate(address, request.headers, body)
    if source is None:
        raise Unauthorized("Unknown address or signature.")
    return receive(source, request.headers, body)
