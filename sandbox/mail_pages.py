"""The page about mail, and what tests ask of it."""

from sandbox import mailbox
from sandbox.controls import Controls
from sandbox.exchange import Answer, Request, json_answer
from sandbox.rendering import page

SHOWN_MAILS = 50
TROUBLE = {
    "unknown@": "no such mailbox",
    "greylisted@": "put off twice, then taken",
    "full@": "mailbox full",
    "relay@": "not passed on",
    "hangup@": "taken, and the line breaks before the answer, the first time",
}


class MailPages:
    def __init__(self, controls: Controls) -> None:
        self._state = controls.state
        self.routes = (("GET", "/mailbox", self._mailbox),)

    def _mailbox(self, request: Request) -> Answer:
        shown = mailbox.mails(self._state, SHOWN_MAILS)
        return page("mailbox.html", "Mailbox", refresh=5, mails=shown, trouble=TROUBLE.items())


class MailControl:
    """What tests read."""

    def __init__(self, controls: Controls) -> None:
        self._state = controls.state
        self.routes = (("GET", "/control/mails", self._mails),)

    def _mails(self, request: Request) -> Answer:
        """The oldest first, as they came."""
        return json_answer(200, {"mails": mailbox.mails(self._state)[::-1]})
