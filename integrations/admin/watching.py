"""Alarms, and the record of what Casebridge changed and read at Khoros."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display

from integrations import alarms, feed_story, telling
from integrations.admin.base import ReadOnlyAdmin, note_action
from integrations.models import Alarm, CatchUp, Change


class OpenFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Open"), ("no", "Over")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alarm]) -> QuerySet[Alarm]:
        if self.value() is None:
            return queryset
        return queryset.filter(ended_at__isnull=self.value() == "yes")


@admin.register(Alarm)
class AlarmAdmin(ReadOnlyAdmin):
    list_display = ("state_label", "kind", "short_words", "raised", "ended", "seen")
    list_display_links = ("short_words",)
    list_filter = (OpenFilter, "kind")
    list_select_related = ("subscription", "company", "connection", "mapping")
    actions = ("mark_seen",)
    page_buttons = ("mark_seen",)
    ordering = ("-raised_at", "-id")
    sortable_by = ()
    fieldsets = ((None, {"fields": ("kind", "words", "about", "raised", "ended", "seen", "mail")}),)
    readonly_fields = ("about", "raised", "ended", "seen", "mail")

    @display(description="State", label={"open": "danger", "seen": "warning", "over": "success"})
    def state_label(self, alarm: Alarm) -> tuple[str, str]:
        if alarm.ended_at:
            return "over", "Over"
        return ("seen", "Open, seen") if alarm.seen_at else ("open", "Open")

    @admin.display(description="What")
    def short_words(self, alarm: Alarm) -> str:
        return telling.beginning(alarm.words, 160)

    @admin.display(description="About")
    def about(self, alarm: Alarm) -> str:
        kind, row_id = alarms.subject_of(alarm)
        address = reverse(f"admin:integrations_{kind}_change", args=[row_id])
        return format_html('<a class="cb-link" href="{}">{}</a>', address, getattr(alarm, kind))

    @admin.display(description="Raised (UTC)")
    def raised(self, alarm: Alarm) -> str:
        return telling.moment(alarm.raised_at)

    @admin.display(description="Over since")
    def ended(self, alarm: Alarm) -> str:
        return telling.moment(alarm.ended_at)

    @admin.display(description="Seen by")
    def seen(self, alarm: Alarm) -> str:
        return f"{alarm.seen_by}, {telling.moment(alarm.seen_at)}" if alarm.seen_at else "nobody yet"

    @admin.display(description="Mail")
    def mail(self, alarm: Alarm) -> str:
        if alarm.mailed_at:
            return f"Sent {telling.moment(alarm.mailed_at)}."
        if not alarms.can_mail():
            return "None: no addresses are set (ALERT_EMAILS)."
        return f"Not sent: {alarm.mail_problem}" if alarm.mail_problem else "Not sent yet."

    def buttons(self, request: HttpRequest, obj: Alarm) -> list[str]:
        return list(self.page_buttons) if obj.ended_at is None and obj.seen_at is None else []

    @admin.action(description="Seen: somebody looks after it", permissions=["operate"])
    def mark_seen(self, request: HttpRequest, queryset: QuerySet[Alarm]) -> HttpResponse | None:
        ids = list(queryset.filter(ended_at__isnull=True, seen_at__isnull=True).values_list("pk", flat=True))
        Alarm.objects.filter(pk__in=ids).update(seen_by=request.user.get_username(), seen_at=Now())
        note_action(request, Alarm, ids, "mark_seen")
        self.message_user(request, f"{len(ids)} marked as seen. An alarm ends by itself when its cause does.")
        return self.back(request)


@admin.register(Change)
class ChangeAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "action", "subscription", "who", "because", "end")
    list_filter = ("action", "company")
    list_select_related = ("subscription", "company")
    ordering = ("-started_at", "-id")
    sortable_by = ()
    list_after_template = None
    fields = ("started_at", "action", "company", "subscription", "khoros_uuid", "because", "who", "end", "words")
    readonly_fields = ("who", "end")

    @admin.display(description="By")
    def who(self, change: Change) -> str:
        return change.by or "Casebridge, at its regular check"

    @admin.display(description="Done")
    def end(self, change: Change) -> str:
        if change.is_done:
            return "yes"
        return "no" if change.finished_at else "did not end: its process died"


@admin.register(CatchUp)
class CatchUpAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "subscription", "mode", "state_label", "read", "known", "new", "unreadable", "who")
    list_filter = ("state", "mode", "subscription")
    list_select_related = ("subscription",)
    ordering = ("-started_at", "-id")
    sortable_by = ()
    list_after_template = None
    fields = (
        "subscription", "mode", "state", "who", "started_at", "finished_at", "pages", "read", "known", "new",
        "unreadable", "missing", "in_words",
    )  # fmt: skip
    readonly_fields = ("who", "in_words")

    @display(description="State", label={"done": "success", "failed": "danger", "running": "info", "waiting": "info"})
    def state_label(self, run: CatchUp) -> tuple[str, str]:
        return run.state, run.get_state_display()

    @admin.display(description="Asked for by")
    def who(self, run: CatchUp) -> str:
        return run.asked_by or "by itself"

    @admin.display(description="In words")
    def in_words(self, run: CatchUp) -> str:
        return str(feed_story.run_words(run)["words"])
