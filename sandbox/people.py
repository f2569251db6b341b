"""The people of the pretended account: agents and end users, as the API shows them."""

import sqlite3
from typing import Any

from sandbox.state import State

LONG_AGO = "2023-09-09T23:51:58Z"
ROLES = ("end-user", "agent", "admin")
ROLE_TYPES = {"admin": 4, "agent": 0, "end-user": None}

QUERIES = {
    "id": "SELECT * FROM users WHERE id = ?",
    "email": "SELECT * FROM users WHERE email = ?",
    "external_id": "SELECT * FROM users WHERE external_id = ?",
}


def one(state: State, column: str, value: Any) -> sqlite3.Row | None:
    """The person with this id, e-mail address or external id; the case of the latter two does not matter."""
    return state.row(QUERIES[column], value)


def everyone(state: State) -> list[sqlite3.Row]:
    return state.rows("SELECT * FROM users ORDER BY id")


def agent_ids(state: State) -> set[int]:
    """Those a ticket can be assigned to."""
    return {row["id"] for row in state.rows("SELECT id FROM users WHERE role <> 'end-user' AND NOT suspended")}


def shown(row: sqlite3.Row, origin: str) -> dict[str, Any]:
    """A person in the recorded shape."""
    return {
        "id": row["id"],
        "url": f"{origin}/api/v2/users/{row['id']}.json",
        "name": row["name"],
        "email": row["email"],
        "created_at": row["created_at"] or LONG_AGO,
        "updated_at": row["updated_at"] or LONG_AGO,
        "time_zone": "UTC",
        "iana_time_zone": "Etc/UTC",
        "phone": None,
        "shared_phone_number": None,
        "photo": None,
        "locale_id": 1,
        "locale": "en-US",
        "organization_id": None,
        "role": row["role"],
        "verified": row["role"] != "end-user",
        "external_id": row["external_id"],
        "tags": [],
        "alias": None,
        "active": True,
        "shared": False,
        "shared_agent": False,
        "last_login_at": None,
        "two_factor_auth_enabled": None,
        "signature": None,
        "details": None,
        "notes": None,
        "role_type": ROLE_TYPES[row["role"]],
        "custom_role_id": None,
        "moderator": row["role"] != "end-user",
        "ticket_restriction": "requested" if row["role"] == "end-user" else None,
        "only_private_comments": False,
        "restricted_agent": row["role"] != "admin",
        "suspended": bool(row["suspended"]),
        "default_group_id": None,
        "report_csv": row["role"] == "admin",
        "user_fields": {},
    }
