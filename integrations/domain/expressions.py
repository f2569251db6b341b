"""Regular expressions typed by staff: RE2's, whose running time is linear in the text.

https://github.com/google/re2/wiki/Syntax
"""

import re
from typing import Any

import re2

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
# Searching takes linear time, compiling does not: it unfolds each repetition with two bounds.
REPEATED = re.compile(r"\{[0-9]+,([0-9]{1,4})\}")
MOST_REPEATED = 10_000


class BadExpression(ValueError):
    """An expression that RE2 does not take; the text says what is wrong, for the field it was typed in."""


def compile_expression(expression: str) -> Any:
    """A compiled expression with `.search(text)`. Raises BadExpression."""
    if sum(map(int, REPEATED.findall(expression))) > MOST_REPEATED:
        raise BadExpression("The regular expression cannot be used: its counts in braces are too large together.")
    try:
        return re2.compile(expression, options=_OPTIONS)
    except UnicodeEncodeError:
        raise BadExpression("The regular expression cannot be used: it holds half a character.") from None
    except re2.error as error:
        reason = error.args[0] if error.args else error
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise BadExpression(f"The regular expression cannot be used: {text}.") from None
