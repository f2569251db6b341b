"""A person's consent at another system, while it is under way: kept in that person's session, and used once."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from integrations.infra import database_clock

CONSENT_WITHIN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class PendingConsent:
    """For one row (a connection, a company), one person, ten minutes, one answer.

    `origin` is where the person was sent: no other address may see the code that comes back.
    """

    state: str
    row_id: int
    user_id: int
    began: str
    origin: str

    @classmethod
    def begin(cls, row_id: int, user_id: int, origin: str) -> Self:
        return cls(secrets.token_urlsafe(32), row_id, user_id, database_clock.now().isoformat(), origin)

    def fits(self, state: str, user_id: int | None) -> bool:
        is_same = secrets.compare_digest(self.state.encode(), state.encode()) and self.user_id == user_id
        return is_same and database_clock.now() - datetime.fromisoformat(self.began) < CONSENT_WITHIN
