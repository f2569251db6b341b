"""The first steps of a new portal, on the overview until they are done. Each ticks itself by what really happened."""

from dataclasses import dataclass, replace

from django.urls import reverse

from integrations.models import Company, Connection, Delivery, Mapping, Notification, Subscription


@dataclass(frozen=True, slots=True)
class Step:
    """`address` is where it is done; `hint` says what to do, or what there is by now."""

    title: str
    hint: str
    address: str
    is_done: bool


def first_steps() -> list[Step]:
    """In order; none once a first post was delivered."""
    of_posts = Delivery.objects.filter(mapping__subscription__company__isnull=False)
    if of_posts.filter(state=Delivery.State.DELIVERED).exists():
        return []
    company = Company.objects.filter(checked_at__isnull=False, warning="").first()
    registered = Subscription.objects.filter(company__isnull=False, registration="registered").first()
    connections = list(Connection.objects.order_by("pk")[:50])
    connection = next((found for found in connections if _is_tested(found)), None)
    mapping = Mapping.objects.filter(is_active=True, subscription__company__isnull=False).first()
    notification = Notification.objects.exclude(source__in=("test", "portal")).order_by("pk").first()
    label = registered.listens_to if registered else "the label"
    deliveries, notifications = (
        reverse(f"admin:integrations_{model}_changelist") for model in ("delivery", "notification")
    )
    return [
        _set_up("Connect Khoros", "company", company, "The company's number and API token."),
        _set_up("Subscribe to a label", "subscription", registered, "The label that your agents will apply."),
        _connect(connection, connections),
        _set_up("Make a mapping", "mapping", mapping, "A recipe fills in the form; try it before you save."),
        Step(
            "Apply the label",
            f"Done: {notification}."
            if notification
            else f"In Khoros, apply “{label}” to a post; it arrives in seconds.",
            notifications,
            notification is not None,
        ),
        Step("See what became of it", "The first delivery appears in the list.", deliveries, False),
    ]


def _connect(tested: Connection | None, connections: list[Connection]) -> Step:
    """One that is there is opened and tested, instead of another one being added."""
    step = _set_up("Add a connection", "connection", tested, "Zendesk, Slack, e-mail, a wall or a webhook.")
    if tested is not None or not connections:
        return step
    address = reverse("admin:integrations_connection_change", args=[connections[0].pk])
    return replace(step, hint=f"“{connections[0]}” is there: press “Test connection” on its page.", address=address)


def _set_up(title: str, model: str, found: Company | Subscription | Connection | Mapping | None, hint: str) -> Step:
    if found is None:
        return Step(title, hint, reverse(f"admin:integrations_{model}_add"), False)
    return Step(title, f"Done: {found}.", reverse(f"admin:integrations_{model}_change", args=[found.pk]), True)


def _is_tested(connection: Connection) -> bool:
    return bool(connection.checks) and all(found.get("ok") is not False for found in connection.checks)
