"""What a mail server's refusal means, and what to do about it. Codes: RFC 5321, enhanced ones: RFC 3463."""

from collections.abc import Sequence

from integrations.infra.http.failure import Failure
from integrations.infra.smtp import Refused

# Servers that put off strangers (greylisting) take them after some minutes.
PUT_OFF_SECONDS = 300.0
AT_CONNECTION, AT_MAPPING = "connection", "mapping"
CORRECT_ADDRESS = "Correct the address in the mapping, then press “Rebuild”."


def failure(refused: Refused, sender: str) -> Failure:
    """The refusal as a failure: nothing of this mail was taken."""
    made = _MEANINGS[refused.step](refused, sender)
    made.detail, made.status = f"{refused.code} {refused.text}"[:500], refused.code
    made.cause = made.message
    return made


def unwritable(error: Exception) -> Failure:
    """The mail could not be put into the form that mails have."""
    message = f"This mail cannot be written ({type(error).__name__}). Nothing was sent."
    return _of_the_mapping(message, "Change the mapping's subject and text, then press “Rebuild”.")


def warning(unknown: Sequence[Refused]) -> str:
    """Who did not get a mail that others got."""
    if not unknown:
        return ""
    names = ", ".join(f"{refused.recipient} ({refused.code} {refused.text[:100]})" for refused in unknown)
    return f"The server did not take it for: {names}. The others have it. {CORRECT_ADDRESS.partition(',')[0]}."


def _greeting(refused: Refused, sender: str) -> Failure:
    if refused.is_temporary:
        return Failure("The mail server is busy and takes no mail at the moment.")
    return _of_the_connection("The mail server refuses to talk to Casebridge.", "Ask whoever runs it why.")


def _encryption(refused: Refused, sender: str) -> Failure:
    if refused.is_temporary:
        return Failure("The mail server cannot encrypt at the moment.")
    message = "The mail server offers no encryption (STARTTLS) on this port."
    return _of_the_connection(message, "Choose another way to connect, or another port.")


def _sign_in(refused: Refused, sender: str) -> Failure:
    if refused.is_temporary:
        return Failure("The mail server could not check the sign-in.")
    if refused.code == 504:
        return _of_the_connection(
            "The mail server offers no sign-in here.", "Encrypt, or leave user and password empty."
        )
    return _of_the_connection("The mail server refused user or password.", "Correct them on the connection and save.")


def _sender(refused: Refused, sender: str) -> Failure:
    if refused.is_temporary:
        return Failure(f"The mail server does not take mail from {sender} at the moment.")
    if refused.code == 530 or refused.enhanced.startswith("5.7.0"):
        return _of_the_connection("The mail server asks for a sign-in.", "Enter user and password on the connection.")
    message = f"The mail server does not take mail from {sender}."
    return _of_the_connection(message, "Correct the sender's address, or have the server allow it.")


def _recipient(refused: Refused, sender: str) -> Failure:
    name = refused.recipient
    if refused.code == 421:
        return _greeting(refused, sender)
    if "sender address rejected" in refused.text.casefold() and not refused.is_temporary:
        # Some servers check the sender when they hear of the first recipient.
        return _sender(refused, sender)
    if refused.enhanced.startswith("4.5.3"):
        message = "The mail server takes no more recipients for one mail. Nothing was sent to anybody."
        return _of_the_mapping(message, "Enter fewer addresses in the mapping, then press “Rebuild”.")
    if refused.is_temporary and refused.is_full:
        return Failure(f"The mailbox of {name} is full for now. Nothing was sent to anybody; it is tried again.")
    if refused.is_temporary:
        message = (
            f"The mail server puts off mail for {name}, as many do at first (greylisting). Nothing was sent to "
            "anybody; it is tried again."
        )
        return Failure(message, retry_after=PUT_OFF_SECONDS)
    if refused.enhanced.startswith("5.7"):
        message = f"The mail server may not send mail to {name}: it refuses to pass it on."
        remedy = "Have the connection sign in, use a server that may, or correct the address in the mapping."
        return _of_the_mapping(message, remedy)
    if refused.enhanced.startswith("5.2.2"):
        return _of_the_mapping(f"The mailbox of {name} is full.", "Have it emptied, then press “Retry now”.")
    return _of_the_mapping(f"The mail server knows no mailbox {name}.", CORRECT_ADDRESS)


def _content(refused: Refused, sender: str) -> Failure:
    if refused.is_temporary:
        return Failure("The mail server could not take the mail. Nothing was sent; it is tried again.")
    if refused.code == 552 or refused.enhanced.startswith("5.3.4"):
        return _of_the_mapping(
            "The mail is too large for the server.", "Shorten the mapping's text, then press “Rebuild”."
        )
    message = "The mail server refused the mail's content, as it does with what it takes for spam."
    return _of_the_mapping(
        message, "Change the mapping's text and press “Rebuild”, or have the server allow the sender."
    )


def _of_the_connection(message: str, remedy: str) -> Failure:
    return Failure(message, permanent=True, pauses=True, remedy=remedy, remedy_at=AT_CONNECTION)


def _of_the_mapping(message: str, remedy: str) -> Failure:
    return Failure(message, permanent=True, remedy=remedy, remedy_at=AT_MAPPING)


_MEANINGS = {
    "greeting": _greeting,
    "encryption": _encryption,
    "sign-in": _sign_in,
    "sender": _sender,
    "recipient": _recipient,
    "content": _content,
}
