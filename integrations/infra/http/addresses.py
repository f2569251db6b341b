"""Which addresses may be called: https and public ones only, unless `OUTBOUND_ALLOW_PRIVATE` opens the others."""

import ipaddress
import re
import socket
from contextlib import suppress
from urllib.parse import urlsplit

from django.conf import settings
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

# Not public, whatever the Python version thinks of them: NAT64, deprecated site-local, IETF protocol assignments,
# documentation (https://www.iana.org/assignments/iana-ipv6-special-registry, iana-ipv4-special-registry).
CLOSED = [ipaddress.ip_network(text) for text in ("64:ff9b::/96", "fec0::/10", "192.0.0.0/24", "3fff::/20")]
DEFAULT_PORTS = {"https": 443, "http": 80}
# Not allowed in a path: URL parsers disagree on these, and one of them may end the host name elsewhere.
OUT_OF_PLACE = re.compile(r"[\s\\\x00-\x1f\x7f-\x9f]")


class AddressRefused(Exception):
    """An address that outgoing calls may not use; the text says why."""


def checked_origin(address: str, *, example: str = "https://example.com") -> str:
    """Scheme and host of an address that outgoing calls may use. Raises AddressRefused; its text is for the form field.

    A name is not resolved here: one that resolves to a private address is refused when connecting.
    """
    try:
        parts = urlsplit(address.strip() if "://" in address else f"https://{address.strip()}")
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise AddressRefused(f"This is not an address. Enter it like {example}.") from None
    if not host or parts.username or " " in host or ("." not in host and ":" not in host and host != "localhost"):
        raise AddressRefused(f"This is not an address. Enter it like {example}.")
    if parts.scheme != "https" and not (parts.scheme == "http" and settings.OUTBOUND_ALLOW_PRIVATE):
        raise AddressRefused("The address must begin with https://.")
    for literal in _literal_addresses(host):
        refuse_private(literal)
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port and port != DEFAULT_PORTS.get(parts.scheme) else "")


def origin_of(address: str) -> tuple[str, str, int | None]:
    """Scheme, host and port, normalised: equal for the same origin, however it is written."""
    try:
        parts = parse_url(address)
    except LocationParseError:
        return "", address, None
    scheme = parts.scheme or ""
    return scheme, (parts.host or "").rstrip("."), parts.port or DEFAULT_PORTS.get(scheme)


def is_path(path: str) -> bool:
    """Whether appending this to an origin leads to a call at that origin."""
    return path.startswith("/") and not path.startswith("//") and not OUT_OF_PLACE.search(path)


def path_within(origin: str, address: str) -> str:
    """The path of an address (or bare path) found in a reply; "" where it leads away from the origin."""
    if is_path(address):
        return address
    if OUT_OF_PLACE.search(address) or origin_of(address) != origin_of(origin):
        return ""
    path = parse_url(address).request_uri
    return path if is_path(path) else ""


def _literal_addresses(host: str) -> list[str]:
    """The address a host spells out itself, in any of the forms a resolver takes for one (127.1, 0x7f000001, ...)."""
    if host == "localhost" or host.endswith(".localhost"):
        return ["127.0.0.1"]
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    with suppress(OSError):
        return [socket.inet_ntoa(socket.inet_aton(host))]
    return []


def refuse_private(address: str) -> None:
    """Raises AddressRefused for an address that is not public, or not loopback or private where that is allowed."""
    ip = ipaddress.ip_address(address.split("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    if mapped is not None:
        ip = mapped
    if settings.OUTBOUND_ALLOW_PRIVATE and (ip.is_loopback or (ip.is_private and not ip.is_link_local)):
        return
    is_closed = any(ip.version == network.version and ip in network for network in CLOSED)
    if not ip.is_global or ip.is_multicast or ip.is_reserved or is_closed:
        raise AddressRefused(f"{address} is a private address: outgoing calls go to public addresses only.")
