"""Alarms."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from unfold.decorators import display

from integrations.admin.base import PageHead, ReadOnlyAdmin, note_action
from integrations.admin.needs import AlarmNeeds
from integrations.infra import database_clock
from integrations.infra.text import shortened, timestamp
from integrations.models import Alarm
from integrations.operations import mappings_of_alarms, portal_subscription, told_of

COLOURS = {"open": "danger", "seen": "warning", "rests": "info", "over": "success"}
DONE = {"take": "Taken", "give_back": "Given back", "save": "Saved"}


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
    empty_text = (
        "No alarm was raised yet. One appears here when something needs a person, and ends when its cause is gone."
    )
    list_display = ("state_label", "kind", "short_text", "raised", "ended", "seen")
    list_display_links = ("short_text",)
    list_filter = (OpenFilter, AlarmNeeds, "kind")
    list_select_related = ("subscription", "company", "connection", "mapping")
    actions = ("acknowledge",)
    quick_filter = OpenFilter.parameter_name
    list_before_template = "admin/integrations/alarms_before.html"
    # Who takes care comes before the details.
    change_form_outer_before_template = "admin/integrations/alarm_page.html"
    ordering = ("-raised_at", "-id")
    sortable_by = ()
    fieldsets = ((None, {"fields": ("about", "raised", "ended", "seen", "mail")}),)
    readonly_fields = ("about", "raised", "ended", "seen", "mail")

    @display(description="State", label=COLOURS)
    def state_label(self, alarm: Alarm) -> tuple[str, str]:
        if alarm.ended_at:
            return "over", "Resolved"
        if alarm.snoozed_until and alarm.snoozed_until > database_clock.now():
            return "rests", "Snoozed"
        return ("seen", "Taken") if alarm.acknowledged_at else ("open", "Open")

    @admin.display(description="Message")
    def short_text(self, alarm: Alarm) -> str:
        return shortened(alarm.message, 160)

    @admin.display(description="Concerns")
    def about(self, alarm: Alarm) -> str:
        subject = alarm.subject
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

    @admin.display(description="Taken by")
    def seen(self, alarm: Alarm) -> str:
        return f"{alarm.acknowledged_by}, {timestamp(alarm.acknowledged_at)}" if alarm.acknowledged_at else "Nobody yet"

    @admin.display(description="Email")
    def mail(self, alarm: Alarm) -> str:
        if alarm.mailed_at:
            return f"Sent {timestamp(alarm.mailed_at)}."
        if not settings.ALERT_EMAILS:
            return "Not sent: no recipients are set (ALERT_EMAILS)."
        return f"Not sent: {alarm.mail_problem}" if alarm.mail_problem else "Not sent yet."

    def head(self, request: HttpRequest, obj: Alarm) -> PageHead:
        """What it is about, who takes care of it, and where something can be done."""
        state, word = self.state_label(obj)
        links = ((obj.place_of_repair, "Go to the problem", False),)
        return PageHead(COLOURS[state], word, f"{obj.get_kind_display()}: {obj.message}", links)

    def facts(self, request: HttpRequest, obj: Alarm) -> dict[str, Any]:
        told = [(delivery, delivery.get_state_display()) for delivery in told_of(obj)]
        return {"alarm": obj, "told": told, "snoozes": Alarm.SNOOZES, "may": self.has_operate_permission(request)}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        told: dict[str, Any] = {"told": mappings_of_alarms(), "can_mail": bool(settings.ALERT_EMAILS)}
        if request.user.has_perm("integrations.add_mapping"):
            told["add"] = f"{reverse('admin:integrations_mapping_add')}?subscription={portal_subscription().pk}"
        return super().changelist_view(request, told | (extra_context or {}))

    def get_urls(self) -> list[Any]:
        care = self.admin_site.admin_view(self.care_view)
        return [path("<int:pk>/care/", care, name="integrations_alarm_care"), *super().get_urls()]

    def care_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Takes it, gives it back, notes or snoozes: what was pressed is `do`."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_operate_permission(request):
            raise PermissionDenied
        alarm = get_object_or_404(Alarm, pk=pk)
        row = Alarm.objects.filter(pk=pk)
        pressed, hours = request.POST.get("do", ""), request.POST.get("hours", "")
        done = DONE.get(pressed, "")
        if pressed == "take" and not row.take(request.user.get_username()):
            messages.warning(request, "Somebody has it already, or it is resolved. Reload the page to see who.")
            done = ""
        elif pressed == "give_back":
            row.give_back()
        elif pressed == "save":
            row.write_note(request.POST.get("note", ""))
            if hours.isdecimal() and len(hours) < 4 and int(hours) in Alarm.SNOOZES:
                row.snooze(int(hours))
        if done:
            note_action(request, Alarm, [alarm.pk], done)
            messages.success(request, f"{done}.")
        elif pressed not in DONE:
            messages.warning(request, "Nothing changed.")
        back = request.POST.get("back", "")
        is_ours = url_has_allowed_host_and_scheme(back, allowed_hosts=None)
        return HttpResponseRedirect(back if is_ours else reverse("admin:integrations_alarm_change", args=[pk]))

    @admin.action(description="Take", permissions=["operate"])
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Alarm]) -> HttpResponse | None:
        ids = list(queryset.filter(ended_at__isnull=True, acknowledged_at__isnull=True).values_list("pk", flat=True))
        Alarm.objects.filter(pk__in=ids).take(request.user.get_username())
        note_action(request, Alarm, ids, "Taken")
        self.message_user(request, f"{len(ids)} taken. An alarm is resolved automatically once its cause is gone.")
        return self.back(request)
