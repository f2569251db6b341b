"""Alarms."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display

from integrations.admin.base import ReadOnlyAdmin, note_action
from integrations.infra.text import shortened, timestamp
from integrations.models import Alarm
from integrations.operations import alarm_subject, can_mail


class OpenFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Open"), ("no", "Resolved")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alarm]) -> QuerySet[Alarm]:
        if self.value() is None:
            return queryset
        return queryset.filter(ended_at__isnull=self.value() == "yes")


@admin.register(Alarm)
class AlarmAdmin(ReadOnlyAdmin):
    list_display = ("state_label", "kind", "short_text", "raised", "ended", "seen")
    list_display_links = ("short_text",)
    list_filter = (OpenFilter, "kind")
    list_select_related = ("subscription", "company", "connection", "mapping")
    actions = ("acknowledge",)
    page_buttons = ("acknowledge",)
    ordering = ("-raised_at", "-id")
    sortable_by = ()
    fieldsets = ((None, {"fields": ("kind", "message", "about", "raised", "ended", "seen", "mail")}),)
    readonly_fields = ("about", "raised", "ended", "seen", "mail")

    @display(description="State", label={"open": "danger", "seen": "warning", "over": "success"})
    def state_label(self, alarm: Alarm) -> tuple[str, str]:
        if alarm.ended_at:
            return "over", "Resolved"
        return ("seen", "Acknowledged") if alarm.acknowledged_at else ("open", "Open")

    @admin.display(description="Message")
    def short_text(self, alarm: Alarm) -> str:
        return shortened(alarm.message, 160)

    @admin.display(description="Concerns")
    def about(self, alarm: Alarm) -> str:
        subject = alarm_subject(alarm)
        if subject is None:
            return "This installation"
        kind, row_id = subject
        address = reverse(f"admin:integrations_{kind}_change", args=[row_id])
        return format_html('<a class="cb-link" href="{}">{}</a>', address, getattr(alarm, kind))

    @admin.display(description="Raised at")
    def raised(self, alarm: Alarm) -> str:
        return timestamp(alarm.raised_at)

    @admin.display(description="Resolved at")
    def ended(self, alarm: Alarm) -> str:
        return timestamp(alarm.ended_at)

    @admin.display(description="Acknowledged by")
    def seen(self, alarm: Alarm) -> str:
        return f"{alarm.acknowledged_by}, {timestamp(alarm.acknowledged_at)}" if alarm.acknowledged_at else "Nobody yet"

    @admin.display(description="Email")
    def mail(self, alarm: Alarm) -> str:
        if alarm.mailed_at:
            return f"Sent {timestamp(alarm.mailed_at)}."
        if not can_mail():
            return "Not sent: no recipients are set (ALERT_EMAILS)."
        return f"Not sent: {alarm.mail_problem}" if alarm.mail_problem else "Not sent yet."

    def buttons(self, request: HttpRequest, obj: Alarm) -> list[str]:
        return list(self.page_buttons) if obj.ended_at is None and obj.acknowledged_at is None else []

    @admin.action(description="Acknowledge", permissions=["operate"])
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Alarm]) -> HttpResponse | None:
        ids = list(queryset.filter(ended_at__isnull=True, acknowledged_at__isnull=True).values_list("pk", flat=True))
        Alarm.objects.filter(pk__in=ids).update(acknowledged_by=request.user.get_username(), acknowledged_at=Now())
        note_action(request, Alarm, ids, "acknowledge")
        self.message_user(
            request, f"{len(ids)} acknowledged. An alarm is resolved automatically once its cause is gone."
        )
        return self.back(request)
