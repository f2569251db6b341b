"""The people of the simulated account: agents and end users, their identities, and how the API shows them.

E-mail addresses, identities and external ids are unique, ignoring case.
"""

import re
import sqlite3
from typing import Any

from sandbox.problems import Problem, Refusal
from sandbox.state import State, stamp

LONG_AGO = "2023-09-09T23:51:58Z"
ROLES = ("end-user", "agent", "admin")
ROLE_TYPES = {"admin": 4, "agent": 0, "end-user": None}
IDENTITY_TYPES = ("email", "twitter", "facebook", "google", "phone_number", "agent_forwarding")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
NAME_CHARACTERS = 255

# Added to a person's id, it is the id of the identity for the first e-mail address.
FIRST_EMAIL_ID = 10_000_000

QUERIES = {
    "id": "SELECT * FROM users WHERE id = ?1",
    "email": "SELECT * FROM users WHERE email = ?1"
    " OR id IN (SELECT user_id FROM identities WHERE type = 'email' AND value = ?1)",
    "external_id": "SELECT * FROM users WHERE external_id = ?1",
}

Values = dict[str, Any]


def one(state: State, column: str, value: Any) -> sqlite3.Row | None:
    """The person with this id, e-mail address or external id, ignoring case."""
    return state.row(QUERIES[column], value)


def everyone(state: State) -> list[sqlite3.Row]:
    return state.rows("SELECT * FROM users ORDER BY id")


def agent_ids(state: State) -> set[int]:
    """The agents a ticket can be assigned to."""
    return {row["id"] for row in state.rows("SELECT id FROM users WHERE role <> 'end-user' AND NOT suspended")}


def found_by(state: State, given: Values) -> sqlite3.Row | None:
    """The person a request names by external id or else by e-mail address."""
    for column in ("external_id", "email"):
        value = text(given.get(column))
        person = one(state, column, value) if value else None
        if person:
            return person
    return None


def create(state: State, given: Values) -> int:
    """Creates a person with the given identities. Raises Refusal, changing nothing."""
    with state.transaction():
        refuse(_problems(state, given, None))
        moment = stamp()
        user_id = state.insert(
            "INSERT INTO users (name, email, role, suspended, external_id, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            text(given.get("name")),
            text(given.get("email")) or None,
            given.get("role") or "end-user",
            bool(given.get("suspended")),
            text(given.get("external_id")) or None,
            moment,
            moment,
        )
        for identity in given.get("identities") or []:
            add_identity(state, user_id, identity)
    return user_id


def change(state: State, person: sqlite3.Row, given: Values) -> None:
    """Changes the given fields; a second e-mail address becomes an identity. Raises Refusal, changing nothing."""
    with state.transaction():
        refuse(_problems(state, given, person))
        values = {**dict(person), **{key: given[key] for key in ("role", "suspended") if given.get(key) is not None}}
        values |= {key: text(given[key]) for key in ("name", "external_id") if text(given.get(key))}
        email = text(given.get("email"))
        if email and not person["email"]:
            values["email"] = email
        elif email and one(state, "email", email) is None:
            add_identity(state, person["id"], {"type": "email", "value": email})
        state.change(
            "UPDATE users SET name = ?, email = ?, role = ?, suspended = ?, external_id = ?, updated_at = ?"
            " WHERE id = ?",
            values["name"],
            values["email"],
            values["role"],
            bool(values["suspended"]),
            values["external_id"],
            stamp(),
            person["id"],
        )


def add_identity(state: State, user_id: int, given: Any) -> int:
    """Adds an identity and returns its id. Raises Refusal."""
    refuse(_identity_problems(state, given))
    return state.insert(
        "INSERT INTO identities (user_id, type, value, created_at) VALUES (?, ?, ?, ?)",
        user_id,
        given["type"],
        text(given["value"]),
        stamp(),
    )


def identities(state: State, person: sqlite3.Row, origin: str) -> list[Values]:
    """A person's identities as the API shows them, starting with the first e-mail address."""
    rows: list[Values] = [dict(row) for row in state.rows("SELECT * FROM identities WHERE user_id = ?", person["id"])]
    if person["email"]:
        first = {"id": FIRST_EMAIL_ID + person["id"], "type": "email", "value": person["email"]}
        rows.insert(0, {**first, "user_id": person["id"], "created_at": person["created_at"] or LONG_AGO})
    return [
        {
            "url": f"{origin}/api/v2/users/{person['id']}/identities/{row['id']}.json",
            **row,
            "verified": True,
            "primary": number == 0,
            "updated_at": row["created_at"],
            "undeliverable_count": 0,
            "deliverable_state": "deliverable",
        }
        for number, row in enumerate(rows)
    ]


def search(state: State, words: str) -> list[sqlite3.Row]:
    """The people whose name, external id or identities contain the words; a leading `type:` is ignored."""
    wanted = f"%{re.sub(r'^[a-z_]+:', '', words).strip()}%"
    return state.rows(
        "SELECT * FROM users WHERE name LIKE ?1 OR email LIKE ?1 OR external_id LIKE ?1"
        " OR id IN (SELECT user_id FROM identities WHERE value LIKE ?1) ORDER BY id",
        wanted,
    )


def shown(row: sqlite3.Row, origin: str) -> Values:
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


def name_problem(name: str) -> Problem | None:
    if not name:
        return Problem("name", "Name: is too short (minimum is 1 characters)", "ValueTooShort")
    if len(name) > NAME_CHARACTERS:
        return Problem("name", "Name: is too long (maximum is 255 characters)", "ValueTooLong")
    return None


def text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def refuse(problems: list[Problem]) -> None:
    """Raises Refusal if there is any problem."""
    if problems:
        raise Refusal(problems)


def _problems(state: State, given: Values, person: sqlite3.Row | None) -> list[Problem]:
    found = [name_problem(text(given.get("name")))] if person is None or "name" in given else []
    if given.get("role") is not None and given["role"] not in ROLES:
        found.append(Problem("role", f"Role: {given['role']} is invalid"))
    email = text(given.get("email"))
    if email and not EMAIL.fullmatch(email):
        found.append(Problem("email", f"Email: {email} is not properly formatted", "InvalidFormat"))
    for column in ("email", "external_id"):
        value = text(given.get(column))
        owner = one(state, column, value) if value else None
        if owner and (person is None or owner["id"] != person["id"]):
            found.append(_taken(column, value))
    if not isinstance(given.get("identities") or [], list):
        found.append(Problem("identities", "Identities: must be a list"))
    return [problem for problem in found if problem]


def _identity_problems(state: State, given: Any) -> list[Problem]:
    if not isinstance(given, dict) or given.get("type") not in IDENTITY_TYPES:
        kind = given.get("type") if isinstance(given, dict) else given
        return [Problem("type", f"Type: {kind} is invalid")]
    kind, value = given["type"], text(given.get("value"))
    if not value:
        return [Problem("value", "Value: cannot be blank", "BlankValue")]
    if kind == "email" and not EMAIL.fullmatch(value):
        return [Problem("value", f"Value: {value} is not properly formatted", "InvalidFormat")]
    if kind == "facebook" and not re.fullmatch("[0-9]+", value, re.ASCII):
        return [Problem("value", f"Value: {value} is not a number", "InvalidFormat")]
    is_known = state.row("SELECT 1 FROM identities WHERE type = ? AND value = ?", kind, value) is not None
    if is_known or (kind == "email" and one(state, "email", value)):
        return [_taken("value", value)]
    return []


def _taken(field: str, value: str) -> Problem:
    words = f"{field.replace('_', ' ').capitalize()}: {value} is already being used by another user"
    return Problem(field, words, "DuplicateValue")
