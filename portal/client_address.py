"""The address that a request comes from, behind as many proxies as are known to stand in front."""

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """What the outermost trusted proxy saw. What a client writes into X-Forwarded-For itself is never believed."""
    peer = str(request.META.get("REMOTE_ADDR") or "")
    seen = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if part.strip()]
    if not settings.TRUSTED_PROXIES or len(seen) < settings.TRUSTED_PROXIES:
        return peer
    return seen[-settings.TRUSTED_PROXIES][:64]
