"""OAuth tokens and codes: how long each is valid, and how one is exchanged for another.

A refresh token belongs to the access token issued with it; using it ends both. A code is valid once.
"""

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.state import State

ACCESS_LIFE = 1800
ACCESS_LIVES = range(300, 172_800 + 1)
REFRESH_LIFE = 2_592_000
REFRESH_LIVES = range(604_800, 7_776_000 + 1)
CODE_LIFE = 120


@dataclass(frozen=True)
class Pair:
    """A new access token, with its refresh token if there is one."""

    access_token: str
    scope: str
    expires_in: int
    refresh_token: str | None = None
    refresh_token_expires_in: int | None = None

    def shown(self) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "access_token": self.access_token,
            "token_type": "bearer",
            "scope": self.scope,
            "expires_in": self.expires_in,
        }
        if self.refresh_token is None:
            return shown
        refresh = {"refresh_token": self.refresh_token, "refresh_token_expires_in": self.refresh_token_expires_in}
        return {**shown, **refresh}


@dataclass(frozen=True)
class Lives:
    """How many seconds the two tokens of a pair are valid."""

    access: int = ACCESS_LIFE
    refresh: int = REFRESH_LIFE


def scope_of(state: State, access_token: str) -> str | None:
    """The scopes of a valid token, else None."""
    row = state.row("SELECT scope FROM access_tokens WHERE token = ? AND ends_at > ?", access_token, time.time())
    return row["scope"] if row else None


def issue(state: State, scope: str, lives: Lives, *, with_refresh: bool) -> Pair:
    access_token, refresh_token = secrets.token_hex(32), secrets.token_hex(32)
    moment = time.time()
    with state.transaction():
        state.insert("INSERT INTO access_tokens VALUES (?, ?, ?)", access_token, scope, moment + lives.access)
        if not with_refresh:
            return Pair(access_token, scope, lives.access)
        state.insert(
            "INSERT INTO refresh_tokens VALUES (?, ?, ?, ?, ?, ?)",
            refresh_token,
            access_token,
            scope,
            lives.access,
            lives.refresh,
            moment + lives.refresh,
        )
    return Pair(access_token, scope, lives.access, refresh_token, lives.refresh)


def take_refresh(state: State, refresh_token: str) -> tuple[str, Lives] | None:
    """Ends a refresh token and its access token. Returns its scopes and lifetimes, or None if it is not valid."""
    with state.transaction():
        row = state.row("SELECT * FROM refresh_tokens WHERE token = ? AND ends_at > ?", refresh_token, time.time())
        if row is None:
            return None
        state.change("DELETE FROM refresh_tokens WHERE token = ?", refresh_token)
        state.change("DELETE FROM access_tokens WHERE token = ?", row["access_token"])
    return row["scope"], Lives(row["access_life"], row["life"])


def make_code(state: State, redirect_uri: str, scope: str) -> str:
    code = secrets.token_hex(20)
    state.insert(
        "INSERT INTO authorization_codes VALUES (?, ?, ?, ?)", code, redirect_uri, scope, time.time() + CODE_LIFE
    )
    return code


def take_code(state: State, code: str, redirect_uri: str) -> str | None:
    """Uses up a code. Returns its scopes, or None if it is not valid for this address."""
    with state.transaction():
        row = state.row("SELECT * FROM authorization_codes WHERE code = ?", code)
        state.change("DELETE FROM authorization_codes WHERE code = ?", code)
    if row is None or row["ends_at"] <= time.time() or row["redirect_uri"] != redirect_uri:
        return None
    return str(row["scope"])


def expire(state: State, kinds: list[str]) -> int:
    """Expires every token of these kinds and returns how many there were."""
    unknown = sorted(set(kinds) - set(EXPIRIES))
    if unknown:
        raise ValueError(f"There is no kind {', '.join(unknown)}. Known: {', '.join(EXPIRIES)}.")
    with state.transaction():
        return sum(state.change(EXPIRIES[kind], time.time()) for kind in kinds)


def revoke(state: State) -> int:
    """Revokes every access token, refresh token and code, and returns how many there were."""
    with state.transaction():
        return sum(state.change(statement) for statement in REVOCATIONS)


def everything(state: State) -> list[dict[str, Any]]:
    """The kind, scopes and expiry of each, and whether it is still valid; never the secret itself."""
    return [
        {
            "kind": kind,
            "scope": row["scope"],
            "ends_at": datetime.fromtimestamp(row["ends_at"], UTC).isoformat(timespec="seconds"),
            "lives": row["ends_at"] > time.time(),
        }
        for kind, query in LISTS.items()
        for row in state.rows(query)
    ]


EXPIRIES = {
    "access": "UPDATE access_tokens SET ends_at = min(ends_at, ?)",
    "refresh": "UPDATE refresh_tokens SET ends_at = min(ends_at, ?)",
    "code": "UPDATE authorization_codes SET ends_at = min(ends_at, ?)",
}
REVOCATIONS = ("DELETE FROM access_tokens", "DELETE FROM refresh_tokens", "DELETE FROM authorization_codes")
LISTS = {
    "access": "SELECT scope, ends_at FROM access_tokens ORDER BY rowid",
    "refresh": "SELECT scope, ends_at FROM refresh_tokens ORDER BY rowid",
    "code": "SELECT scope, ends_at FROM authorization_codes ORDER BY rowid",
}
