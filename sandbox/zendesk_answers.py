"""Answers and small readings that several of Zendesk's calls share."""

from sandbox.exchange import Answer, json_answer
from sandbox.ticket_rules import whole_id

SUFFIX = r"(?:\.json)?"

NOT_FOUND = {"error": "RecordNotFound", "description": "Not found"}
NO_SUCH_ENDPOINT = {"error": "InvalidEndpoint", "description": "Not found"}
NOT_JSON = {"error": "BadRequest", "description": "Server could not parse JSON"}


def invalid_attribute(name: str, kind: str = "an object") -> Answer:
    message = f"You passed an invalid value for the {name} attribute. Invalid parameter: {name} must be {kind}"
    return json_answer(400, {"error": {"title": "Invalid attribute", "message": message}})


def numbers_in(written: str) -> list[int]:
    """The ids of a list with commas; what is no id is left out."""
    found = (whole_id(each.strip()) for each in written.split(","))
    return [number for number in found if number is not None]
