"""Walls: pages and feeds of posts that people read outside, and the posts on them."""

import secrets
import uuid
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from integrations.infra import database_clock
from integrations.models.connections import Connection
from integrations.models.fields import SecretField


def new_wall_token() -> str:
    """For an address that nobody can guess: 32 random bytes."""
    return secrets.token_urlsafe(32)


class Wall(models.Model):
    """A page and feeds at one address, which shows the posts that mappings put on it.

    Who knows the address reads it: `token` is part of it, and `token_hash` finds it. Without a token there is no
    address. `connection` is what mappings send to; it is made with the wall.
    """

    class Order(models.TextChoices):
        SHOWN = "shown", "What came to the wall last"
        POSTED = "posted", "What was written last"

    class Theme(models.TextChoices):
        SCREEN = "screen", "As the screen prefers"
        DARK = "dark", "Dark"
        LIGHT = "light", "Light"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    connection = models.OneToOneField(Connection, on_delete=models.PROTECT, related_name="wall", editable=False)
    name = models.CharField(
        max_length=120, help_text="Name shown in Casebridge, for example “Customer love, lobby screen”."
    )
    title = models.CharField(
        max_length=80,
        blank=True,
        default="",
        help_text="Heading on the screen and name of the feed. Leave empty for a screen without a heading.",
    )
    needs_approval = models.BooleanField(
        "posts wait for approval",
        default=False,
        help_text="On: each new post waits until someone presses “Show”. Off: it is shown at once.",
    )
    order = models.CharField("sort order", max_length=6, choices=Order, default=Order.SHOWN)
    expires_hours = models.PositiveIntegerField(
        "remove after (hours)",
        null=True,
        blank=True,
        help_text="A post leaves the wall after this many hours; pinned ones stay. Leave empty to keep "
        "them for as long as content is kept.",
    )
    theme = models.CharField("colours", max_length=6, choices=Theme, default=Theme.SCREEN)
    frame_origins = models.TextField(
        "sites that may embed it",
        blank=True,
        default="",
        help_text="Addresses of sites that may show the wall in a frame, one per line, like "
        "https://intranet.example.com. Leave empty to allow none.",
    )
    token = SecretField()
    token_hash = models.CharField(max_length=64, null=True, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(expires_hours__isnull=True) | Q(expires_hours__gte=1, expires_hours__lte=87_600),
                name="wall_expires_after_hours",
            ),
            models.CheckConstraint(
                condition=Q(token="", token_hash__isnull=True) | (~Q(token="") & Q(token_hash__isnull=False)),
                name="wall_address_is_found_or_there_is_none",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def expiry_of(self, post: "WallPost") -> datetime | None:
        """When a post leaves this wall; None where it stays."""
        if not self.expires_hours or post.place is not None or post.shown_at is None:
            return None
        return post.shown_at + timedelta(hours=self.expires_hours)

    def has_expired(self, post: "WallPost") -> bool:
        at = self.expiry_of(post)
        return at is not None and at <= database_clock.now()


class WallPost(models.Model):
    """A post on a wall, once however often it is labelled: what a person decided about it stays decided.

    `key` identifies it among the wall's posts and outlives its content, which is deleted after a time. `place` orders
    pinned posts. `shown_at`: since when it is shown, which order and expiry count from.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waits for approval"
        SHOWN = "shown", "Shown"
        HIDDEN = "hidden", "Hidden"

    wall = models.ForeignKey(Wall, on_delete=models.CASCADE, related_name="posts", db_index=False)
    key = models.CharField(max_length=64, editable=False)
    post_id = models.CharField("post", max_length=250, blank=True, editable=False)
    # Of the delivery that put it here last.
    external_id = models.CharField(max_length=250, blank=True, editable=False)
    author = models.CharField(max_length=200, blank=True, editable=False)
    handle = models.CharField(max_length=100, blank=True, editable=False)
    network = models.CharField(max_length=60, blank=True, editable=False)
    text = models.TextField(blank=True, editable=False)
    link = models.CharField(max_length=2000, blank=True, editable=False)
    picture = models.CharField(max_length=2000, blank=True, editable=False)
    posted_at = models.DateTimeField("written", editable=False)
    state = models.CharField(max_length=7, choices=State, default=State.WAITING, editable=False)
    place = models.PositiveIntegerField(
        "pinned place", null=True, blank=True, help_text="1 comes first. Empty: not pinned."
    )
    is_test = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField("added", db_default=Now(), editable=False)
    shown_at = models.DateTimeField("shown since", null=True, editable=False)
    changed_at = models.DateTimeField(db_default=Now(), editable=False)
    # The user who decided last; empty where nobody did.
    decided_by = models.CharField(max_length=150, blank=True, default="", editable=False)

    class Meta:
        verbose_name = "post on a wall"
        verbose_name_plural = "posts on walls"
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["wall", "key"], name="wall_has_a_post_once"),
            models.CheckConstraint(
                condition=~Q(state="shown") | Q(shown_at__isnull=False), name="wall_post_shown_since_a_time"
            ),
            models.CheckConstraint(
                condition=Q(place__isnull=True) | Q(state="shown"), name="wall_post_pinned_is_shown"
            ),
        ]
        indexes = [
            # What is shown, in either order; what is pinned.
            models.Index(fields=["wall", "-shown_at", "-id"], condition=Q(state="shown"), name="wall_post_shown"),
            models.Index(fields=["wall", "-posted_at", "-id"], condition=Q(state="shown"), name="wall_post_written"),
            models.Index(fields=["wall", "place", "id"], condition=Q(place__isnull=False), name="wall_post_pinned"),
            # When the wall changed last.
            models.Index(fields=["wall", "-changed_at"], name="wall_post_changed"),
            # What waits for a person.
            models.Index(fields=["wall", "id"], condition=Q(state="waiting"), name="wall_post_waiting"),
            # The list, newest first; retention.
            models.Index(fields=["-created_at", "-id"], name="wall_post_newest"),
        ]

    def __str__(self) -> str:
        return self.author or self.post_id or f"Post {self.pk}"
