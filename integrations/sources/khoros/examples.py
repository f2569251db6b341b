"""An example notification for each kind of event, for previews and probes.

Label and rule: after the vendor's documented examples. Credential and control: their documented inner objects under
`data`. Messages, errors, vault: made up from the documented tables of fields, as no example was ever published.
"""

from datetime import datetime
from typing import Any

from integrations.sources.khoros.events import kind_of

COMPANY_ID = 42


def example(event_name: str, *, post_id: str = "twitter:1234567890", at: datetime) -> dict[str, Any]:
    """A whole envelope, without an eventUuid. `post_id` names the post where the event has one."""
    return {
        "companyId": COMPANY_ID,
        "eventName": event_name,
        "createdDate": f"{at:%a %b %d %H:%M:%S} UTC {at:%Y}",
        "type": "hydrated",
        "data": _DATA[kind_of(event_name).example](post_id, at, event_name),
    }


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _item(post_id: str, at: datetime) -> dict[str, Any]:
    return {
        "sfEntityType": "StreamItem",
        "entityId": post_id,
        "text": "Example: my parcel has been on its way for two weeks. Can somebody help? 📦",
        "link": "https://twitter.com/example/status/1234567890",
        "author": "Ann Example",
        "authorId": "12345678",
        "authorLink": "https://twitter.com/ann_example",
        "authorScreenName": "ann_example",
        "initiativeIds": [5],
        "contentType": "post",
        "createdDate": _iso(at),
        "followerCount": "1284",
        "labels": [],
        "notes": [],
    }


def _posts(post_id: str, at: datetime, _event_name: str) -> dict[str, Any]:
    return {"labels": [], "items": [_item(post_id, at)]}


def _rule(post_id: str, at: datetime, _event_name: str) -> dict[str, Any]:
    rule = {"ruleId": "17", "ruleName": "Example rule"}
    return {"companyId": COMPANY_ID, "timeStamp": 0, "ruleMatched": rule, "items": [_item(post_id, at)]}


def _message(post_id: str, at: datetime, event_name: str) -> dict[str, Any]:
    is_published = event_name == "message-published"
    result = {
        "sfEntityType": "PublicationResult",
        "accountId": "21365",
        "serviceId": "123456789_987654321",
        "serviceLink": "https://www.facebook.com/123456789/posts/987654321",
        "status": "PUBLISHED" if is_published else "PENDING",
    }
    return {
        "sfEntityType": "Message",
        "id": post_id.rpartition(":")[2],
        "title": "Example message",
        "content": {"sfEntityType": "Status", "text": "Example: our shop opens again on Monday."},
        "labels": ["General Labels - Inspirations"],
        "service": "FACEBOOK",
        "targetAccountIds": ["21365"],
        "organicVisibility": "VISIBLE",
        "delegationStatus": "NOT_DELEGATED",
        "publicationResults": [result | ({"datePublished": _milliseconds(at)} if is_published else {})],
        "scheduledPublishDate": _milliseconds(at),
        "notes": [],
    }


def _credential(_post_id: str, at: datetime, _event_name: str) -> dict[str, Any]:
    return {
        "service": "instagram",
        "serviceId": "673abc9794",
        "name": "example.brand",
        "when": _milliseconds(at),
        "message": "success",
    }


def _control(_post_id: str, at: datetime, _event_name: str) -> dict[str, Any]:
    conversation = {"endUserAccountId": "12345678", "ownedAccountId": "87654321"}
    return {
        "passConversationControl": {
            "type": "default",
            "service": "twitter",
            "privateMessageConversationId": conversation,
            "timestampRequested": _iso(at),
        }
    }


def _crm(_post_id: str, at: datetime, _event_name: str) -> dict[str, Any]:
    return {
        "operation": "searchCustomerById-hydrateCases",
        "trackingId": f"crm-gateway-example-{_milliseconds(at)}",
        "description": "Example of an error",
        "spredfastErrorMessage": "The customer system answered with an error.",
        "externalCall": {
            "requestMethod": "GET",
            "requestUri": "https://crm.example.com/customer/17",
            "requestHeaders": {"Accept": ["application/json"]},
            "requestQueryParameters": {},
            "responseHeaders": {},
            "responseCode": 500,
        },
    }


def _vault(_post_id: str, at: datetime, _event_name: str) -> dict[str, Any]:
    return {
        "directoryCompanyId": COMPANY_ID,
        "createdDate": _iso(at),
        "actorDirectoryUserId": 123123,
        "change": "Example: the owner of the account was changed.",
    }


def _generic(post_id: str, at: datetime, _event_name: str) -> dict[str, Any]:
    return {"id": post_id, "text": "Example of an event that is not documented.", "createdDate": _iso(at)}


_DATA = {
    "posts": _posts,
    "rule": _rule,
    "message": _message,
    "credential": _credential,
    "control": _control,
    "crm": _crm,
    "vault": _vault,
    "generic": _generic,
}
