"""What people choose for themselves."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Preferences(models.Model):
    """How the portal shows itself to one person. `time_zone`: a name of the IANA database, such as Europe/Berlin.

    `hidden_columns`: {"delivery": ["age"]}, columns of lists that the person does without.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="preferences")
    time_zone = models.CharField(max_length=64, default="UTC")
    hidden_columns = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "preferences"

    def __str__(self) -> str:
        return f"Preferences of {self.user}"


class SavedFilter(models.Model):
    """A list with filters under a name, for its owner or for everybody. `query`: what follows "?" in the address."""

    # Nobody: it was shared by somebody who is gone.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="saved_filters"
    )
    list_name = models.CharField(max_length=40)
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=2000)
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["owner", "list_name", "name"], name="saved_filter_named_once"),
            models.CheckConstraint(condition=~Q(name="") & ~Q(query=""), name="saved_filter_has_name_and_query"),
        ]

    def __str__(self) -> str:
        return self.name
