"""Content of what was received: notifications as they came, and their posts as lists show them.

Like all content it is deleted after a time (operations/retention.py), and nothing that is kept points at it.
"""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, HashIndex, OpClass
from django.db import models
from django.db.models import Q
from django.db.models.functions import Upper

from integrations.models.fields import PackedField, PackedJSONField
from integrations.models.notifications import Notification


class NotificationContent(models.Model):
    """A notification as it was received; written once, with it."""

    notification = models.OneToOneField(
        Notification, on_delete=models.CASCADE, primary_key=True, related_name="content"
    )
    # What identifies the event, readable; the notification has its hash.
    event_key = models.CharField(max_length=140)
    event_name = models.CharField("event", max_length=100, blank=True, default="")
    body = PackedField()
    headers = PackedJSONField(empty=dict)

    def __str__(self) -> str:
        return self.event_key


class PostContent(models.Model):
    """One post of a notification, as far as lists show it and staff search it; written when it is routed.

    `outcome` is what routing decided for it, mapping by mapping:
    [{"mapping": 4, "mapping_name": "To Zendesk", "delivery": 17 or null, "made": true, "reason": "", "judged": [...]}],
    where `judged` has the mapping's conditions, if it has any, as domain.conditions.Verdict.lines gives them.
    """

    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="posts", db_index=False)
    position = models.PositiveSmallIntegerField(default=0)
    post_id = models.CharField("post", max_length=250)
    # The author on the first line, the beginning of the text on the following ones: what is searched.
    search_text = models.TextField(blank=True)
    link = models.CharField(max_length=2000, blank=True)
    outcome = PackedJSONField()
    # Of text in scripts without spaces alone: its pairs of characters (domain/pairs.py), for short words.
    pairs = ArrayField(models.CharField(max_length=2), null=True)
    # The same for all posts of one author on one network, for as long as content is kept.
    author_key = models.BigIntegerField(null=True)

    class Meta:
        ordering = ["notification_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["notification", "position"], name="post_content_numbered_once"),
        ]
        indexes = [
            # Whether an author was seen before.
            models.Index(fields=["author_key"], condition=Q(author_key__isnull=False), name="post_content_of_author"),
            # Search by a post's id, where no delivery was made of it.
            HashIndex(fields=["post_id"], name="post_content_post_id"),
            # Search by a post's link, as people copy it.
            HashIndex(fields=["link"], name="post_content_link"),
            # Search by two characters of Chinese, Japanese or Korean.
            GinIndex(fields=["pairs"], name="post_content_pairs"),
            # Search, in deliveries and in notifications. `icontains` becomes UPPER(...) LIKE.
            GinIndex(OpClass(Upper("search_text"), "gin_trgm_ops"), name="post_content_search"),
        ]

    def __str__(self) -> str:
        return self.post_id

    @property
    def author(self) -> str:
        return self.search_text.partition("\n")[0]

    @property
    def text(self) -> str:
        return self.search_text.partition("\n")[2]
