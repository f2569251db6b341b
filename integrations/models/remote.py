"""What deliveries have become at their destinations."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from integrations.models.configuration import Mapping
from integrations.models.connections import Connection


class RemoteObject(models.Model):
    """One thing at an account (a ticket, a message, an alert), however many posts, comments and notes went into it.

    Status, assignee and times of changes are by the account's clock. `case_key` is what the posts of its case share:
    a later post of the case finds it by that. `posted_at` is the time of the first post, which response times count
    from.
    """

    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="remote_objects", db_index=False)
    mapping = models.ForeignKey(Mapping, on_delete=models.PROTECT, related_name="remote_objects", db_index=False)
    number = models.CharField(max_length=250)
    url = models.CharField(max_length=500, blank=True, default="")
    case_key = models.CharField(max_length=300, blank=True, default="", db_default="")
    posted_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    last_delivered_at = models.DateTimeField(db_default=Now())
    status = models.CharField(max_length=20, blank=True, default="", db_default="")
    assignee = models.CharField(max_length=200, blank=True, default="", db_default="")
    changed_at = models.DateTimeField(null=True)
    solved_at = models.DateTimeField("first solved", null=True)
    next_poll_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "number"], name="remote_object_known_once"),
            models.CheckConstraint(condition=~Q(number=""), name="remote_object_has_its_number"),
        ]
        indexes = [
            # A later post of the same case.
            models.Index(
                fields=["mapping", "case_key", "-id"], condition=~Q(case_key=""), name="remote_object_of_case"
            ),
            # The status filter of the list of deliveries.
            models.Index(fields=["status", "-id"], condition=~Q(status=""), name="remote_object_by_status"),
            # Targets: what is not solved yet, by the time of its post.
            models.Index(
                fields=["mapping", "posted_at"], condition=Q(solved_at__isnull=True), name="remote_object_not_solved"
            ),
            # Polling: what is due at an account.
            models.Index(
                fields=["connection", "next_poll_at"],
                condition=Q(next_poll_at__isnull=False),
                name="remote_object_to_poll",
            ),
        ]

    def __str__(self) -> str:
        return self.number

    @classmethod
    def end_cases(cls, mapping: Mapping) -> None:
        """Posts go elsewhere from now on: no open case of the mapping takes more of them."""
        cls.objects.filter(mapping=mapping).exclude(case_key="").update(case_key="")
