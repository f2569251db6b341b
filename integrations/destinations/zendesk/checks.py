"""The test of a Zendesk connection: who is signed in, a real call, what the scopes allow, the account's limit.

`users/me` is open to anybody: with a wrong sign-in it may return 200 for an "Anonymous user" without an id, so it alone
proves nothing (developer.zendesk.com, API reference, Ticketing, Users, "Show Self"). Its reply holds an
authenticity_token and is never recorded, stored or quoted.
"""

from collections.abc import Iterator
from typing import Any

from integrations.destinations.base import Check, Credentials
from integrations.destinations.zendesk import answers, limits
from integrations.destinations.zendesk.tickets import auth_header
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply
from integrations.infra.text import storable

ME_PATH = "/api/v2/users/me.json"
GROUPS_PATH = "/api/v2/groups/assignable.json"
LONGEST_NAME = 120
NOT_ACCEPTED = (
    "The sign-in was rejected: Zendesk treats Casebridge as an anonymous user. Check the email address and token, "
    "or the OAuth client."
)

# (any of these scopes, what Casebridge needs it for, whether it cannot do without).
# User identities take the broad scopes only (developer.zendesk.com, API reference, Ticketing, User Identities).
SCOPES_FOR = (
    (("write", "tickets:write"), "creating tickets", True),
    (("read", "tickets:read"), "looking up tickets", True),
    (("read",), "reading groups, brands, forms and fields", True),
    (("write",), "creating users so that authors can be requesters", False),
    (("write", "webhooks:write"), "setting up the ticket status webhook", False),
)


def check(client: HttpClient, credentials: Credentials) -> list[Check]:
    """Two calls that change nothing. Raises Failure (`renew_token`) when an access token was refused."""
    scopes = scope_checks(credentials.scope) if credentials.access_token else []
    try:
        who = _who(client, credentials)
    except Failure as refused:
        # A token without the scopes is refused like an invalid one: another one of the same kind does not help.
        if all(each.ok is not False for each in scopes):
            raise
        who = Check(False, refused.message)
    calls = [] if who.ok is False else list(_groups(client, credentials))
    return [who, *calls, *scopes]


# --- Who is signed in ------------------------------------------------------------------------------------------------


def _who(client: HttpClient, credentials: Credentials) -> Check:
    reply, problem = _get(client, ME_PATH, credentials)
    if problem is not None:
        return Check(False, f"Could not check who is signed in: {problem}")
    user = reply.json_object().get("user") if reply else None
    if not isinstance(user, dict):
        return Check(False, "Zendesk's response about the signed-in user could not be read. Check the address.")
    if answers.ticket_number(user) is None:
        if credentials.access_token:
            raise Failure(NOT_ACCEPTED, permanent=True, renew_token=True, status=401)
        return Check(False, NOT_ACCEPTED)
    return _may_work(user)


def _may_work(user: dict[str, Any]) -> Check:
    name, role = storable(str(user.get("name") or "a user without a name"))[:LONGEST_NAME], user.get("role")
    if user.get("suspended") is True:
        return Check(False, f"“{name}” is suspended in Zendesk. Unsuspend this user there, or sign in as another user.")
    if role not in ("agent", "admin"):
        return Check(
            False,
            f"“{name}” is not an agent in Zendesk (role: {storable(str(role or 'unknown'))[:40]}). Only agents and "
            "administrators can create tickets. Sign in as one of them.",
        )
    return Check(True, f"Signed in as “{name}” ({'administrator' if role == 'admin' else 'agent'}).")


# --- A real call -----------------------------------------------------------------------------------------------------


def _groups(client: HttpClient, credentials: Credentials) -> Iterator[Check]:
    reply, problem = _get(client, GROUPS_PATH, credentials)
    if reply is None or problem is not None:
        yield Check(False, f"Could not read the assignable groups: {problem}")
        return
    groups = reply.json_object().get("groups")
    if not isinstance(groups, list):
        yield Check(False, "Zendesk's list of groups could not be read. Check the address.")
        return
    yield Check(True, f"API calls work: {len(groups)} assignable group{'' if len(groups) == 1 else 's'} found.")
    yield from _limit(reply)


def _limit(reply: Reply) -> Iterator[Check]:
    budgets = [budget for budget in limits.read_budgets("account", reply) if budget.per_minute]
    if not budgets:
        yield Check(None, "Zendesk did not report the account's rate limit.")
        return
    left = f", {budgets[0].remaining:,} left in this minute" if budgets[0].remaining is not None else ""
    message = f"Rate limit: {budgets[0].per_minute:,} requests a minute for all integrations of the account{left}."
    yield Check(True, message)


def _get(client: HttpClient, path: str, credentials: Credentials) -> tuple[Reply | None, str | None]:
    """The reply, or what is wrong. Raises Failure for a refused access token."""
    try:
        reply = client.call("GET", path, headers=auth_header(credentials), keep_reply=False)
        if not 200 <= reply.status < 300:
            raise answers.failure(reply)
    except Failure as failure:
        if failure.renew_token and credentials.access_token:
            raise
        return None, client.without_secrets(failure.text(" ", with_remedy=False))
    return reply, None


# --- Scopes ----------------------------------------------------------------------------------------------------------


def scope_checks(scope: str) -> list[Check]:
    """What the granted scopes allow. A misspelt scope still yields a token, with which every call is refused."""
    granted = set(scope.replace(",", " ").split())
    if not granted:
        return [Check(None, "Zendesk did not report the token's scopes.")]
    lacking = [(scopes, what, needed) for scopes, what, needed in SCOPES_FOR if not granted & set(scopes)]
    if not lacking:
        return [Check(True, f"The token has all required scopes: {scope}.")]
    return [_lacking(scopes, what, needed, scope) for scopes, what, needed in lacking]


def _lacking(scopes: tuple[str, ...], what: str, needed: bool, granted: str) -> Check:
    missing = " or ".join(scopes)
    message = f"The token is missing the scope {missing}, required for {what}. It has: {granted}."
    return Check(False if needed else None, message if needed else f"{message} Everything else works without it.")
