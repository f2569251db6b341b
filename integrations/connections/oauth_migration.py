"""From an API token to an OAuth client: tested first, then switched in one statement, or not at all."""

import json
from collections.abc import Mapping
from typing import Any

from integrations.connections.check import SignInCheck, check_sign_in, keep_checks, resume_if_an_answer_paused
from integrations.connections.consent import CHANGED_MEANWHILE
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Check
from integrations.destinations.capabilities import EndsSignIn, Token
from integrations.infra.encryption import Secret
from integrations.models import Connection
from integrations.sign_in import token_columns


def move_to_oauth(
    connection: Connection, *, client_id: str, client_secret: str, scopes: str
) -> tuple[SignInCheck, bool]:
    """Tests the OAuth client and switches to it only if all is well; returns the test and whether it switched."""
    destination = DESTINATIONS[connection.kind]
    if not isinstance(destination, EndsSignIn):
        raise TypeError(f"no sign-in of {destination.title} ends")
    settings = destination.moved_settings(connection.settings, client_id, scopes)
    trial = check_sign_in(destination, settings, {"client_secret": client_secret})
    if not trial.is_good or trial.token is None:
        return trial, False
    if not _switch(connection, settings, client_secret, trial.token):
        changed = Check(False, CHANGED_MEANWHILE)
        return SignInCheck([*trial.checks, changed]), False
    keep_checks(connection, trial.checks)
    resume_if_an_answer_paused(connection)
    return trial, True


def _switch(connection: Connection, settings: Mapping[str, Any], client_secret: str, token: Token) -> bool:
    """One statement, and only over the sign-in that the person saw: the API token goes, all else stays."""
    unchanged = Connection.objects.filter(pk=connection.pk, settings=connection.settings, secrets=connection.secrets)
    stored = Secret.of(json.dumps({"client_secret": client_secret}))
    return unchanged.update(settings=dict(settings), secrets=stored, **token_columns(token)) == 1
