"""The sandbox as tests use it: over HTTP, through its control API."""

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import urllib3

http = urllib3.PoolManager()


@dataclass(frozen=True)
class StandIn:
    url: str
    mail_port: int = 0

    def control(self, method: str, path: str, content: Any = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        answer = http.request(
            method, f"{self.url}/control/{path}", body=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status < 300, answer.data
        return json.loads(answer.data)

    def reset(self) -> None:
        self.control("POST", "reset", {})
        self.control("DELETE", "faults")
        self.control("DELETE", "requests")

    def change_settings(self, **values: Any) -> None:
        self.control("POST", "settings", values)

    def add_fault(self, kind: str, **fault: Any) -> None:
        self.control("POST", "faults", {"api": "zendesk", "kind": kind, **fault})

    def clear_faults(self) -> None:
        self.control("DELETE", "faults")

    def tickets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.control("GET", "tickets")["tickets"]
        return found

    def change_ticket(self, ticket_id: int, **values: Any) -> dict[str, Any]:
        """As an agent would, in Zendesk: status=, assignee_id=, comment={"body": , "public": }, ..."""
        changed: dict[str, Any] = self.control("POST", f"tickets/{ticket_id}", values)
        return changed

    def delete_ticket(self, ticket_id: int) -> None:
        self.control("DELETE", f"tickets/{ticket_id}")

    def schema(self) -> dict[str, Any]:
        """The lists an administrator of Zendesk keeps: fields, groups, brands, forms, statuses."""
        found: dict[str, Any] = self.control("GET", "schema")
        return found

    def change_schema(self, name: str, item_id: int, **values: Any) -> None:
        self.control("POST", f"schema/{name}/{item_id}", values)

    def users(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.control("GET", "users")["users"]
        return found

    def make_user(self, **user: Any) -> dict[str, Any]:
        made: dict[str, Any] = self.control("POST", "users", user)
        return made

    def change_user(self, user_id: int, **values: Any) -> None:
        """suspended=, role=, name=, email=, external_id="""
        self.control("POST", f"users/{user_id}", values)

    def change_oauth(self, **values: Any) -> None:
        """allowed_scopes=, client_secret=, api_tokens="""
        self.control("POST", "oauth", values)

    def expire_tokens(self, *kinds: str) -> None:
        """Ends access tokens, or those of the kinds given: "access", "refresh", "code"."""
        self.control("POST", "tokens/expire", {"kinds": kinds or ["access"]})

    def webhooks(self) -> list[dict[str, Any]]:
        """With their signing_secret."""
        found: list[dict[str, Any]] = self.control("GET", "webhooks")["webhooks"]
        return found

    def webhook_calls(self) -> list[dict[str, Any]]:
        """Every call of Zendesk's webhooks: id, body, headers, attempt, status, error, finished_at."""
        found: list[dict[str, Any]] = self.control("GET", "webhook-calls")["calls"]
        return found

    def repeat_webhook_call(self, call_id: int) -> None:
        """Sends the same bytes again, signature and all."""
        self.control("POST", f"webhook-calls/{call_id}/repeat")

    def jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.control("GET", "jobs")["jobs"]
        return found

    def calls(self, api: str = "zendesk") -> list[Any]:
        """What was received, oldest first: .method .path .headers (by any case) .body .status"""
        received = self.control("GET", "requests")["requests"]
        return [
            SimpleNamespace(**call | {"headers": urllib3.HTTPHeaderDict(call["headers"])})
            for call in received
            if call["api"] == api
        ]

    def messages(self) -> list[dict[str, Any]]:
        """What stands in Slack, oldest first: channel, ts and the message's arguments."""
        found: list[dict[str, Any]] = self.control("GET", "slack/messages")["messages"]
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """What stands in PagerDuty, oldest first: dedup_key, status and its events."""
        found: list[dict[str, Any]] = self.control("GET", "alerts")["alerts"]
        return found

    def cards(self) -> list[dict[str, Any]]:
        """What stands in Teams, oldest first: lines and links."""
        found: list[dict[str, Any]] = self.control("GET", "cards")["cards"]
        return found

    def mails(self) -> list[dict[str, Any]]:
        """What stands in the mailbox, oldest first: sender, recipients, subject, text, html, source."""
        found: list[dict[str, Any]] = self.control("GET", "mails")["mails"]
        return found

    def change_place(self, place_id: str, **values: bool) -> None:
        """Of a channel or a person in Slack: is_member=, is_archived=, is_gone=, is_disabled="""
        self.control("POST", f"slack/places/{place_id}", values)

    def subscriptions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.control("GET", "subscriptions")["subscriptions"]
        return found

    def subscriptions_to(self, label: str) -> list[dict[str, Any]]:
        return [found for found in self.subscriptions() if found["query"] == label]

    def pushes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.control("GET", "pushes")["pushes"]
        return found

    def age_keys(self, seconds: float) -> None:
        self.control("POST", "age-keys", {"seconds": seconds})

    def revoke_tokens(self) -> None:
        self.control("DELETE", "tokens")

    def add_post(self, **post: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.control("POST", "posts", post)
        return found

    def apply_label(self, label: str, *posts: int) -> list[str]:
        found: list[str] = self.control("POST", "labels", {"label": label, "post_ids": posts})["eventUuids"]
        return found

    def khoros(self, method: str, path: str, content: Any = None) -> Any:
        """Khoros' own API, as somebody else who holds the token would use it."""
        headers = {"Authorization": "Bearer sandbox-khoros-token", "Content-Type": "application/json"}
        body = None if content is None else json.dumps(content).encode()
        answer = http.request(method, f"{self.url}/v2/{path}", body=body, headers=headers)
        return json.loads(answer.data) if answer.data else None
