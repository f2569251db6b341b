"""A wall's address: nobody can guess it, and it works until it is renewed or revoked."""

import hashlib
import re
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.urls import reverse

from integrations.infra.encryption import Secret
from integrations.models import Wall
from integrations.models.walls import new_wall_token
from integrations.walls.cache import forget_pages

TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def hash_of(token: str) -> str:
    """What a token is found by: the database has no list of addresses to read."""
    return hashlib.sha256(token.encode()).hexdigest()


def renew_address(wall: Wall) -> None:
    """Gives the wall a new address. The one so far is no longer valid at once, everywhere."""
    _set_token(wall, new_wall_token())


def revoke_address(wall: Wall) -> None:
    """Takes the wall's address away: nobody reads it until there is a new one."""
    _set_token(wall, "")


def _set_token(wall: Wall, token: str) -> None:
    with transaction.atomic():
        former = Wall.objects.select_for_update().values_list("token_hash", flat=True).get(pk=wall.pk)
        wall.token, wall.token_hash = Secret.of(token), hash_of(token) if token else None
        Wall.objects.filter(pk=wall.pk).update(token=wall.token, token_hash=wall.token_hash, changed_at=Now())
    if former:
        transaction.on_commit(lambda: forget_pages(former), robust=True)


def page_address(wall: Wall, view: str = "wall-page") -> str:
    """Where the wall is read; "" where it has no address, or one that the present key does not decrypt."""
    if not wall.token or not wall.token.is_readable:
        return ""
    return own_origin() + reverse(view, args=[wall.token.reveal()])


FRAME_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")


def frame_origin(typed: str) -> str:
    """A site that may embed a wall, as a policy names it: scheme, host and port in ASCII. Raises ValueError."""
    parts = urlsplit(typed if "://" in typed else f"https://{typed}")
    host = (parts.hostname or "").encode("idna").decode() if not (parts.hostname or "").isascii() else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    origin = f"{parts.scheme}://{host}{port}"
    if not FRAME_ORIGIN.fullmatch(origin) or parts.username is not None or "." not in origin:
        raise ValueError(f"“{typed[:100]}” is not the address of a site. Enter it like https://intranet.example.com.")
    return origin


def own_origin() -> str:
    """Scheme and host under which screens and feed readers reach this portal, as far as the settings say."""
    by_name = f"https://{settings.HEROKU_APP_HOST}" if settings.HEROKU_APP_HOST else ""
    return str(settings.PUBLIC_URL or by_name or settings.LOCAL_URL)
