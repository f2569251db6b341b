"""Walls and the posts on them: addresses, how to read the feeds elsewhere, and what may be shown."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from integrations.admin.base import ConfigurationAdmin, ReadOnlyAdmin, note_action
from integrations.admin.moderation import NEITHER_TOLD, Moderation, moderation_buttons, state_text
from integrations.infra.text import harmless, shortened, timestamp
from integrations.installation import NoPublicAddress, public_url
from integrations.models import Wall, WallPost
from integrations.walls import (
    create_wall,
    frame_origin,
    move,
    page_address,
    renew_address,
    revoke_address,
    wall_changed,
)

MOST_ORIGINS = 20
DARK = (
    "Every screen that shows the wall goes dark at once, and every reader of its feeds, Khoros Experiences among them, "
    "gets nothing more. The present address cannot be brought back."
)
EXPERIENCES = (
    "Copy the RSS feed's address above.",
    "In Khoros Experiences, open the stream that your screen shows, or make one.",
    "Add a source of the type RSS to the stream, and paste the address. (Khoros' words for it may differ.)",
    "Set the stream's rules so that posts of this source are approved by themselves, or approve each there.",
    "Put the stream on the screen as usual.",
)


class WallForm(forms.ModelForm):
    class Meta:
        model = Wall
        fields = ("name", "title", "needs_approval", "order", "expires_hours", "theme", "frame_origins")
        widgets = {"frame_origins": UnfoldAdminTextareaWidget(attrs={"rows": 3})}

    def clean_expires_hours(self) -> int | None:
        hours: int | None = self.cleaned_data["expires_hours"]
        if hours is not None and not 1 <= hours <= 87_600:
            raise ValidationError("Enter 1 to 87,600 hours, or leave it empty.")
        return hours

    def clean_frame_origins(self) -> str:
        lines = self.cleaned_data["frame_origins"].replace(",", " ").split()
        if len(lines) > MOST_ORIGINS:
            raise ValidationError(f"Enter at most {MOST_ORIGINS} addresses.")
        try:
            return "\n".join(dict.fromkeys(frame_origin(line) for line in lines))
        except ValueError as problem:
            raise ValidationError(str(problem)) from None

    def clean_name(self) -> str:
        return _one_line(self.cleaned_data["name"])

    def clean_title(self) -> str:
        return _one_line(self.cleaned_data["title"])


def _one_line(typed: str) -> str:
    """Without what a word processor may have left in it."""
    return " ".join(harmless(typed).split())


@admin.register(Wall)
class WallAdmin(ConfigurationAdmin):
    form = WallForm
    switch = ""
    list_display = ("name", "address_label", "shown_count", "waiting_count", "approval_text")
    ordering = ("name",)
    actions = ("renew", "revoke")
    readonly_fields = ("address_text", "rss_text", "json_text", "experiences_text", "posts_text")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Wall]:
        counts = {
            "shown": Count("posts", filter=Q(posts__state="shown")),
            "waiting": Count("posts", filter=Q(posts__state="waiting")),
        }
        is_list = request.resolver_match is not None and "object_id" not in request.resolver_match.kwargs
        rows: QuerySet[Wall] = super().get_queryset(request)
        return rows.annotate(**counts) if is_list else rows

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        what = ("name", "title", "needs_approval", "order", "expires_hours")
        looks = ("theme", "frame_origins")
        if obj is None:
            return ((None, {"fields": what}), ("On the screen", {"fields": looks}))
        return (
            ("Where it is read", {"fields": ("address_text", "rss_text", "json_text", "experiences_text")}),
            ("Posts", {"fields": ("posts_text", *what)}),
            ("On the screen", {"fields": looks}),
        )

    def save_model(self, request: HttpRequest, obj: Wall, form: Any, change: bool) -> None:
        if not change:
            create_wall(obj)
            address = f"{reverse('admin:integrations_mapping_add')}?connection={obj.connection_id}"
            message = 'The wall has an address and shows nothing yet. Next, <a class="cb-link" href="{}">{}</a>.'
            self.message_user(
                request, format_html(message, address, "make a mapping that puts posts on it"), messages.INFO
            )
            return
        obj.save(update_fields=[*form.fields, "changed_at"])
        wall_changed(obj)

    def response_add(self, request: HttpRequest, obj: Wall, post_url_continue: str | None = None) -> HttpResponse:
        """To the wall's page, which has its address."""
        if "_addanother" in request.POST or "_continue" in request.POST:
            return super().response_add(request, obj, post_url_continue)
        return HttpResponseRedirect(reverse("admin:integrations_wall_change", args=[obj.pk]))

    def uses(self, obj: Wall) -> str:
        uses = [
            (obj.connection.deliveries.exists(), "deliveries in the log refer to it"),
            (obj.connection.mappings.exists(), "mappings use it"),
        ]
        found = "; ".join(use for holds, use in uses if holds)
        return f"{found}. To take it down, press “Revoke the address” on its page" if found else ""

    def delete_model(self, request: HttpRequest, obj: Wall) -> None:
        wall_changed(obj)
        connection = obj.connection
        obj.delete()
        connection.delete()

    # --- Where it is read ---

    @display(description="Address", label={"has": "success", "none": "warning"})
    def address_label(self, wall: Wall) -> tuple[str, str]:
        return ("has", "Can be read") if wall.token_hash else ("none", "Revoked")

    @admin.display(description="Page for screens")
    def address_text(self, wall: Wall) -> str:
        try:
            public_url()
        except NoPublicAddress as problem:
            return f"Nobody outside can reach this portal yet. {problem}"
        if not page_address(wall):
            return "This wall has no address: nobody reads it. Press “New address” to give it one."
        hint = "Who knows this address reads the wall, without signing in. Open it on the screen, full-screen (F11)."
        return _address(page_address(wall), hint)

    @admin.display(description="RSS feed")
    def rss_text(self, wall: Wall) -> str:
        return _address(page_address(wall, "wall-rss"), "For Khoros Experiences, and every other reader of RSS 2.0.")

    @admin.display(description="JSON feed")
    def json_text(self, wall: Wall) -> str:
        return _address(page_address(wall, "wall-json"), "The same as JSON Feed 1.1, for screens with a script.")

    @admin.display(description="In Khoros Experiences")
    def experiences_text(self, wall: Wall) -> str:
        steps = format_html_join("", "<li>{}</li>", ((step,) for step in EXPERIENCES))
        nothing = (
            "Casebridge pushes nothing to Experiences: it has no address to push to. Experiences fetches the feed by "
            "itself, as often as it likes; Khoros does not say how often. A post that was hidden here leaves the feed, "
            "and may stay in Experiences until you reject it there."
        )
        return format_html('<ol class="cb-steps">{}</ol><p class="cb-quiet">{}</p>', steps, nothing)

    # --- What is on it ---

    @admin.display(description="Shown")
    def shown_count(self, wall: Wall) -> int:
        return int(getattr(wall, "shown", 0))

    @admin.display(description="Waits for approval")
    def waiting_count(self, wall: Wall) -> int:
        return int(getattr(wall, "waiting", 0))

    @admin.display(description="New posts")
    def approval_text(self, wall: Wall) -> str:
        return "Wait for approval" if wall.needs_approval else "Are shown at once"

    @admin.display(description="Posts shown")
    def posts_text(self, wall: Wall) -> str:
        states = dict(wall.posts.order_by().values_list("state").annotate(Count("pk")))
        address = reverse("admin:integrations_wallpost_changelist")
        rows = (
            (address, wall.pk, state, states.get(state, 0), name)
            for state, name in (("shown", "shown"), ("waiting", "waiting for approval"), ("hidden", "hidden"))
        )
        link = '<a class="cb-link" href="{}?wall__id__exact={}&amp;state__exact={}">{} {}</a>'
        return format_html('{}<p class="cb-quiet">{}</p>', format_html_join(mark_safe(" · "), link, rows), NEITHER_TOLD)

    def buttons(self, request: HttpRequest, obj: Wall) -> list[str]:
        return ["renew", *(["revoke"] if obj.token_hash else [])]

    def links(self, request: HttpRequest, obj: Wall) -> list[tuple[str, str]]:
        mapping = f"{reverse('admin:integrations_mapping_add')}?connection={obj.connection_id}"
        opened = [(page_address(obj), "Open the wall")] if page_address(obj) else []
        may_add = request.user.has_perm("integrations.add_mapping")
        return [*opened, *([(mapping, "Add a mapping to it")] if may_add else [])]

    def has_change_action_permission(self, request: HttpRequest) -> bool:
        return self.has_change_permission(request)

    @admin.action(description="New address", permissions=["change_action"])
    def renew(self, request: HttpRequest, queryset: QuerySet[Wall]) -> HttpResponse | None:
        if "_confirmed" not in request.POST and queryset.filter(token_hash__isnull=False).exists():
            question, answer = "Give a new address?", "Yes, give a new address"
            return self.confirm_page(request, "renew", queryset, question, DARK, answer)
        ids = [wall.pk for wall in queryset]
        for wall in Wall.objects.filter(pk__in=ids):
            renew_address(wall)
        note_action(request, Wall, ids, "Gave it a new address")
        message = "New address given. The one before no longer works: change it on screens and in readers of the feed."
        self.message_user(request, message, messages.WARNING)
        return self.back(request)

    @admin.action(description="Revoke the address", permissions=["change_action"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Wall]) -> HttpResponse | None:
        if "_confirmed" not in request.POST:
            question, answer = "Revoke the address?", "Yes, revoke the address"
            return self.confirm_page(request, "revoke", queryset, question, DARK, answer)
        ids = [wall.pk for wall in queryset]
        for wall in Wall.objects.filter(pk__in=ids):
            revoke_address(wall)
        note_action(request, Wall, ids, "Revoked its address")
        message = "Address revoked: nobody reads the wall until you give it a new address. Its posts are kept."
        self.message_user(request, message, messages.WARNING)
        return self.back(request)


def _address(address: str, hint: str) -> str:
    if not address:
        return "–"
    link = '<a class="cb-link cb-address" href="{}" target="_blank" rel="noopener noreferrer">{}</a>'
    return format_html(f'{link}<p class="cb-quiet">{{}}</p>', address, address, hint)


# --- Posts -----------------------------------------------------------------------------------------------------------


@admin.register(WallPost)
class WallPostAdmin(Moderation, ReadOnlyAdmin):
    empty_text = "No wall has a post yet. A mapping puts posts on a wall."
    list_display = ("state_label", "post", "wall_name", "place", "came", "posted")
    list_display_links = ("post",)
    list_filter = ("state", "wall")
    list_select_related = ("wall",)
    search_fields = ("post_id", "author", "text")
    search_help_text = "Search by post ID, author or text"
    actions = ("wall_show", "wall_hide", "wall_pin", "wall_unpin", "wall_up", "wall_down")
    ordering = ("-created_at", "-id")
    sortable_by = ()
    fieldsets = (
        (None, {"fields": ("state_text", "wall_link", "delivery_link")}),
        ("Post", {"fields": ("author_text", "shown_text", "link_text", "picture_text", "network", "posted", "came")}),
    )
    readonly_fields = (
        "state_text", "wall_link", "delivery_link", "author_text", "shown_text", "link_text", "picture_text", "posted",
        "came",
    )  # fmt: skip

    def wall_posts(self, queryset: QuerySet[Any]) -> QuerySet[WallPost]:
        return queryset

    @display(description="State", label={"waiting": "warning", "shown": "success", "hidden": "default", "over": "info"})
    def state_label(self, post: WallPost) -> tuple[str, str]:
        if post.state == WallPost.State.SHOWN and post.wall.has_expired(post):
            return "over", "Expired"
        return post.state, "Pinned" if post.place is not None else post.get_state_display()

    @admin.display(description="Post")
    def post(self, post: WallPost) -> str:
        text = shortened(post.text, 140) or "(no longer kept)"
        return format_html('<span class="cb-post"><b>{}</b><br><span class="cb-quiet">{}</span></span>', post, text)

    @admin.display(description="Wall")
    def wall_name(self, post: WallPost) -> str:
        return post.wall.name

    @admin.display(description="Added")
    def came(self, post: WallPost) -> str:
        return timestamp(post.created_at)

    @admin.display(description="Written")
    def posted(self, post: WallPost) -> str:
        return timestamp(post.posted_at)

    @admin.display(description="State")
    def state_text(self, post: WallPost) -> str:
        return state_text(post)

    @admin.display(description="Wall")
    def wall_link(self, post: WallPost) -> str:
        address = reverse("admin:integrations_wall_change", args=[post.wall_id])
        return format_html('<a class="cb-link" href="{}">{}</a>', address, post.wall)

    @admin.display(description="Delivery")
    def delivery_link(self, post: WallPost) -> str:
        rows = post.wall.connection.deliveries.filter(remote_object__number=str(post.pk)).order_by("-pk")
        if (found := rows.values_list("pk", flat=True).first()) is None:
            return "–"
        address = reverse("admin:integrations_delivery_change", args=[found])
        return format_html('<a class="cb-link" href="{}">Delivery {}</a>', address, found)

    @admin.display(description="Name")
    def author_text(self, post: WallPost) -> str:
        return f"{post.author} @{post.handle.removeprefix('@')}" if post.handle else post.author or "–"

    @admin.display(description="Text")
    def shown_text(self, post: WallPost) -> str:
        return format_html('<span class="cb-said" dir="auto">{}</span>', post.text) if post.text else "–"

    @admin.display(description="Link")
    def link_text(self, post: WallPost) -> str:
        link = '<a class="cb-link" href="{}" target="_blank" rel="noopener noreferrer">{}</a>'
        return format_html(link, post.link, post.link) if post.link else "–"

    @admin.display(description="Picture")
    def picture_text(self, post: WallPost) -> str:
        return post.picture or "No permanent picture"

    def notices(self, request: HttpRequest, obj: WallPost) -> list[tuple[str, ...]]:
        return [("info", NEITHER_TOLD)]

    def buttons(self, request: HttpRequest, obj: WallPost) -> list[str]:
        return [*moderation_buttons(obj), *(["wall_up", "wall_down"] if obj.place is not None else [])]

    @admin.action(description="Move up", permissions=["moderate"])
    def wall_up(self, request: HttpRequest, queryset: QuerySet[WallPost]) -> HttpResponse | None:
        return self._moved(request, queryset.order_by("place"), up=True)

    @admin.action(description="Move down", permissions=["moderate"])
    def wall_down(self, request: HttpRequest, queryset: QuerySet[WallPost]) -> HttpResponse | None:
        return self._moved(request, queryset.order_by("-place"), up=False)

    def _moved(self, request: HttpRequest, queryset: QuerySet[WallPost], *, up: bool) -> HttpResponse | None:
        by = request.user.get_username()
        with transaction.atomic():
            moved = [post.pk for post in queryset.filter(place__isnull=False) if move(post, by, up=up)]
        is_pinned = queryset.filter(place__isnull=False).exists()
        nothing = "It is at the end of its order already." if is_pinned else "Only pinned posts can be moved: pin it."
        sentence = f"{len(moved)} moved." if moved else nothing
        self.message_user(request, sentence, messages.SUCCESS if moved else messages.WARNING)
        note_action(request, WallPost, moved, "Moved on the wall")
        return self.back(request)


def waiting_count(_request: HttpRequest) -> str:
    """For the badge in the navigation."""
    count = WallPost.objects.filter(state=WallPost.State.WAITING).order_by()[:1000].count()
    return str(count) if count else ""
