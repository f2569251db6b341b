"""Holding a flood of posts under one ticket, and releasing it."""

import uuid
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from unfold.decorators import display

from integrations.admin.base import ConfigurationAdmin, ReadOnlyAdmin, note_action
from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import HoldsFloods
from integrations.infra.text import storable, timestamp
from integrations.models import Delivery, FloodHold, Mapping
from integrations.routing import NotHeld, hold_flood, release_flood


class HoldingAdmin(ConfigurationAdmin):
    """The part of a mapping's admin that holds a flood under one ticket, on confirmation."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.hold_page)
        return [path("<int:object_id>/hold/", view, name="integrations_mapping_hold"), *super().get_urls()]

    def hold_links(self, request: HttpRequest, obj: Mapping) -> list[tuple[str, str]]:
        destination = DESTINATIONS[obj.connection.kind]
        if not isinstance(destination, HoldsFloods) or not self.has_change_permission(request, obj):
            return []
        if open_one := FloodHold.objects.filter(mapping=obj, ended_at__isnull=True).first():
            address = reverse("admin:integrations_floodhold_change", args=[open_one.pk])
            return [(address, f"Posts held under {destination.thing} {open_one.number}")]
        return [
            (
                reverse("admin:integrations_mapping_hold", args=[obj.pk]),
                f"Hold this flood under one {destination.thing}",
            )
        ]

    def hold_page(self, request: HttpRequest, object_id: int) -> HttpResponse:
        mapping = self.permitted_object(request, object_id, to_change=True)
        destination = DESTINATIONS[mapping.connection.kind]
        if not isinstance(destination, HoldsFloods):
            raise Http404
        waiting = Delivery.objects.filter(mapping=mapping).count_live()
        thing = destination.thing
        context: dict[str, Any] = {
            "waiting": waiting,
            "thing": thing,
            "uuid": str(uuid.uuid4()),
            "subject": f"Flood: {waiting} post{'' if waiting == 1 else 's'} labelled {mapping.subscription.listens_to}",
            "text": f"Posts labelled {mapping.subscription.listens_to} are held in Casebridge under this {thing}.",
            "open_hold": FloodHold.objects.filter(mapping=mapping, ended_at__isnull=True).first(),
        }
        if request.method == "POST":
            typed = {name: storable(request.POST.get(name, "")).strip() for name in ("uuid", "title", "text")}
            context |= {"uuid": typed["uuid"], "subject": typed["title"], "text": typed["text"]}
            try:
                flood_hold = self._hold(mapping, typed, request.user.get_username())
            except NotHeld as why:
                context["problem"] = str(why)
                if not why.may_exist:
                    # A refused ticket's key is used up: another text needs another one.
                    context["uuid"] = str(uuid.uuid4())
            else:
                note_action(request, Mapping, [mapping.pk], "hold")
                self.message_user(request, f"Posts are now held under {thing} {flood_hold.number}.", messages.SUCCESS)
                return HttpResponseRedirect(reverse("admin:integrations_floodhold_change", args=[flood_hold.pk]))
        title = f"Hold a flood: {mapping}"
        return self.own_page(request, "admin/integrations/hold_flood.html", mapping, title, **context)

    @staticmethod
    def _hold(mapping: Mapping, typed: dict[str, str], by: str) -> FloodHold:
        if not typed["title"] or not typed["text"]:
            raise NotHeld("Enter a subject and a first comment.")
        try:
            uuid.UUID(typed["uuid"])
        except ValueError:
            raise NotHeld("This page was out of date. Try again.") from None
        return hold_flood(mapping, typed["uuid"], typed["title"], typed["text"], by)


@admin.register(FloodHold)
class FloodHoldAdmin(ReadOnlyAdmin):
    empty_text = "No flood was held yet. “Hold this flood” on a mapping’s page gathers many posts under one ticket."
    list_display = ("opened_at", "mapping", "state_label", "ticket", "held_count", "opened_by")
    list_select_related = ("mapping",)
    actions = ("release",)
    page_buttons = ("release",)
    ordering = ("-opened_at", "-id")
    sortable_by = ()
    list_after_template = None
    fieldsets = ((None, {"fields": ("state_text", "mapping", "ticket", "held_text")}),)
    readonly_fields = ("state_text", "ticket", "held_text")

    def get_queryset(self, request: HttpRequest) -> QuerySet[FloodHold]:
        held = Count("deliveries", filter=Q(deliveries__state="held"))
        return super().get_queryset(request).annotate(held=held)

    @display(description="State", label={"open": "danger", "over": "success"})
    def state_label(self, flood_hold: FloodHold) -> tuple[str, str]:
        return ("open", "Holding") if flood_hold.ended_at is None else ("over", "Released")

    @admin.display(description="Held posts")
    def held_count(self, flood_hold: FloodHold) -> int:
        return int(getattr(flood_hold, "held", 0))

    @admin.display(description="State")
    def state_text(self, flood_hold: FloodHold) -> str:
        opened = f"Started by {flood_hold.opened_by} at {timestamp(flood_hold.opened_at)}."
        if flood_hold.ended_at is None:
            return f"{opened} Posts are held until someone releases them."
        return f"{opened} Released by {flood_hold.ended_by} at {timestamp(flood_hold.ended_at)}."

    @admin.display(description="Held under")
    def ticket(self, flood_hold: FloodHold) -> str:
        link = '<a class="cb-link" href="{}" target="_blank" rel="noopener">{}</a>'
        return format_html(link, flood_hold.url, flood_hold.number) if flood_hold.url else flood_hold.number

    @admin.display(description="Held posts")
    def held_text(self, flood_hold: FloodHold) -> str:
        address = f"{reverse('admin:integrations_delivery_changelist')}?state__exact=held&mapping__id__exact="
        message = f"{self.held_count(flood_hold):,} held."
        return format_html('{} <a class="cb-link" href="{}{}">Show them</a>', message, address, flood_hold.mapping_id)

    def buttons(self, request: HttpRequest, obj: FloodHold) -> list[str]:
        return list(self.page_buttons) if obj.ended_at is None else []

    @admin.action(description="Release (each post is sent on its own)", permissions=["operate"])
    def release(self, request: HttpRequest, queryset: QuerySet[FloodHold]) -> HttpResponse | None:
        chosen = [row for row in queryset.select_related("mapping") if row.ended_at is None]
        released = sum(release_flood(row, request.user.get_username()) for row in chosen)
        note_action(request, FloodHold, [row.pk for row in chosen], "release")
        self.message_user(
            request,
            f"{released} post{'' if released == 1 else 's'} released: each is sent on its own.",
            messages.SUCCESS,
        )
        return self.back(request)
