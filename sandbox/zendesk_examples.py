"""The groups, brands, forms, fields and statuses every sandbox starts with: at least one of every kind."""

from typing import Any

EVERY_BRAND: dict[str, Any] = {"in_all_brands": True, "restricted_brand_ids": []}

GROUPS: list[dict[str, Any]] = [
    {"id": 101, "name": "Social care", "default": True},
    {"id": 102, "name": "Escalations"},
]

BRANDS: list[dict[str, Any]] = [
    {"id": 201, "name": "Example", "subdomain": "example", "default": True},
    {"id": 202, "name": "Example Outlet", "subdomain": "example-outlet"},
]

FORMS: list[dict[str, Any]] = [
    {"id": 301, "name": "Default form", "default": True, **EVERY_BRAND},
    {"id": 302, "name": "Social post", **EVERY_BRAND},
]

STATUSES: list[dict[str, Any]] = [
    {"id": 401, "status_category": "new", "agent_label": "New", "end_user_label": "Open", "default": True},
    {"id": 402, "status_category": "open", "agent_label": "Open", "end_user_label": "Open", "default": True},
    {
        "id": 403,
        "status_category": "pending",
        "agent_label": "Pending",
        "end_user_label": "Awaiting your reply",
        "default": True,
    },
    {"id": 404, "status_category": "hold", "agent_label": "On-hold", "end_user_label": "Open", "default": True},
    {"id": 405, "status_category": "solved", "agent_label": "Solved", "end_user_label": "Solved", "default": True},
    {
        "id": 406,
        "status_category": "pending",
        "agent_label": "Waiting for the network",
        "end_user_label": "Awaiting your reply",
    },
]


def _options(**words: str) -> list[dict[str, str]]:
    return [{"value": value, "name": name} for value, name in words.items()]


DESCRIPTION_FIELD_ID = 32972409

SYSTEM_FIELDS: list[dict[str, Any]] = [
    {"id": 32972408, "type": "subject", "title": "Subject", "removable": False},
    {"id": DESCRIPTION_FIELD_ID, "type": "description", "title": "Description", "removable": False},
    {
        "id": 32972410,
        "type": "status",
        "title": "Status",
        "removable": False,
        "system_field_options": _options(open="Open", pending="Pending", hold="On-hold", solved="Solved"),
    },
    {
        "id": 32972411,
        "type": "tickettype",
        "title": "Type",
        "system_field_options": _options(question="Question", incident="Incident", problem="Problem", task="Task"),
    },
    {
        "id": 32972412,
        "type": "priority",
        "title": "Priority",
        "system_field_options": _options(low="Low", normal="Normal", high="High", urgent="Urgent"),
    },
    {"id": 32972413, "type": "group", "title": "Group", "removable": False},
    {"id": 32972414, "type": "assignee", "title": "Assignee", "removable": False, "required": True},
]

CUSTOM_FIELDS: list[dict[str, Any]] = [
    {"id": 360001, "type": "text", "title": "Link to the post"},
    {
        "id": 360002,
        "type": "tagger",
        "title": "Customer tier",
        "custom_field_options": _options(vip="VIP", standard="Standard"),
    },
    {"id": 360003, "type": "checkbox", "title": "Public post"},
    {"id": 360004, "type": "textarea", "title": "What happened"},
    {"id": 360005, "type": "date", "title": "Posted on"},
    {"id": 360006, "type": "integer", "title": "Followers"},
    {"id": 360007, "type": "decimal", "title": "Sentiment"},
    {"id": 360008, "type": "regexp", "title": "Order number", "regexp_for_validation": "^[0-9]+-[0-9]+-[0-9]+$"},
    {
        "id": 360009,
        "type": "multiselect",
        "title": "Topics",
        "custom_field_options": _options(topic_delivery="Delivery", topic_billing="Billing", topic_product="Product"),
    },
    {"id": 360010, "type": "partialcreditcard", "title": "Credit card"},
    {"id": 360011, "type": "text", "title": "Old hotline", "active": False},
]

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "fields": SYSTEM_FIELDS + CUSTOM_FIELDS,
    "groups": GROUPS,
    "brands": BRANDS,
    "forms": FORMS,
    "statuses": STATUSES,
}
