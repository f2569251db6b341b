"""Answers and parsing shared by several Zendesk calls."""

from typing import Any

from sandbox.exchange import Answer, Request, json_answer
from sandbox.problems import Problem, record_invalid
from sandbox.ticket_rules import whole_id

SUFFIX = r"(?:\.json)?"

NOT_FOUND = {"error": "RecordNotFound", "description": "Not found"}
NO_SUCH_ENDPOINT = {"error": "InvalidEndpoint", "description": "Not found"}
NOT_JSON = {"error": "BadRequest", "description": "Server could not parse JSON"}
NOT_SIGNED_IN = {"error": "Couldn't authenticate you"}
INVALID_TOKEN = {
    "error": "invalid_token",
    "error_description": "The access token provided is expired, revoked, malformed or invalid for other reasons.",
}
NOT_ALLOWED = {
    "error": {
        "title": "Forbidden",
        "message": "You do not have access to this page. Please contact the account owner of this help desk for help.",
    }
}
TOO_MANY_REQUESTS = "Number of allowed API requests per minute exceeded"


def missing_scope(scope: str) -> dict[str, str]:
    return {"error": "Forbidden", "description": f"You are missing the following required scopes: {scope}"}


def invalid_attribute(name: str, kind: str = "an object") -> Answer:
    message = f"You passed an invalid value for the {name} attribute. Invalid parameter: {name} must be {kind}"
    return json_answer(400, {"error": {"title": "Invalid attribute", "message": message}})


def object_in(request: Request, name: str) -> dict[str, Any] | Answer:
    """The named object in a request's body, or the answer to a body without it."""
    try:
        body = request.json()
    except ValueError:
        return json_answer(400, NOT_JSON)
    found = body.get(name) if isinstance(body, dict) else None
    return found if isinstance(found, dict) else invalid_attribute(name)


def invalid(problems: list[Problem]) -> Answer:
    return json_answer(422, record_invalid(problems))


def unpaged(name: str, items: list[dict[str, Any]]) -> Answer:
    """A list that is always one page."""
    return json_answer(200, {name: items, "next_page": None, "previous_page": None, "count": len(items)})


def numbers_in(written: str) -> list[int]:
    """The ids in a comma-separated list; anything else is left out."""
    found = (whole_id(each.strip()) for each in written.split(","))
    return [number for number in found if number is not None]
