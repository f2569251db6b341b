"""Mappings: by which rules posts become tickets."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display

from integrations import preview
from integrations.admin.base import ConfigurationAdmin, as_rows, destination_of_kind, themed
from integrations.forms import DEFAULT_KIND, ConditionsForm, mapping_form_for
from integrations.models import Mapping, Subscription
from integrations.models.configuration import LABEL_APPLIED
from integrations.sources.khoros.events import kind_of


@admin.register(Mapping)
class MappingAdmin(ConfigurationAdmin):
    list_display = ("name", "subscription", "connection", "active", "conditions_words", "changed_at")
    list_select_related = ("subscription__company", "connection")
    list_filter = ("is_active", "connection")
    actions = ("switch_off",)
    ordering = ("name",)

    readonly_fields = ("conditions_shown", "settings_words")
    change_form_outer_after_template = "admin/integrations/mapping_story.html"

    def story(self, request: HttpRequest, obj: Mapping) -> dict[str, Any]:
        return preview.example_ticket(obj)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj and not self.has_change_permission(request, obj):
            return super().get_form(request, obj, change=change, **kwargs)
        form = mapping_form_for(destination_of_kind(self._kind(request, obj)), self._event(request, obj))
        themed(form)
        kwargs["form"], kwargs["fields"] = form, None
        return super().get_form(request, obj, change=change, **kwargs)

    @staticmethod
    def _event(request: HttpRequest, obj: Mapping | None) -> str:
        """Of the mapping's feed; when adding, of the feed that the address names."""
        if obj is not None:
            return obj.subscription.event_name
        named = request.GET.get("subscription", "")
        feed = Subscription.objects.filter(pk=int(named)).first() if named.isdecimal() and len(named) < 18 else None
        return feed.event_name if feed else ""

    @staticmethod
    def _kind(request: HttpRequest, obj: Mapping | None) -> str:
        return obj.connection.kind if obj else request.GET.get("kind", DEFAULT_KIND)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        general = ["name", "subscription", "connection", "is_active"]
        if obj and not self.has_change_permission(request, obj):
            return ((None, {"fields": [*general, "conditions_shown", "settings_words"]}),)
        destination = destination_of_kind(self._kind(request, obj))
        own = list(destination.mapping_form.base_fields)
        event = kind_of(self._event(request, obj) or LABEL_APPLIED)
        conditions = [name for name in ConditionsForm.base_fields if name in event.conditions]
        return (
            (None, {"fields": general}),
            ("The ticket", {"fields": own}),
            (
                "Which posts",
                {
                    "fields": conditions,
                    "description": f"{event.title}. Leave all of it empty to take every one of the subscription.",
                },
            ),
        )

    def uses(self, obj: Mapping) -> str:
        return "it has made deliveries, and the log points at it" if obj.deliveries.exists() else ""

    @admin.display(description="The ticket")
    def settings_words(self, mapping: Mapping) -> str:
        return as_rows(mapping.settings)

    @admin.display(description="Which posts")
    def conditions_shown(self, mapping: Mapping) -> str:
        return as_rows(mapping.conditions) or "every post of the subscription"

    @display(description="Active", boolean=True)
    def active(self, mapping: Mapping) -> bool:
        return mapping.is_active

    @admin.display(description="Which posts")
    def conditions_words(self, mapping: Mapping) -> str:
        return ", ".join(name.replace("_", " ") for name in mapping.conditions) or "all"

    def notices(self, request: HttpRequest, obj: Mapping) -> list[tuple[str, str]]:
        if not obj.is_active or obj.connection.is_active:
            return []
        return [("warning", f"The connection “{obj.connection}” is switched off: this mapping makes no tickets.")]

    def buttons(self, request: HttpRequest, obj: Mapping) -> list[str]:
        return ["switch_off"] if obj.is_active else []
