"""Regular expressions typed by staff: RE2's, whose running time is linear in the text.

https://github.com/google/re2/wiki/Syntax
"""

import re
from typing import Any

import re2

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
# Both compiling and, where RE2's cache of states overflows, each character of a search cost as much as the program is
# long, and repetitions are unfolded into it. A count that is too long for a number RE2 silently reads as text.
REPEATED = re.compile(r"\{(?:[0-9]*,)?([0-9]+),?\}")
MOST_REPEATED, LONGEST_COUNT = 500, 9
MOST_PROGRAM = 1_500


class BadExpression(ValueError):
    """An expression that RE2 does not take; the text says what is wrong, for the field it was typed in."""


def compile_expression(expression: str) -> Any:
    """A compiled expression with `.search(text)`. Raises BadExpression."""
    if sum(int(count[:LONGEST_COUNT]) for count in REPEATED.findall(expression)) > MOST_REPEATED:
        raise BadExpression("The regular expression cannot be used: its counts in braces are over 500 together.")
    try:
        compiled = re2.compile(expression, options=_OPTIONS)
        if compiled.programsize > MOST_PROGRAM:
            raise BadExpression("The regular expression cannot be used: it is too large. Make it shorter.")
        return compiled
    except UnicodeEncodeError:
        raise BadExpression("The regular expression cannot be used: it holds half a character.") from None
    except re2.error as error:
        reason = error.args[0] if error.args else error
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise BadExpression(f"The regular expression cannot be used: {text}.") from None
