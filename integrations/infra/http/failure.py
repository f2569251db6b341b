"""A call that failed, explained to the person who fixes it; and a call that the rate limit holds back."""

from dataclasses import dataclass


@dataclass(eq=False)
class Failure(Exception):
    """A call that failed: what happened, for the person who fixes it, and whether waiting can help.

    `detail` holds the other side's own words. `permanent`: waiting does not help. `retry_after`: seconds to wait at
    least. `is_uncertain`: it may have taken effect all the same. `pauses`: it concerns the whole connection, for
    `pause_seconds`, or until a person acts when that is None. `limited`: a request limit was hit. `look_up_next`: the
    next try has to look up first. `renew_token`: the access token was refused and a new one may help. `is_transport`:
    the other side was not reached, or only a gateway in front of it. `is_queue_full`: the job queue is full.
    `is_about_requester`: another requester may help. `is_closed`: the ticket can no longer be changed. `was_done`: the
    call may have succeeded but could not be recorded. `is_not_there`: a look-up after the last try showed that nothing
    was created.

    `message` says what happened and what it means, `remedy` what to do, `remedy_at` where that is done ("mapping",
    "connection", or a path at the other side that begins with "/"). Failures with the same `cause` are fixed together.
    """

    message: str
    detail: str = ""
    permanent: bool = False
    retry_after: float | None = None
    is_uncertain: bool = False
    pauses: bool = False
    pause_seconds: float | None = None
    limited: bool = False
    look_up_next: bool = False
    renew_token: bool = False
    is_transport: bool = False
    is_queue_full: bool = False
    is_about_requester: bool = False
    is_closed: bool = False
    was_done: bool = False
    is_not_there: bool = False
    status: int | None = None
    remedy: str = ""
    remedy_at: str = ""
    cause: str = ""

    def __str__(self) -> str:
        return self.message

    @property
    def full_message(self) -> str:
        """What happened, what it means, and what to do."""
        return f"{self.message} {self.remedy}".strip()

    def text(self, separator: str = "\n", *, with_remedy: bool = True) -> str:
        """All of it: what happened, what to do, and then the other side's own words."""
        return f"{self.full_message if with_remedy else self.message}{separator}{self.detail}".strip()


class NoPermit(Exception):
    """The rate limit has no permit within the time a worker may wait. `seconds` says when there will be one."""

    def __init__(self, seconds: float, budget: str = "account") -> None:
        super().__init__(f"no permit within {seconds:.1f} s")
        self.seconds = seconds
        self.budget = budget
