"""Mappings: by which rules posts become tickets."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display

from integrations.admin.base import as_rows, destination_of_kind, themed
from integrations.admin.forms import DEFAULT_KIND, mapping_form_for, own_part_of
from integrations.admin.mapping_editing import MappingEditing, number_in, schema_description
from integrations.admin.recipes import BEGINNINGS, beginnings, initial_of_copy, initial_of_recipe, named_recipe
from integrations.connections import check_mapping
from integrations.delivery import intake_user_text
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import MappingFields
from integrations.destinations.capabilities import ChecksMappings
from integrations.domain.conditions import words_of
from integrations.domain.post import LABEL_APPLIED
from integrations.infra.text import article, shortened, timestamp
from integrations.mapping import example_preview, rules_of
from integrations.models import Connection, Mapping, RemoteObject, Subscription
from integrations.sources.registry import kind_of

MOST_CHOICES = 50


@admin.register(Mapping)
class MappingAdmin(MappingEditing):
    list_display = ("name", "subscription", "connection", "active", "fits", "conditions_text", "changed_at")
    # Workers write the other columns: what the account dropped, and warnings when its lists are read.
    owned = (
        "name",
        "subscription",
        "connection",
        "is_active",
        "follows",
        "without_first",
        "conditions",
        "settings",
        "warnings",
        "checked_at",
        "changed_at",
    )
    list_select_related = ("subscription__company", "connection")
    list_filter = ("is_active", "connection")
    handbook_part = "new"
    search_fields = ("name", "subscription__label", "connection__name")
    search_help_text = "Search by name, label or connection"
    actions = ("switch_off",)
    ordering = ("name",)

    readonly_fields = ("conditions_shown", "settings_text")
    change_form_outer_after_template = "admin/integrations/mapping_page.html"

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """It begins with a recipe, a copy, or empty; then a connection is chosen where these are of several kinds."""
        if request.method == "GET" and not any(name in request.GET for name in BEGINNINGS):
            return self._recipes_page(request)
        rows = list(Connection.objects.filter(is_active=True)[:MOST_CHOICES])
        is_clear = "kind" in request.GET or self.connection_id(request, None) is not None
        if is_clear or len({row.kind for row in rows}) < 2 or not self.has_add_permission(request):
            return super().add_view(request, form_url, extra_context)
        choices = [(f"connection={row.pk}", row.name, DESTINATIONS[row.kind].title) for row in rows]
        return self.choice_page(request, "Add mapping", "Which connection do the posts go to?", choices)

    def _recipes_page(self, request: HttpRequest) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        subscription = self._named_subscription(request)
        empty = request.GET.copy()
        empty["empty"] = "1"
        context = {"recipes": list(beginnings(subscription)), "empty": f"?{empty.urlencode()}"}
        return self.own_page(request, "admin/integrations/recipes.html", None, "Add mapping", **context)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        known = super().get_changeform_initial_data(request)
        copied = Mapping.objects.filter(pk=number_in(request.GET.get("copy", "")) or 0).first()
        if copied is not None:
            return known | initial_of_copy(copied)
        return initial_of_recipe(request.GET.get("recipe", ""), number_in(request.GET.get("subscription", ""))) | known

    def facts(self, request: HttpRequest, obj: Mapping) -> dict[str, Any]:
        return example_preview(obj)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj and not self.has_change_permission(request, obj):
            return super().get_form(request, obj, change=change, **kwargs)
        form = mapping_form_for(
            destination_of_kind(self._kind(request, obj)),
            self._event(request, obj),
            self.lists(request, obj),
            obj.settings if obj else {},
        )
        themed(form)
        kwargs["form"], kwargs["fields"] = form, None
        return self.bound_to_what_was_typed(super().get_form(request, obj, change=change, **kwargs), request)

    @staticmethod
    def _event(request: HttpRequest, obj: Mapping | None) -> str:
        """The event of the mapping's subscription; when adding, of the one named in the address."""
        if obj is not None:
            return obj.subscription.event_name
        named = number_in(request.GET.get("subscription", ""))
        subscription = Subscription.objects.filter(pk=named).first() if named is not None else None
        if subscription is not None:
            return subscription.event_name
        recipe = named_recipe(request.GET.get("recipe", ""))
        return recipe.event if recipe else ""

    def _kind(self, request: HttpRequest, obj: Mapping | None) -> str:
        """The kind of its connection; when adding, of the one that was chosen."""
        if obj is not None or "kind" in request.GET:
            return obj.connection.kind if obj else request.GET["kind"]
        chosen = self.connection_id(request, None)
        rows = Connection.objects.filter(is_active=True) if chosen is None else Connection.objects.filter(pk=chosen)
        kinds = set(rows.order_by().values_list("kind", flat=True).distinct())
        return kinds.pop() if len(kinds) == 1 else DEFAULT_KIND

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        general = ["name", "subscription", "connection", "is_active"]
        if obj and not self.has_change_permission(request, obj):
            return ((None, {"fields": [*general, "conditions_shown", "settings_text"]}),)
        destination = destination_of_kind(self._kind(request, obj))
        own_part = own_part_of(destination, self.lists(request, obj), obj.settings if obj else {})
        stored = obj.settings if obj else {}
        folded = [
            (title, {"fields": names, "classes": self._closed(own_part, names, stored), "description": description})
            for title, description, names in own_part.FOLDED
        ]
        sections = [
            (title, {"fields": names, "description": description}) for title, description, names in own_part.sections()
        ]
        inside = {name for _, _, names in (*own_part.FOLDED, *own_part.sections()) for name in names}
        own = [name for name in own_part.base_fields if name not in inside]
        read = schema_description(self.schema_text(request, obj))
        event = kind_of(self._event(request, obj) or LABEL_APPLIED)
        return (
            (None, {"fields": general}),
            (destination.thing.capitalize(), {"fields": own, "description": read}),
            *sections,
            *folded,
            ("After another", {"fields": ["follows", "without_first"], "classes": self._folded(request, obj)}),
            (
                "Conditions",
                {
                    "fields": ["conditions"],
                    "description": f"{event.title}. Without conditions, all posts of the subscription match.",
                },
            ),
        )

    @staticmethod
    def _closed(own_part: type[MappingFields], names: tuple[str, ...], stored: dict[str, Any]) -> list[str]:
        """Folded only where nothing in it differs from what a new mapping begins with."""
        usual = {name: own_part.base_fields[name].initial for name in names}
        is_set = any(stored.get(name) not in (None, "", [], False, "post", usual[name]) for name in names)
        return [] if is_set else ["collapse"]

    @staticmethod
    def _folded(request: HttpRequest, obj: Mapping | None) -> list[str]:
        """Folded only where nothing is set in it."""
        recipe = named_recipe(request.GET.get("recipe", ""))
        is_set = obj.follows_id is not None if obj else bool(recipe and recipe.after) or "copy" in request.GET
        return [] if is_set else ["collapse"]

    def uses(self, obj: Mapping) -> str:
        return "deliveries in the log refer to it" if obj.deliveries.exists() else ""

    @admin.display(description="Content")
    def settings_text(self, mapping: Mapping) -> str:
        return as_rows(mapping.settings)

    @admin.display(description="Conditions")
    def conditions_shown(self, mapping: Mapping) -> str:
        return words_of(mapping.conditions) or "None: every post of the subscription matches"

    @display(description="Active", boolean=True)
    def active(self, mapping: Mapping) -> bool:
        return mapping.is_active

    @admin.display(description="Conditions")
    def conditions_text(self, mapping: Mapping) -> str:
        return shortened(words_of(mapping.conditions), 120) or "all posts"

    @display(
        description="Account check", label={"fits": "success", "not": "danger", "unknown": "default", "none": "default"}
    )
    def fits(self, mapping: Mapping) -> tuple[str, str]:
        if not isinstance(DESTINATIONS[mapping.connection.kind], ChecksMappings):
            return "unknown", "–"
        if mapping.warnings:
            return "not", f"{len(mapping.warnings)} to fix"
        return ("fits", "OK") if mapping.checked_at else ("unknown", "Not checked")

    def save_model(self, request: HttpRequest, obj: Mapping, form: Any, change: bool) -> None:
        check_mapping(obj)
        before = Mapping.objects.select_related("connection").filter(pk=obj.pk).first()
        super().save_model(request, obj, form, change)
        if before is not None and rules_of(before).place != rules_of(obj).place:
            RemoteObject.end_cases(obj)
        transaction.on_commit(lambda: self._report_intake_user(request, obj), robust=True)

    def _report_intake_user(self, request: HttpRequest, mapping: Mapping) -> None:
        """Reports whether the intake user exists, before a ticket is refused because of it."""
        if found := intake_user_text(mapping):
            is_well, message = found
            self.message_user(request, message, messages.INFO if is_well else messages.WARNING)

    def notices(self, request: HttpRequest, obj: Mapping) -> list[tuple[str, str]]:
        found = [("warning", str(entry.get("message"))) for entry in obj.warnings]
        if obj.dropped:
            found.append(("warning", self._dropped_text(obj)))
        if obj.is_active and not obj.connection.is_active:
            things = f"{DESTINATIONS[obj.connection.kind].thing}s"
            message = f"The connection “{obj.connection}” is off, so this mapping creates no {things}."
            found.append(("warning", message))
        return found

    @staticmethod
    def _dropped_text(mapping: Mapping) -> str:
        since = " The mapping has changed since." if _was_changed_since(mapping) else ""
        destination, dropped = DESTINATIONS[mapping.connection.kind], mapping.dropped.rstrip(".")
        made = f"created {article(destination.thing)} {destination.thing} at {timestamp(mapping.dropped_at)}"
        message = format_html("{} {} but dropped part of it: {}.{}", destination.title, made, dropped, since)
        if mapping.dropped_on is None:
            return message
        address = reverse("admin:integrations_delivery_change", args=[mapping.dropped_on])
        return message + format_html(' <a class="cb-link" href="{}">Open the delivery</a>', address)

    def next_step(self, obj: Mapping) -> tuple[str, str]:
        return reverse("admin:integrations_mapping_change", args=[obj.pk]), f"try “{obj}” with a test"

    def links(self, request: HttpRequest, obj: Mapping) -> list[tuple[str, str]]:
        add = reverse("admin:integrations_mapping_add")
        copy = f"{add}?copy={obj.pk}&connection={obj.connection_id}&subscription={obj.subscription_id}"
        links = [(copy, "Copy")] if self.has_add_permission(request) else []
        return [*super().links(request, obj), *links, *self.hold_links(request, obj)]

    def buttons(self, request: HttpRequest, obj: Mapping) -> list[str]:
        return ["switch_off"] if obj.is_active else []


def _was_changed_since(mapping: Mapping) -> bool:
    return mapping.dropped_at is not None and mapping.changed_at > mapping.dropped_at
