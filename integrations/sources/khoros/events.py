"""The events that Khoros is known to send, for forms, mappings and pages. Unknown names work too, as GENERIC.

Names: developer.khoros.com/khorosmarketingdevdocs/reference/notification-service and the pages events-errors,
events-vault. `placeholders` are those that make sense for the event; conditions are about the same.
"""

from integrations.sources.kinds import EventKind

OF_POSTS = (
    "text", "author", "author_handle", "author_id", "author_link", "followers", "network", "post_id", "native_id",
    "link", "content_type", "posted_at", "labels", "in_reply_to", "parent_post", "reposted_from",
)  # fmt: skip
OF_MESSAGES = (
    "text", "title", "network", "post_id", "native_id", "link", "content_type", "posted_at", "labels", "accounts",
    "scheduled_at", "published_at", "publication_status", "publication_links", "delegation_status", "visibility",
    "media", "is_native",
)  # fmt: skip
ALERT_HEADLINE = "{{ title|default:An alert }}"
_CREDENTIAL = (
    "text", "title", "network", "credential_name", "credential_id", "posted_at", "khoros_message",
)  # fmt: skip


def _message(title: str) -> EventKind:
    return EventKind(
        title,
        OF_MESSAGES,
        "message",
        f"{title}: {{{{ title|default:untitled }}}} ({{{{ network }}}})",
    )


def _credential(title: str) -> EventKind:
    return EventKind(title, _CREDENTIAL, "credential", ALERT_HEADLINE)


def _vault(title: str) -> EventKind:
    return EventKind(
        f"Vault: {title}", ("text", "title", "change", "actor_id", "posted_at"), "vault", ALERT_HEADLINE,
    )  # fmt: skip


EVENTS: dict[str, EventKind] = {
    "stream-item-label-applied": EventKind(
        "A label was applied to a post in the inbox", OF_POSTS, "posts"
    ),
    "rule-applied": EventKind(
        "A rule was applied to a post in the inbox", (*OF_POSTS, "rule_name", "rule_id"),
        "rule", "{{ rule_name }}: {{ author|default:someone }} on {{ network }}",
    ),
    "message-published": _message("A message was published"),
    "message-sent-to-network": _message("A message was scheduled natively, on the network itself"),
    "message-needs-approval": _message("A message waits for approval"),
    "credential-auth": _credential("An account was connected"),
    "credential-reauth": _credential("An account was connected again"),
    "credential-deauth": _credential("An account lost its connection"),
    "credential-delete": _credential("An account was removed"),
    "pass-conversation-control": EventKind(
        "A conversation passes to a bot", ("text", "title", "network", "customer_id", "account_id", "control_type",
        "posted_at"), "control", ALERT_HEADLINE,
    ),
    "error-custom-crm": EventKind(
        "A call to the customer system failed", ("text", "title", "operation", "tracking_id", "description",
        "error_message", "request", "response_code"), "crm", ALERT_HEADLINE,
    ),
    **{
        f"vault-{name}": _vault(name.replace("-", " "))
        for name in (
            "account-create", "account-update", "account-delete", "account-credential-update", "account-user-create",
            "account-user-update", "account-user-delete", "account-session-create", "user-create", "user-update",
            "user-delete",
        )
    },
}  # fmt: skip
GENERIC = EventKind("Another event", (*OF_POSTS, "title"), "generic")


def kind_of(event_name: str) -> EventKind:
    return EVENTS.get(event_name, GENERIC)
