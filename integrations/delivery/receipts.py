"""What a destination returned, checked at the boundary: only what the columns can hold is a receipt.

Anything else must not be sent again: something was created, and only a person can find out what.
"""

from integrations.destinations import Destination
from integrations.destinations.base import Receipt
from integrations.infra.http.failure import Failure
from integrations.infra.text import UNSTORABLE, storable
from integrations.models import Delivery, RemoteObject

LONGEST_NUMBER = RemoteObject._meta.get_field("number").max_length or 0
LONGEST_ADDRESS = RemoteObject._meta.get_field("url").max_length or 0
LONGEST_WARNING = 2000
LONGEST_QUOTED = 200


def checked_receipt(returned: object, title: str) -> Receipt:
    """The receipt as it can be stored; `title` names the destination. Raises Failure that needs a person. Pure."""
    if not isinstance(returned, Receipt):
        raise _not_recordable(title, f"it is not a receipt ({type(returned).__name__})")
    problem = (
        _problem("number", returned.number, LONGEST_NUMBER)
        or _problem("address", returned.url, LONGEST_ADDRESS)
        or _problem_of_how(returned.how)
        or ("" if returned.number.strip() else "it has no number")
    )
    if problem:
        raise _not_recordable(title, problem, _quoted(returned))
    return Receipt(returned.number, returned.url, returned.how, _clean(returned.warning), _clean(returned.status)[:20])


def _problem(name: str, value: object, longest: int) -> str:
    if not isinstance(value, str):
        return f"its {name} is not text ({type(value).__name__})"
    if UNSTORABLE.search(value):
        return f"its {name} contains characters that cannot be stored"
    return (
        f"its {name} has {len(value)} characters, but at most {longest} can be stored" if len(value) > longest else ""
    )


def _problem_of_how(how: object) -> str:
    is_known = isinstance(how, str) and how in Delivery.Result.values
    return "" if is_known else "its result is not a known one"


def _clean(warning: object) -> str:
    return storable(warning[:LONGEST_WARNING]) if isinstance(warning, str) else ""


def _quoted(receipt: Receipt) -> str:
    """Whatever there is of number and address, so that a person can look for it."""
    parts = {"Number": receipt.number, "Address": receipt.url}
    lines = [f"{name}: {storable(value[:LONGEST_QUOTED])}" for name, value in parts.items() if isinstance(value, str)]
    return "\n".join(lines)


def _not_recordable(title: str, problem: str, detail: str = "") -> Failure:
    message = f"Something was created in {title}, but the response could not be recorded: {problem}."
    return _for_a_person(title, message, detail, f"The response could not be recorded: {problem}")


def unrecorded_failure(result: object, destination: Destination, error: Exception) -> Failure:
    """Recording itself failed: says so in our own words, with nothing of the result but a checked number."""
    title = destination.title
    why = f"The result of this attempt could not be stored ({type(error).__name__})."
    if isinstance(result, Receipt):
        why = f"{title} reported success ({destination.thing} {result.number}), but the result could not be stored "
        why += f"({type(error).__name__})."
    return _for_a_person(title, why, "", "The result of an attempt could not be stored")


def _for_a_person(title: str, message: str, detail: str, cause: str) -> Failure:
    return Failure(
        message,
        detail,
        permanent=True,
        is_uncertain=True,
        look_up_next=True,
        was_done=True,
        remedy=f"Look for it in {title}, and report this to whoever runs Casebridge.",
        cause=cause,
    )
