from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """The log may be long: its indexes are built while it is read and written."""

    atomic = False
    dependencies = [("integrations", "0007_prepared")]

    operations = [
        AddIndexConcurrently(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state", "pending")),
                fields=["connection", "lane", "next_attempt_at", "id"],
                name="delivery_due_by_lane",
            ),
        ),
        AddIndexConcurrently(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("incident__isnull", False)), fields=["incident"], name="delivery_of_incident"
            ),
        ),
        AddIndexConcurrently(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("next_look_at__isnull", False)),
                fields=["connection", "next_look_at"],
                name="delivery_to_look_at",
            ),
        ),
        AddIndexConcurrently(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("case_key", ""), _negated=True),
                fields=["mapping", "case_key", "-id"],
                name="delivery_case",
            ),
        ),
        AddIndexConcurrently(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state", "failed")), fields=["cause", "mapping"], name="delivery_failed_by_cause"
            ),
        ),
        AddIndexConcurrently(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("ticket_status", ""), _negated=True),
                fields=["ticket_status", "-created_at", "-id"],
                name="delivery_ticket_status_newest",
            ),
        ),
        AddIndexConcurrently(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state__in", ["pending", "sending", "failed", "held"])),
                fields=["posted_at"],
                name="delivery_without_a_ticket",
            ),
        ),
        AddIndexConcurrently(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("solved_at__isnull", True), ("state", "delivered")),
                fields=["mapping", "posted_at"],
                name="delivery_not_solved",
            ),
        ),
        RemoveIndexConcurrently(
            model_name="delivery",
            name="delivery_due",
        ),
    ]
