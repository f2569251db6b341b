"""Ready-made examples of every kind of Khoros event, following what is published about each.

Where only a table of fields or a shortened example is published, the rest is made up.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.events import RULE_APPLIED
from sandbox.state import timestamp

POST_LINK = "https://www.facebook.com/123456789/posts/987654321"
DAY = 86_400_000

MESSAGE_EVENTS = {
    "message-published": "A message is published",
    "message-sent-to-network": "A message is handed to the network",
    "message-needs-approval": "A message needs approval",
}
CREDENTIAL_EVENTS = {
    "credential-auth": "An account is connected",
    "credential-reauth": "An account is connected again",
    "credential-deauth": "An account has lost its connection",
    "credential-delete": "An account is removed",
}


@dataclass(frozen=True)
class Example:
    """An event that Khoros could send. `name` identifies it, `title` is for people."""

    name: str
    title: str
    event_name: str
    data: dict[str, Any]

    def shown(self) -> dict[str, Any]:
        return {"name": self.name, "title": self.title, "eventName": self.event_name, "data": self.data}


def examples() -> list[Example]:
    """Every example, with current times."""
    return [
        Example("rule-applied", "A rule is applied to a post", RULE_APPLIED, _rule_applied()),
        *_messages(),
        Example(
            "message-sent-to-network-native",
            "A natively scheduled Facebook post is handed to the network",
            "message-sent-to-network",
            _natively_scheduled(),
        ),
        *(Example(name, title, name, _credential(name)) for name, title in CREDENTIAL_EVENTS.items()),
        Example("bot-default", "A bot takes over", "pass-conversation-control", _bot("default")),
        Example("bot-reset", "A bot waits for the customer", "pass-conversation-control", _bot("reset")),
        Example("error-custom-crm", "The customer's CRM failed", "error-custom-crm", _crm_error()),
        Example(
            "vault-account-update", "An account in the vault is changed", "vault-account-update", _account_change()
        ),
        Example("vault-user-create", "A person is added to the vault", "vault-user-create", _vault()),
        Example("unknown", "Something nobody has heard of", "conversation-summarised", _unheard_of()),
    ]


def _now() -> int:
    """The current time in milliseconds since 1970."""
    return int(time.time() * 1000)


def _rule_applied() -> dict[str, Any]:
    return {
        "companyId": 42,
        # 0 as in the published example: the unit is not known.
        "timeStamp": 0,
        "ruleMatched": {"ruleId": "testRuleId", "ruleName": "Urgent words"},
        "items": [
            {
                "sfEntityType": "StreamItem",
                "entityId": f"twitter:{_now()}",
                "text": "This is urgent: nobody answers your phone ☎️",
                "link": f"https://twitter.com/handle/status/{_now()}",
                "author": "Author Name",
                "authorIcon": "https://images.example.com/avatar.png",
                "authorId": "123456",
                "authorLink": "https://twitter.com/handle",
                "authorScreenName": "handle",
                "initiativeIds": [1],
                "contentType": "post",
                "createdDate": timestamp(),
                "followerCount": "61",
                "labels": [],
                "notes": [],
            }
        ],
    }


def _contents() -> dict[str, tuple[str, dict[str, Any]]]:
    """The kinds of content, each with its title and the content itself."""
    image = {
        "sfEntityType": "ImageShare",
        "caption": "This is the best day to say hello to someone new. Hello, world!",
        # Without a scheme, as they are published.
        "temporaryImageUrl": "s3.amazonaws.com/photos.example.com/app3/389/example.jpeg",
        "temporaryThumbnailUrl": "s3.amazonaws.com/photos.example.com/app3/389/example.thumb.jpeg",
    }
    status = {"sfEntityType": "Status", "text": "Our new opening hours: 8 to 20, also on Saturdays."}
    video = {
        "sfEntityType": "Video",
        "videoTitle": "Cool video!",
        "description": "That one guy doing that thing.",
        "tags": "cool, video",
    }
    images = [image, {**image, "caption": "Image two"}]
    cards = [{"title": "Card one", "link": "https://example.com/1"}, {"title": "Card two"}]
    return {
        "status": ("text", status),
        "image": ("image", image),
        "images": ("several images", {"sfEntityType": "ImageShareList", "caption": "Two images", "images": images}),
        "video": ("video", video),
        "multi-channel": ("text for several channels", status),
        "carousel": ("a kind of content nobody has heard of", {"sfEntityType": "Carousel", "cards": cards}),
    }


def _messages() -> Iterator[Example]:
    for event_name, words in MESSAGE_EVENTS.items():
        for kind, (kind_words, content) in _contents().items():
            service = {"video": "YOUTUBE", "multi-channel": "MULTI_CHANNEL"}.get(kind, "FACEBOOK")
            message = _message(event_name, content, service)
            if kind == "multi-channel":
                message |= {"publicationResults": [_result("PUBLISHED", POST_LINK)]}
            yield Example(f"{event_name}-{kind}", f"{words}: {kind_words}", event_name, message)


def _message(event_name: str, content: dict[str, Any], service: str) -> dict[str, Any]:
    link = "https://www.youtube.com/watch?v=abc123" if service == "YOUTUBE" else POST_LINK
    results = {
        "message-published": [_result("PUBLISHED", link)],
        "message-sent-to-network": [_result("PENDING", None)],
        "message-needs-approval": [],
    }
    note = {"id": "77", "text": "Approved by the legal team.", "createdByDisplayName": "John Doe"}
    return {
        "sfEntityType": "Message",
        "id": str(_now()),
        "title": "This is the best",
        "content": content,
        "labels": [{"title": "General Labels - Inspirations", "priority": False}],
        "service": service,
        "targetAccountIds": ["21365"],
        "organicVisibility": "VISIBLE",
        "delegationStatus": "NOT_DELEGATED",
        "publicationResults": results[event_name],
        "scheduledPublishDate": _now() + (0 if event_name == "message-published" else DAY),
        "notes": [note],
        "links": {},
    }


def _result(status: str, link: str | None) -> dict[str, Any]:
    published = {"datePublished": _now(), "serviceLink": link} if link else {}
    return {
        "sfEntityType": "PublicationResult",
        "accountId": "21365",
        "serviceId": "123456177815577_123456789123456",
        "status": status,
        **published,
    }


def _natively_scheduled() -> dict[str, Any]:
    content = {"sfEntityType": "Status", "text": "Tomorrow at noon: our biggest sale of the year."}
    return {**_message("message-sent-to-network", content, "FACEBOOK"), "nativeScheduling": True}


def _credential(event_name: str) -> dict[str, Any]:
    # "success" means that the event was recorded, even when the connection was lost.
    name = "A shop in Köln" if event_name == "credential-deauth" else "will.i.am"
    return {"service": "instagram", "serviceId": "673abc9794", "name": name, "when": _now(), "message": "success"}


def _bot(kind: str) -> dict[str, Any]:
    return {
        "passConversationControl": {
            "type": kind,
            "service": "twitter",
            "privateMessageConversationId": {"endUserAccountId": "80012345", "ownedAccountId": "90054321"},
            "timestampRequested": timestamp(),
        }
    }


def _crm_error() -> dict[str, Any]:
    return {
        "operation": "searchCustomerById-hydrateCases",
        "trackingId": "crm-gateway-0d8b8f4e-2f3c-4d0f-9a51-6f2f6c1c9b11",
        "description": "The request to the CRM failed.",
        "spredfastErrorMessage": "Unexpected status 503 of the CRM",
        "externalCall": {
            "requestMethod": "GET",
            "requestUri": "https://crm.example.com/customer/1234/cases",
            "requestHeaders": {
                "Authorization": ["Bearer a-secret-of-the-crm"],
                "Cookie": ["session=another-secret"],
                "Accept": ["application/json"],
            },
            "requestQueryParameters": {"pageSize": ["20"]},
            "responseHeaders": {"Content-Type": ["text/html"], "Set-Cookie": ["session=a-third-secret"]},
            "responseCode": 503,
        },
    }


def _vault() -> dict[str, Any]:
    return {"directoryCompanyId": 42, "createdDate": timestamp(), "actorDirectoryUserId": 123123}


def _account_change() -> dict[str, Any]:
    return {**_vault(), "change": "The name was changed from “Shop” to “Shop & more”."}


def _unheard_of() -> dict[str, Any]:
    return {"summary": "Three people asked for a refund.", "mood": {"value": -0.4, "words": ["angry", "tired"]}}
