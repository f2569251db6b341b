"""What the calls of one try share, however they are made: a deadline, permits, and a record without secrets."""

import html
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from integrations.infra.http.reply import Reply
from integrations.infra.text import storable

MASK = "[removed]"
# Shorter ones would be found in what is none.
SHORTEST_SECRET = 4
NOTHING = r"(?!)"


@dataclass
class Client:
    """Whatever a destination is reached by, for one try: its calls share a deadline and are recorded for the log.

    `kept_headers` of replies are recorded besides the usual ones. `before_call` is asked for a permit before each call,
    with the name of the budget that the call draws on; it may wait or raise NoPermit. `on_reply` gets each reply.
    `secrets` must not appear in what is recorded.
    """

    origin: str
    seconds: float
    name: str = "the other side"
    secrets: tuple[str, ...] = ()
    kept_headers: frozenset[str] = frozenset()
    before_call: Callable[[str], None] = lambda _budget: None
    on_reply: Callable[[str, Reply], None] = lambda _budget, _reply: None
    exchanges: list[dict[str, Any]] = field(default_factory=list)
    _until: float = field(default=0.0)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + self.seconds

    @property
    def seconds_left(self) -> float:
        """Until the deadline that the calls of this client share; negative when it is over."""
        return self._until - time.monotonic()

    def without_secrets(self, text: str) -> str:
        """The text without the client's secrets, and without what a database cannot hold."""
        return storable(self.echoes.sub(MASK, text))

    @cached_property
    def echoes(self) -> re.Pattern[str]:
        """Finds each secret as it is, and as JSON, an address or HTML may spell it; longer ones first."""
        secrets = sorted((one for one in self.secrets if len(one) >= SHORTEST_SECRET), key=len, reverse=True)
        return re.compile("|".join("".join(map(_any_spelling, secret)) for secret in secrets) or NOTHING)


def _any_spelling(sign: str) -> str:
    if sign.isascii() and sign.isalnum():
        return sign
    units = sign.encode("utf-16-be", "surrogatepass")
    in_json = "".join(rf"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True))
    in_address = "".join(f"%{byte:02x}" for byte in sign.encode("utf-8", "surrogatepass"))
    in_html = [re.escape(html.escape(sign)), f"&\\#x{ord(sign):x};", f"&\\#{ord(sign)};"]
    others = "|".join([in_json, in_address, *in_html])
    return rf"(?:\\?{re.escape(sign)}|(?i:{others}))"
