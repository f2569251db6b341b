"""What every webhook has to pass, whoever calls it and however the call is proved.

A test module inherits the cases and says in its `hook` fixture what a call to its webhook is:

    class TestKhorosWebhook(WebhookCases):
        @pytest.fixture
        def hook(self, client: Client, subscription: Subscription) -> Hook: ...
"""

import io
import uuid
from abc import ABC, abstractmethod
from typing import Any

import pytest
from django.db import connection as database
from django.db.models import Model
from django.test import Client

SECRET = "the-secret-of-the-cases"
OTHER_SECRET = "the-secret-of-somebody-else"
UNKNOWN = ("00000000-0000-4000-8000-000000000000", "not-a-uuid", "1", "%00", "x" * 300)
OTHER_METHODS = ("GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


class Hook(ABC):
    """One address of a webhook, with what is known of the secret behind it."""

    path: str
    # The row that an accepted call is stored as, and the one that the address is looked up in.
    stored: type[Model]
    # Where that has the body.
    column = "body"
    owner: type[Model]
    signs_the_body: bool
    accepts_the_previous_secret: bool

    def __init__(self, client: Client, owner: Any) -> None:
        self.client, self.row = client, owner

    @abstractmethod
    def content(self) -> bytes:
        """An event that was not sent before."""

    @abstractmethod
    def proof(self, body: bytes, secret: str) -> dict[str, str]:
        """The headers that prove a call."""

    @abstractmethod
    def empty_proof(self) -> dict[str, str]:
        """The same headers with nothing in them."""

    @abstractmethod
    def replace_secret(self, secret: str) -> None:
        """As staff do; "" for an address without one."""

    @abstractmethod
    def end_overlap(self) -> None:
        """The time is over for which a replaced secret is still accepted, where it is at all."""

    @abstractmethod
    def another(self) -> "Hook":
        """Another address of the same kind, with the secret OTHER_SECRET."""

    def call(
        self, body: bytes | None = None, *, secret: str = SECRET, address: str = "", method: str = "POST", **more: Any
    ) -> Any:
        body = self.content() if body is None else body
        headers = more.pop("headers", None)
        return self.client.generic(
            method,
            f"{self.path}{address or self.row.uuid}",
            data=more.pop("sent", body),
            content_type="application/json",
            headers=self.proof(body, secret) if headers is None else headers,
            **more,
        )

    def accepts(self, **more: Any) -> bool:
        return bool(self.call(**more).status_code == 200)

    def bodies(self) -> list[bytes]:
        return [bytes(body) for body in self.stored._default_manager.order_by("pk").values_list(self.column, flat=True)]


def in_chunks(body: bytes) -> dict[str, Any]:
    """As the server hands it on: no length, and what comes out of the chunks."""
    return {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "", "wsgi.input": io.BytesIO(body)}


class WebhookCases:
    """The cases. Of a refused call nothing is stored, and nothing in the answer tells which part of it was wrong."""

    def refused(self, hook: Hook, **call: Any) -> tuple[int, bytes, str | None]:
        answer = hook.call(**call)
        assert answer.status_code == 401
        assert hook.bodies() == []
        return answer.status_code, answer.content, answer.get("WWW-Authenticate")

    def test_a_proved_call_is_stored_as_it_came(self, hook: Hook) -> None:
        body = hook.content()
        answer = hook.call(body)
        stored = hook.stored._default_manager.get()
        assert (answer.status_code, answer.json()) == (200, {"id": stored.pk, "repeat": False})
        assert hook.bodies() == [body]

    def test_a_repeat_is_answered_well_and_stored_once(self, hook: Hook) -> None:
        body = hook.content()
        first, second = hook.call(body).json(), hook.call(body).json()
        assert (second["id"], second["repeat"]) == (first["id"], True)
        assert hook.bodies() == [body]

    # --- Who is let in ---

    def test_without_a_proof_it_is_refused(self, hook: Hook) -> None:
        self.refused(hook, headers={})

    def test_an_empty_proof_is_refused(self, hook: Hook) -> None:
        self.refused(hook, headers=hook.empty_proof())

    @pytest.mark.parametrize("secret", ["wrong", SECRET + "x", SECRET[:-1], SECRET.upper(), f" {SECRET[1:]}"])
    def test_a_wrong_proof_is_refused(self, hook: Hook, secret: str) -> None:
        self.refused(hook, secret=secret)

    @pytest.mark.parametrize("odd", ["ÿ", "\x00", "=" * 5000, "Bearer", "{}"])
    def test_a_proof_of_odd_characters_is_refused(self, hook: Hook, odd: str) -> None:
        self.refused(hook, headers=dict.fromkeys(hook.empty_proof(), odd))

    def test_the_proof_of_another_address_is_refused(self, hook: Hook) -> None:
        other = hook.another()
        self.refused(hook, secret=OTHER_SECRET)
        self.refused(other, secret=SECRET)
        assert other.accepts(secret=OTHER_SECRET)

    def test_without_a_stored_secret_nothing_is_accepted(self, hook: Hook) -> None:
        hook.replace_secret("")
        hook.end_overlap()
        for headers in ({}, hook.empty_proof(), hook.proof(b"{}", ""), hook.proof(b"{}", SECRET)):
            self.refused(hook, body=b"{}", headers=headers)

    def test_a_replaced_secret_is_accepted_no_longer_than_is_promised(self, hook: Hook) -> None:
        hook.replace_secret("the-new-secret")
        assert hook.accepts(secret="the-new-secret")
        assert hook.accepts(secret=SECRET) is hook.accepts_the_previous_secret
        hook.end_overlap()
        assert not hook.accepts(secret=SECRET)
        assert hook.accepts(secret="the-new-secret")

    def test_a_body_that_was_changed_on_its_way_is_refused_where_it_is_signed(self, hook: Hook) -> None:
        answer = hook.call(hook.content(), sent=hook.content())
        assert answer.status_code == (401 if hook.signs_the_body else 200)
        assert (hook.bodies() == []) is hook.signs_the_body

    @pytest.mark.parametrize("address", UNKNOWN)
    def test_an_unknown_or_malformed_address_is_refused(self, hook: Hook, address: str) -> None:
        self.refused(hook, address=address)

    def test_which_part_was_wrong_is_not_told(self, hook: Hook) -> None:
        answers = {self.refused(hook, address=address) for address in UNKNOWN}
        answers |= {self.refused(hook, address=str(uuid.uuid4()), headers={})}
        answers |= {self.refused(hook, secret="wrong"), self.refused(hook, headers={})}
        answers |= {self.refused(hook, headers=hook.empty_proof())}
        assert len(answers) == 1

    # --- How it may be sent ---

    @pytest.mark.parametrize("method", OTHER_METHODS)
    def test_other_methods_are_told_to_post(self, hook: Hook, method: str) -> None:
        answer = hook.call(method=method)
        assert (answer.status_code, answer["Allow"]) == (405, "POST")
        assert hook.bodies() == []

    def test_with_a_closing_slash_and_in_capitals_it_is_the_same_address(self, hook: Hook) -> None:
        assert hook.accepts(address=f"{hook.row.uuid}/")
        assert hook.accepts(address=str(hook.row.uuid).upper())

    def test_it_is_heard_by_any_host_name_and_without_https(self, hook: Hook, settings: Any) -> None:
        settings.SECURE_SSL_REDIRECT = True
        settings.ALLOWED_HOSTS = ["portal.example.com"]
        assert hook.accepts(HTTP_HOST="old.example.com")

    def test_a_body_over_the_limit_is_refused_and_one_at_the_limit_is_not(self, hook: Hook, settings: Any) -> None:
        body = hook.content()
        settings.INTAKE_MAX_BYTES = len(body) + 10
        assert hook.call(body + b" " * 11).status_code == 413
        assert hook.bodies() == []
        assert hook.call(body + b" " * 10).status_code == 200

    def test_a_body_that_ends_too_early_is_refused(self, hook: Hook) -> None:
        body = hook.content()
        cut: dict[str, Any] = {"wsgi.input": io.BytesIO(body[:-5]), "CONTENT_LENGTH": str(len(body))}
        assert hook.call(body, **cut).status_code == 400
        assert hook.bodies() == []

    def test_a_body_in_chunks_is_read_within_the_same_limit(self, hook: Hook, settings: Any) -> None:
        body = hook.content()
        assert hook.call(body, **in_chunks(body)).status_code == 200
        assert hook.bodies() == [body]
        settings.INTAKE_MAX_BYTES = len(body) - 1
        assert hook.call(body, **in_chunks(body)).status_code == 413

    # --- When we cannot ---

    @pytest.mark.parametrize("role", ["owner", "stored"])
    def test_a_database_that_is_away_is_told_as_503(self, hook: Hook, role: str) -> None:
        table = getattr(hook, role)._meta.db_table
        with database.cursor() as cursor:
            cursor.execute(f'ALTER TABLE "{table}" RENAME TO away')
        try:
            answer = hook.call()
        finally:
            with database.cursor() as cursor:
                cursor.execute(f'ALTER TABLE away RENAME TO "{table}"')
        assert (answer.status_code, answer["Retry-After"]) == (503, "10")

    def test_a_secret_that_the_present_key_does_not_open_is_told_as_503(self, hook: Hook, settings: Any) -> None:
        settings.ENCRYPTION_KEYS = ["another key of at least thirty-two characters"]
        assert hook.call().status_code == 503
        assert hook.bodies() == []
