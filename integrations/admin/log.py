"""The log: notifications, deliveries, attempts. Read-only; what staff can do are actions."""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from unfold.decorators import display

from integrations.admin.account import hidden_columns, saved_filters
from integrations.admin.base import PageHead, ReadOnlyAdmin, has_nul
from integrations.admin.delivery_rows import COLOURS, DeliveryRows, became
from integrations.admin.export import csv_of
from integrations.admin.filters import (
    LateFilter,
    NetworkFilter,
    ReceivedFilter,
    StartedFilter,
    StateFilter,
    StatusFilter,
    TimeFilter,
)
from integrations.admin.moderation import NEITHER_TOLD, Moderation, moderation_buttons
from integrations.admin.moderation import state_text as wall_state
from integrations.admin.needs import DeliveryNeeds, NotificationNeeds
from integrations.admin.search import exact_posts
from integrations.admin.text.log import (
    call,
    decided,
    delivery_text,
    failures_address,
    head_quoted,
    head_sentence,
    labelled,
    notification_facts,
    notification_state,
    outcome,
    priority_text,
    remedy_place,
    response_time_text,
    status_text,
    tells_status,
    thing_of,
)
from integrations.destinations import DESTINATIONS
from integrations.domain.pairs import pairs_in
from integrations.infra import database_clock
from integrations.infra.text import in_zone, shortened, storable, timestamp
from integrations.models import (
    Alarm,
    Attempt,
    Delivery,
    DeliveryContent,
    Mapping,
    Notification,
    PostContent,
    Wall,
    WallPost,
)
from integrations.models.deliveries import DeliveryQuerySet
from integrations.outcomes import FailureGroup, failure_groups
from integrations.routing import cancel, rebuild, retry_now, route_again

MOST_GROUPS = 100
NOTIFICATION_COLOURS = {
    "routed": "success",
    "unmatched": "warning",
    "unreadable": "danger",
    "received": "info",
    "missed": "danger",
}
LONGEST_ROW_NUMBER = 18
REBUILT = "{} rebuilt and queued."
RETRIED = "{} queued to be sent now."
SHORTEST_TEXT = 3  # a trigram index cannot help with less
MOST_FOUND = 1_000  # posts with a word: twenty pages, and quick however common the word is


@admin.register(Delivery)
class DeliveryAdmin(DeliveryRows, Moderation, ReadOnlyAdmin):
    empty_text = (
        "Nothing was delivered yet. Apply a label in Khoros that has a subscription and a mapping: the post is here "
        "in seconds."
    )
    list_display = ("state_label", "post", "went_to", "became_cell", "age", "problem")
    list_display_links = ("post",)
    quick_filter = StateFilter.parameter_name
    list_filter = (
        StateFilter,
        DeliveryNeeds,
        StatusFilter,
        "mapping",
        "connection",
        NetworkFilter,
        TimeFilter,
        LateFilter,
    )
    list_select_related = ()
    search_fields = ("post_id",)
    search_help_text = "Search by post ID (twitter:123 or 123), number of the ticket or message, author or text"
    actions = ("retry_now", "rebuild", "cancel", "wall_show", "wall_hide", "wall_pin", "wall_unpin")
    page_buttons = ("retry_now", "rebuild", "cancel")
    ordering = ("-created_at", "-id")
    sortable_by = ()
    list_before_template = "admin/integrations/deliveries_before.html"
    list_after_template = "admin/integrations/deliveries_after.html"
    # The story comes before the details.
    change_form_outer_before_template = "admin/integrations/delivery_page.html"
    fieldsets = (
        ("Details", {"fields": ("became", "clock_text", "action_text", "priority_text", "remarks_text")}),
        ("Origin", {"fields": ("notification_link", "mapping_link", "connection_link", "labelled")}),
    )
    readonly_fields = (
        "became",
        "action_text",
        "priority_text",
        "remarks_text",
        "status_text",
        "assignee_text",
        "solved_text",
        "clock_text",
        "notification_link",
        "mapping_link",
        "connection_link",
        "labelled",
    )

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """Without the columns that this person does without."""
        hidden = hidden_columns(request)
        return tuple(name for name in self.list_display if name not in hidden)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        filters = {"saved_filters": saved_filters(request), "may_share": self.has_operate_permission(request)}
        return super().changelist_view(request, filters | (extra_context or {}))

    def get_fieldsets(self, request: HttpRequest, obj: Delivery | None = None) -> Any:
        """What the destination cannot tell is not shown for it."""
        if obj is None:
            return self.fieldsets
        (title, details), *rest = self.fieldsets
        became, *others = details["fields"]
        told = ("status_text", "assignee_text", "solved_text") if tells_status(obj) else ()
        return ((title, {"fields": (became, *told, *others)}), *rest)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """What belongs to the rows is fetched by itself: joined, whole tables would be joined to find a few rows."""
        return (
            super()
            .get_queryset(request)
            .prefetch_related(
                "mapping__subscription",
                "connection",
                "remote_object",
                "flood_hold",
                "batch",
                Prefetch("content", DeliveryContent.objects.defer("request", "remarks")),
                Prefetch("content__post", PostContent.objects.defer("outcome")),
            )
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Delivery], search_term: str
    ) -> tuple[QuerySet[Delivery], bool]:
        """Ids and numbers exactly; author and text anywhere, by the trigram index on one short column."""
        term = search_term.strip().removeprefix("#")
        if not term:
            return queryset, False
        return queryset.filter(pk__in=found_deliveries(term, posts_with(term, request))), False

    @admin.display(description="Became")
    def became(self, delivery: Delivery) -> str:
        return became(delivery)

    @admin.display(description="Status")
    def status_text(self, delivery: Delivery) -> str:
        return status_text(delivery)

    @admin.display(description="Assignee")
    def assignee_text(self, delivery: Delivery) -> str:
        remote = delivery.remote_object
        return (remote.assignee or ("Nobody" if remote.status else "–")) if remote else "–"

    @admin.display(description="First solved")
    def solved_text(self, delivery: Delivery) -> str:
        return timestamp(delivery.remote_object.solved_at if delivery.remote_object else None)

    @admin.display(description="Response time")
    def clock_text(self, delivery: Delivery) -> str:
        return response_time_text(delivery, database_clock.now())

    @admin.display(description="Action")
    def action_text(self, delivery: Delivery) -> str:
        return decided(delivery)

    @admin.display(description="Priority")
    def priority_text(self, delivery: Delivery) -> str:
        return priority_text(delivery)

    @admin.display(description="Remarks")
    def remarks_text(self, delivery: Delivery) -> str:
        return delivery.remarks or "–"

    # --- Failures by cause ---

    def get_urls(self) -> list[Any]:
        pages = {"causes": self.failure_groups_page, "csv": self.download_csv, "shown": self.ids_shown}
        return [
            *(
                path(f"{name}/", self.admin_site.admin_view(view), name=f"integrations_delivery_{name}")
                for name, view in pages.items()
            ),
            *super().get_urls(),
        ]

    def download_csv(self, request: HttpRequest) -> HttpResponseBase:
        """What the list shows with the same filters and search."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if has_nul(request):
            return HttpResponseRedirect(reverse("admin:integrations_delivery_changelist"))
        try:
            chosen = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse("admin:integrations_delivery_changelist"))
        return csv_of(chosen)

    def ids_shown(self, request: HttpRequest) -> HttpResponseBase:
        """The ids that the list's first page has by now, for one that was opened a while ago."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if has_nul(request):
            return JsonResponse({"ids": []})
        try:
            rows = self.get_changelist_instance(request).result_list
        except IncorrectLookupParameters:
            rows = []
        return JsonResponse({"ids": [row.pk for row in rows]})

    def failure_groups_page(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            if not self.has_operate_permission(request):
                raise PermissionDenied
            self._fix(request)
            return HttpResponseRedirect(request.path)
        groups, alarms = failure_groups(MOST_GROUPS + 1), Alarm.objects.of_failures()
        context = {
            **self.admin_site.each_context(request),
            "title": "Failures by cause",
            "page_title": "Failures by cause",
            "opts": self.opts,
            "groups": [
                _group_row(group, alarms.get((group.mapping.pk, group.cause))) for group in groups[:MOST_GROUPS]
            ],
            "snoozes": Alarm.SNOOZES,
            "is_cut": len(groups) > MOST_GROUPS,
            "may_operate": self.has_operate_permission(request),
        }
        return TemplateResponse(request, "admin/integrations/failure_groups.html", context)

    def _fix(self, request: HttpRequest) -> None:
        mapping = request.POST.get("mapping", "")
        acts = {"retry_now": (retry_now, RETRIED), "rebuild": (rebuild, REBUILT)}
        if not mapping.isdecimal() or len(mapping) > 18 or request.POST.get("do") not in acts:
            return
        act, sentence = acts[request.POST["do"]]
        chosen = Delivery.objects.failed_by(storable(request.POST.get("cause", "")), int(mapping))
        done = act(chosen)
        self.report(request, done, sentence, Delivery.objects.all(), request.POST["do"])
        if done.changed:
            query = urlencode({"mapping__id__exact": mapping, "state__exact": StateFilter.UNDER_WAY})
            address = f"{reverse('admin:integrations_delivery_changelist')}?{query}"
            messages.info(request, format_html('<a class="cb-link" href="{}">Follow them</a>', address))

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "cause" or super().lookup_allowed(lookup, value, request)

    @admin.display(description="Notification")
    def notification_link(self, delivery: Delivery) -> str:
        return _link("notification", delivery.notification_id, f"Notification {delivery.notification_id}")

    @admin.display(description="Mapping")
    def mapping_link(self, delivery: Delivery) -> str:
        return _link("mapping", delivery.mapping_id, delivery.mapping.name)

    @admin.display(description="Connection")
    def connection_link(self, delivery: Delivery) -> str:
        return _link("connection", delivery.connection_id, delivery.connection.name)

    @admin.display(description="Label")
    def labelled(self, delivery: Delivery) -> str:
        return labelled(delivery)

    def head(self, request: HttpRequest, obj: Delivery) -> PageHead:
        """The state, what happens next, and where post, thing and cause are found."""
        links: list[tuple[str, str, bool]] = []
        if obj.post and obj.post.link:
            words = (
                "Open what it is about" if obj.notification.source == "portal" else f"Open the post on {obj.network}"
            )
            links.append((obj.post.link, words, True))
        if obj.remote_object and obj.remote_object.url:
            name = f"{thing_of(obj)} {DESTINATIONS[obj.connection.kind].shown_number(obj.remote_object.number)}".strip()
            links.append((obj.remote_object.url, f"Open {name}", True))
        if obj.last_error and (place := remedy_place(obj.remedy_at, obj.mapping)):
            where, message, is_outside = place
            row_id = obj.mapping_id if where == "mapping" else obj.connection_id
            inside = "" if is_outside else reverse(f"admin:integrations_{where}_change", args=[row_id])
            links.append((inside or where, message, is_outside))
        colour = COLOURS.get(obj.state, "default")
        post = self.wall_posts(Delivery.objects.filter(pk=obj.pk)).select_related("wall").first()
        on_wall = f"\nOn the wall “{post.wall}”: {wall_state(post)}" if post else ""
        return PageHead(colour, obj.get_state_display(), head_sentence(obj) + on_wall, tuple(links), head_quoted(obj))

    def facts(self, request: HttpRequest, obj: Delivery) -> dict[str, Any]:
        post = self.wall_posts(Delivery.objects.filter(pk=obj.pk)).select_related("wall").first()
        on_wall = {"post": post, "state": wall_state(post), "neither_told": NEITHER_TOLD} if post else None
        return delivery_text(obj) | {"on_wall": on_wall}

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Those for posts on walls only where there are walls."""
        actions: dict[str, Any] = super().get_actions(request)
        if Wall.objects.exists():
            return actions
        return {name: action for name, action in actions.items() if not name.startswith("wall_")}

    def wall_posts(self, queryset: QuerySet[Any]) -> QuerySet[WallPost]:
        """The posts that these deliveries put on walls."""
        rows = queryset.filter(connection__wall__isnull=False, remote_object__isnull=False)
        numbers = [int(number) for number in rows.values_list("remote_object__number", flat=True) if number.isdecimal()]
        walls = rows.order_by().values("connection__wall")
        return WallPost.objects.filter(pk__in=numbers, wall__in=walls)

    def buttons(self, request: HttpRequest, obj: Delivery) -> list[str]:
        if obj.state == Delivery.State.DELIVERED:
            found = self.wall_posts(Delivery.objects.filter(pk=obj.pk)).select_related("wall").first()
            return moderation_buttons(found) if found else []
        if obj.state in (Delivery.State.DELIVERED, Delivery.State.SENDING):
            return []
        useless = {"cancel"} if obj.state == Delivery.State.CANCELLED else set()
        if obj.follows_id is not None and not obj.is_rendered:
            useless.add("retry_now")
        return [name for name in self.page_buttons if name not in useless]

    @admin.action(description="Retry now", permissions=["operate"])
    def retry_now(self, request: HttpRequest, queryset: DeliveryQuerySet) -> HttpResponse | None:
        return self.report(request, retry_now(queryset), RETRIED, queryset, "retry_now")

    @admin.action(description="Rebuild with the current mapping and send", permissions=["operate"])
    def rebuild(self, request: HttpRequest, queryset: DeliveryQuerySet) -> HttpResponse | None:
        return self.report(request, rebuild(queryset), REBUILT, queryset, "rebuild")

    @admin.action(description="Cancel (do not send)", permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: DeliveryQuerySet) -> HttpResponse | None:
        return self.report(request, cancel(queryset), "{} cancelled.", queryset, "cancel")


def found_deliveries(term: str, posts: list[PostContent]) -> set[int]:
    """The ids of what a search finds: of these posts, or of those that an id, a link or a number means.

    Each part has its index and is asked for by itself: of all at once PostgreSQL cannot tell how few they are.
    """
    mappings = list(Mapping.objects.values_list("pk", flat=True))
    rows = Delivery.objects.order_by().values_list("pk", flat=True)
    found = set(rows.filter(mapping__in=mappings, post_id__in=exact_posts(term, MOST_FOUND)))
    contents = DeliveryContent.objects.filter(post__in=[post.pk for post in posts])
    return found.union(contents.order_by().values_list("pk", flat=True))


def found_notifications(term: str, posts: list[PostContent]) -> set[int]:
    """The same for notifications, and their own number."""
    rows = PostContent.objects.order_by().values_list("notification", flat=True)
    found = {post.notification_id for post in posts}.union(rows.filter(post_id__in=exact_posts(term, MOST_FOUND)))
    is_number = term.isdecimal() and len(term) < LONGEST_ROW_NUMBER
    return found | {int(term)} if is_number else found


def posts_with(term: str, request: HttpRequest) -> list[PostContent]:
    """The newest posts whose author or text has the term; the page says so where there may be more."""
    pairs = pairs_in(term)
    if len(term) < SHORTEST_TEXT and not pairs:
        return []
    known = Q(pairs__contains=pairs) if pairs else Q()
    rows = PostContent.objects.filter(known, search_text__icontains=term).order_by("-pk").only("notification_id")
    posts = list(rows[:MOST_FOUND])
    if len(posts) == MOST_FOUND and request.method == "GET":
        messages.info(
            request,
            f"Many posts have “{term}”: these are the newest {MOST_FOUND}. Type more of the text to find others.",
        )
    return posts


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    empty_text = (
        "No notifications yet. “Test notification” on a subscription’s page checks the whole way from Khoros to here."
    )
    list_display = ("at", "state_label", "posts_text", "listens_to", "event", "came", "why")
    list_display_links = ("at", "posts_text")
    quick_filter = "state__exact"
    list_filter = ("state", NotificationNeeds, "subscription", ReceivedFilter)
    list_select_related = ("subscription", "content")
    search_fields = ("reason",)
    search_help_text = "Search by post id (twitter:123), author, text or notification number"
    actions = ("route_again",)
    page_buttons = ("route_again",)
    ordering = ("-received_at", "-id")
    sortable_by = ()
    change_form_outer_after_template = "admin/integrations/notification_page.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "received_at",
                    "happened_at",
                    "source",
                    "state_text",
                    "subscription_link",
                    "event",
                    "repeated",
                )
            },
        ),
        ("Duplicate detection", {"fields": ("event_key_text",)}),
    )
    readonly_fields = ("state_text", "subscription_link", "event", "event_key_text", "repeated")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notification]:
        rows = super().get_queryset(request).defer("content__body", "content__headers")
        return rows.prefetch_related("posts")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Notification], search_term: str
    ) -> tuple[QuerySet[Notification], bool]:
        term = search_term.strip().removeprefix("#")
        if not term:
            return queryset, False
        return queryset.filter(pk__in=found_notifications(term, posts_with(term, request))), False

    @admin.display(description="Received")
    def at(self, notification: Notification) -> str:
        return _short_time(notification.received_at)

    @display(description="State", label=NOTIFICATION_COLOURS)
    def state_label(self, notification: Notification) -> tuple[str, str]:
        return notification.state, notification.get_state_display()

    @admin.display(description="Event")
    def event(self, notification: Notification) -> str:
        return notification.event_name or notification.subscription.event_name

    @admin.display(description="Event key")
    def event_key_text(self, notification: Notification) -> str:
        return notification.content.event_key if notification.has_content else f"hash {notification.event_key}"

    @admin.display(description="Posts")
    def posts_text(self, notification: Notification) -> str:
        lines = notification.summary.splitlines()
        more = [f"and {len(lines) - 2} more"] if len(lines) > 2 else []
        shown = [(shortened(line, 100),) for line in lines[:2] + more]
        return format_html_join(mark_safe("<br>"), "{}", shown) if shown else f"Notification {notification.pk}"

    @admin.display(description="Subscription")
    def listens_to(self, notification: Notification) -> str:
        return notification.subscription.listens_to

    @admin.display(description="Source")
    def came(self, notification: Notification) -> str:
        message = {"pushed": "Pushed", "caught_up": "Fetched", "test": "Test", "portal": "Casebridge itself"}[
            notification.source
        ]
        return f"{message}, received {notification.repeats + 1} times" if notification.repeats else message

    @admin.display(description="Why nothing was sent")
    def why(self, notification: Notification) -> str:
        return shortened(notification.reason, 140) or "–"

    @admin.display(description="State")
    def state_text(self, notification: Notification) -> str:
        return notification_state(notification)

    @admin.display(description="Subscription")
    def subscription_link(self, notification: Notification) -> str:
        subscription = notification.subscription
        if subscription.is_own:
            alarms = reverse("admin:integrations_alarm_changelist")
            return format_html('<a class="cb-link" href="{}">{}</a>', alarms, subscription)
        return _link("subscription", subscription.pk, subscription.listens_to)

    @admin.display(description="Repeats")
    def repeated(self, notification: Notification) -> str:
        if not notification.repeats:
            return "Received once."
        last = timestamp(notification.last_repeat_at)
        return f"Received {notification.repeats + 1} times, last at {last}. Stored once."

    def facts(self, request: HttpRequest, obj: Notification) -> dict[str, Any]:
        return notification_facts(obj)

    def buttons(self, request: HttpRequest, obj: Notification) -> list[str]:
        again = (Notification.State.UNMATCHED, Notification.State.UNREADABLE, Notification.State.MISSED)
        return list(self.page_buttons) if obj.state in again else []

    @admin.action(description="Process again", permissions=["operate"])
    def route_again(self, request: HttpRequest, queryset: QuerySet[Notification]) -> HttpResponse | None:
        done = route_again(queryset)
        return self.report(request, done, "{} queued to be processed again.", queryset, "route_again")


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    empty_text = "Nothing was sent yet. Each try of a delivery is noted here, with what was sent and what came back."
    list_display = ("at", "outcome_label", "delivery_link", "number", "status", "duration_ms", "short_meaning")
    list_filter = ("outcome", StartedFilter)
    list_select_related = ("delivery",)
    ordering = ("-started_at", "-id")
    sortable_by = ()
    fieldsets = (
        (None, {"fields": ("delivery_link", "number", "started_at", "finished_at", "outcome_text", "status")}),
        ("Result", {"fields": ("meaning", "detail", "duration_ms", "key_version")}),
        ("Calls", {"fields": ("calls",)}),
    )
    readonly_fields = (
        "delivery_link",
        "number",
        "started_at",
        "finished_at",
        "outcome_text",
        "status",
        "meaning",
        "detail",
        "duration_ms",
        "key_version",
        "calls",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        rows = super().get_queryset(request).defer("exchanges", "request")
        return rows.select_related("delivery")

    @admin.display(description="Started")
    def at(self, attempt: Attempt) -> str:
        return _short_time(attempt.started_at)

    @display(description="Outcome", label={"delivered": "success", "refused": "danger", "given_up": "danger"})
    def outcome_label(self, attempt: Attempt) -> tuple[str, str]:
        return attempt.outcome, outcome(attempt)

    @admin.display(description="Outcome")
    def outcome_text(self, attempt: Attempt) -> str:
        return outcome(attempt)

    @admin.display(description="Delivery")
    def delivery_link(self, attempt: Attempt) -> str:
        return _link("delivery", attempt.delivery_id, attempt.delivery.post_id)

    @admin.display(description="Meaning")
    def short_meaning(self, attempt: Attempt) -> str:
        return shortened(attempt.meaning, 140)

    @admin.display(description="Requests and responses")
    def calls(self, attempt: Attempt) -> str:
        return format_html_join("", '<pre class="cb-raw">{}</pre>', ((call(e),) for e in attempt.exchanges)) or "–"


def _group_row(group: FailureGroup, alarm: Alarm | None) -> dict[str, Any]:
    """A group of failures for its page, with links to the remedy and to the deliveries."""
    place = remedy_place(group.remedy_at, group.mapping)
    address, link_text, is_outside = place or ("", "", False)
    if place and not is_outside:
        row_id = group.mapping.pk if address == "mapping" else group.mapping.connection_id
        address = reverse(f"admin:integrations_{address}_change", args=[row_id])
    return {
        "cause": group,
        "alarm": alarm,
        "address": address,
        "where": link_text,
        "is_outside": is_outside,
        "list": failures_address(group),
    }


def _short_time(moment: datetime) -> str:
    local = in_zone(moment, timezone.get_current_timezone())
    day, hour = f"{local:%Y-%m-%d}", f"{local:%H:%M:%S}"
    return format_html('<span class="cb-time" title="{}">{}<br> <b>{}</b></span>', timestamp(moment), day, hour)


def _link(model: str, pk: int, message: str) -> str:
    address = reverse(f"admin:integrations_{model}_change", args=[pk])
    return format_html('<a class="cb-link" href="{}">{}</a>', address, message)
