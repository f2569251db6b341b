"""Validation problems, and the 422 that lists them by field."""

from dataclasses import asdict, dataclass
from typing import Any

from sandbox.zendesk_examples import DESCRIPTION_FIELD_ID


@dataclass(frozen=True)
class Problem:
    field: str
    description: str
    error: str | None = "InvalidValue"
    ticket_field_id: int | None = None
    ticket_field_type: str | None = None

    def as_detail(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "field" and value is not None}


class Refusal(ValueError):
    """A request is refused because of these problems."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(problem.description for problem in problems))
        self.problems = problems


def record_invalid(problems: list[Problem]) -> dict[str, Any]:
    """The body of a 422: every problem under its field."""
    details: dict[str, list[dict[str, Any]]] = {}
    for problem in problems:
        details.setdefault(problem.field, []).append(problem.as_detail())
    return {"error": "RecordInvalid", "description": "Record validation errors", "details": details}


SUSPENDED = Problem("requester", "Requester: Example Person is suspended.", "UserSuspended")
BLANK_COMMENT = Problem("base", "Description: cannot be blank", "BlankValue", DESCRIPTION_FIELD_ID, "FieldDescription")
CLOSED = Problem("status", "Status: closed prevents ticket update", None)
