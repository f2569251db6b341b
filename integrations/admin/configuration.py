"""What staff set up: companies, subscriptions, connections, mappings."""

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from unfold.decorators import display

from integrations import bootstrap, connections, pace, subscriptions, telling
from integrations.addresses import NoPublicAddress, webhook_url
from integrations.admin.base import PortalAdmin, note_action, themed
from integrations.destinations import DESTINATIONS, Destination
from integrations.encryption import Secret, UnreadableSecret
from integrations.forms import (
    DEFAULT_KIND,
    CompanyForm,
    ConditionsForm,
    SubscriptionForm,
    connection_form_for,
    mapping_form_for,
)
from integrations.models import Company, Connection, Mapping, Subscription
from integrations.queueing import REGISTER, SWEEP, publish

REGISTRATION_COLOURS = {
    "registered": "success",
    "waiting": "info",
    "refused": "danger",
    "unreachable": "warning",
    "not_possible": "warning",
}
ENVIRONMENT_DIFFERS = (
    "The environment holds another secret (or sign-in) than the one stored here. The stored one is used. Press "
    "“Take the secret from the environment” to use the other."
)


class ConfigurationAdmin(PortalAdmin):
    """Configuration that the log points at is never deleted; it can be switched off (`switch` names the field)."""

    switch = "is_active"
    # Columns that the form owns: saving leaves alone what workers write beside it.
    owned: tuple[str, ...] = ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.save(update_fields=self.owned if change and self.owned else None)

    def uses(self, obj: Any) -> str:
        """What keeps the object from being deleted, in words; empty when nothing does."""
        raise NotImplementedError

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Deleting is done on the object's own page, which can say what stands against it."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        obj = self.get_object(request, object_id)
        if obj is None or not self.has_delete_permission(request, obj) or not (uses := self.uses(obj)):
            return super().delete_view(request, object_id, extra_context)
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        status = 409 if request.method == "POST" else 200
        context = {
            **self.admin_site.each_context(request),
            "title": f"“{obj}” cannot be deleted",
            "opts": self.opts,
            "object": obj,
            "uses": uses,
            "can_switch_off": self.switch and getattr(obj, self.switch, False),
            "actions_url": reverse(f"admin:{name}_changelist"),
            "object_url": reverse(f"admin:{name}_change", args=[obj.pk]),
        }
        return TemplateResponse(request, "admin/integrations/cannot_delete.html", context, status=status)

    def has_change_action_permission(self, request: HttpRequest) -> bool:
        return self.has_change_permission(request)

    @admin.action(description="Switch off", permissions=["change_action"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        ids = list(queryset.filter(**{self.switch: True}).values_list("pk", flat=True))
        self.model._default_manager.filter(pk__in=ids).update(**{self.switch: False})
        self.after_switching(ids)
        note_action(request, self.model, ids, "switch_off")
        self.message_user(request, f"{len(ids)} switched off.", messages.SUCCESS)
        return self.back(request)

    def after_switching(self, ids: list[int]) -> None:
        """What has to follow, outside the request."""

    @admin.action(description="Take the secret from the environment", permissions=["change_action"])
    def take_secret_from_environment(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        taken = []
        for row in filter(bootstrap.environment_differs, queryset):
            bootstrap.take_from_environment(row)
            taken.append(row.pk)
        note_action(request, self.model, taken, "take_secret_from_environment")
        level = messages.SUCCESS if taken else messages.WARNING
        words = "The environment's secret is used from now on." if taken else "The environment holds no other secret."
        self.message_user(request, words, level)
        self.after_switching(taken)
        return self.back(request)

    def secret_words(self, secret: Secret, obj: Any) -> str:
        if not secret:
            return "not set"
        return "stored (encrypted, never shown)" if secret.is_readable else f"{UnreadableSecret.words}"

    def environment_notices(self, obj: Any) -> list[tuple[str, str]]:
        return [("warning", ENVIRONMENT_DIFFERS)] if bootstrap.environment_differs(obj) else []

    def environment_buttons(self, obj: Any) -> list[str]:
        return ["take_secret_from_environment"] if bootstrap.environment_differs(obj) else []


@admin.register(Company)
class CompanyAdmin(ConfigurationAdmin):
    form = CompanyForm
    owned = ("name", "company_id", "api_token")
    list_display = ("name", "company_id", "token_state", "checked_at", "warning_words")
    actions = ("take_secret_from_environment",)
    ordering = ("name",)
    switch = ""
    readonly_fields = ("token_state", "checked_at", "warning_words")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        may_change = obj is None or self.has_change_permission(request, obj)
        secret = ("new_api_token",) if may_change else ()
        found = ("token_state", "checked_at", "warning_words") if obj else ()
        return ((None, {"fields": ("name", "company_id", *secret, *found)}),)

    def uses(self, obj: Company) -> str:
        count = obj.subscriptions.count()
        return f"subscriptions belong to it ({count}); those can be switched off" if count else ""

    @admin.display(description="Stored API token")
    def token_state(self, company: Company) -> str:
        return self.secret_words(company.api_token, company)

    @admin.display(description="Khoros says")
    def warning_words(self, company: Company) -> str:
        return company.warning or ("the token is accepted" if company.checked_at else "not asked yet")

    def notices(self, request: HttpRequest, obj: Company) -> list[tuple[str, str]]:
        found = self.environment_notices(obj)
        if obj.api_token and not obj.api_token.is_readable:
            found.append(("error", f"The API token {UnreadableSecret.words}."))
        if obj.warning:
            found.append(("warning", obj.warning))
        return found

    def buttons(self, request: HttpRequest, obj: Company) -> list[str]:
        return self.environment_buttons(obj)

    def save_model(self, request: HttpRequest, obj: Company, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        _check_soon(list(obj.subscriptions.values_list("pk", flat=True)))

    def after_switching(self, ids: list[int]) -> None:
        _check_soon(list(Subscription.objects.filter(company__in=ids).values_list("pk", flat=True)))


@admin.register(Subscription)
class SubscriptionAdmin(ConfigurationAdmin):
    form = SubscriptionForm
    owned = (
        "company",
        "event_name",
        "match",
        "label",
        "is_active",
        "registration",
        "bearer_token",
        "previous_bearer_token",
        "previous_token_accepted_until",
    )
    list_display = ("listens_to", "company", "event_name", "receives", "registration_label", "checked_at", "others")
    list_display_links = ("listens_to",)
    list_select_related = ("company",)
    list_filter = ("registration", "company", "is_active")
    actions = ("check_now", "switch_off", "take_secret_from_environment")
    ordering = ("company__name", "label", "id")
    sortable_by = ()
    fieldsets = (
        (None, {"fields": ("company", "match", "label", "event_name", "is_active")}),
        (
            "At Khoros",
            {
                "fields": (
                    "registration_words",
                    "khoros_answer",
                    "address",
                    "khoros_uuid",
                    "khoros_status",
                    "checked_at",
                )
            },
        ),
        ("Here", {"fields": ("mappings_words", "new_bearer_token", "token_state")}),
    )
    readonly_fields = (
        "registration_words",
        "khoros_answer",
        "address",
        "khoros_uuid",
        "khoros_status",
        "checked_at",
        "mappings_words",
        "token_state",
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return (self.fieldsets[0], ("Here", {"fields": ("new_bearer_token",)}))
        if self.has_change_permission(request, obj):
            return self.fieldsets
        return (*self.fieldsets[:2], ("Here", {"fields": ("mappings_words", "token_state")}))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The company is fixed: under another one's token the feed at Khoros could no longer be changed."""
        return (*self.readonly_fields, "company") if obj else self.readonly_fields

    def uses(self, obj: Subscription) -> str:
        found = [
            (obj.notifications.exists(), "it has received notifications, and the log points at it"),
            (obj.mappings.exists(), "mappings belong to it"),
            (bool(obj.khoros_uuid), "it is registered at Khoros"),
        ]
        return "; ".join(words for holds, words in found if holds)

    @admin.display(description="Listens to", ordering="label")
    def listens_to(self, subscription: Subscription) -> str:
        return subscription.listens_to

    @display(description="Receives", boolean=True)
    def receives(self, subscription: Subscription) -> bool:
        return subscription.is_active

    @display(description="Registration", label=REGISTRATION_COLOURS)
    def registration_label(self, subscription: Subscription) -> tuple[str, str]:
        return subscription.registration, subscription.get_registration_display()

    @admin.display(description="Same label elsewhere")
    def others(self, subscription: Subscription) -> str:
        count = len(subscription.other_subscriptions)
        return f"{count}: every label would make two tickets" if count else "–"

    @admin.display(description="Registration")
    def registration_words(self, subscription: Subscription) -> str:
        checked = f", last checked {telling.moment(subscription.checked_at)}" if subscription.checked_at else ""
        return f"{subscription.get_registration_display()}{checked}."

    @admin.display(description="Khoros' own words")
    def khoros_answer(self, subscription: Subscription) -> str:
        return subscription.khoros_message or "–"

    @admin.display(description="Address Khoros calls")
    def address(self, subscription: Subscription) -> str:
        try:
            return webhook_url(subscription)
        except NoPublicAddress as error:
            return str(error)

    @admin.display(description="Mappings")
    def mappings_words(self, subscription: Subscription) -> str:
        names = [f"{mapping.name}{'' if mapping.is_active else ' (off)'}" for mapping in subscription.mappings.all()]
        return ", ".join(names) or "None yet: posts are kept but make no tickets."

    @admin.display(description="Stored bearer token")
    def token_state(self, subscription: Subscription) -> str:
        return self.secret_words(subscription.bearer_token, subscription)

    def notices(self, request: HttpRequest, obj: Subscription) -> list[tuple[str, str]]:
        found = self.environment_notices(obj)
        if not obj.bearer_token.is_readable:
            found.append(("error", f"The bearer token {UnreadableSecret.words}: calls from Khoros are answered 503."))
        for other in obj.other_subscriptions:
            found.append(("warning", _other_words(other)))
        if obj.company.warning:
            found.append(("warning", obj.company.warning))
        if obj.registration in (Subscription.Registration.REFUSED, Subscription.Registration.NOT_POSSIBLE):
            found.append(
                ("error" if obj.is_active else "info", f"{obj.get_registration_display()}: {obj.khoros_message}")
            )
        return found

    def buttons(self, request: HttpRequest, obj: Subscription) -> list[str]:
        return ["check_now", *(["switch_off"] if obj.is_active else []), *self.environment_buttons(obj)]

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: bool) -> None:
        obj.registration = Subscription.Registration.WAITING
        super().save_model(request, obj, form, change)
        if form.remark:
            self.message_user(request, form.remark, messages.WARNING)
        _check_soon([obj.pk])

    def after_switching(self, ids: list[int]) -> None:
        _check_soon(ids)

    @admin.action(description="Check at Khoros now", permissions=["change_action"])
    def check_now(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> HttpResponse | None:
        ids = list(queryset.values_list("pk", flat=True))
        _check_soon(ids)
        note_action(request, Subscription, ids, "check_now")
        self.message_user(request, "Khoros is being asked; reload the page in a few seconds.", messages.SUCCESS)
        return self.back(request)


def _destination(kind: str) -> Destination:
    if kind not in DESTINATIONS:
        raise Http404
    return DESTINATIONS[kind]


def _as_rows(values: dict[str, Any]) -> str:
    """Settings for people who may look but not change."""
    rows = [(name.replace("_", " "), str(value)) for name, value in values.items() if value not in ("", [], None)]
    return format_html_join(mark_safe("<br>"), "{}: {}", rows)


def _other_words(other: dict[str, str]) -> str:
    name = other.get("externalId") or other.get("uuid") or "without a name"
    status = other.get("status") or "of unknown status"
    return (
        f"At Khoros the subscription “{name}” ({status}) listens to the same label and sends to "
        f"{other.get('notificationUri') or 'no address'}: every label would make two tickets. "
        "If it is the old application, switch that off."
    )


def _check_soon(subscription_ids: list[int]) -> None:
    subscriptions.wish(subscription_ids)

    def queue() -> None:
        for subscription_id in subscription_ids:
            publish(REGISTER, subscription_id)

    transaction.on_commit(queue, robust=True)


@admin.register(Connection)
class ConnectionAdmin(ConfigurationAdmin):
    list_display = ("name", "kind_title", "account", "health_label", "pause_words")
    owned = (
        "name",
        "is_active",
        "look_up_before_create",
        "settings",
        "secrets",
        "access_token",
        "access_token_expires_at",
    )
    actions = ("pause", "resume", "switch_off", "take_secret_from_environment")
    list_filter = ("is_active",)
    ordering = ("name",)
    readonly_fields = ("health_words", "settings_words", "secrets_words")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj and not self.has_change_permission(request, obj):
            return super().get_form(request, obj, change=change, **kwargs)
        destination = _destination(obj.kind if obj else request.GET.get("kind", DEFAULT_KIND))
        form = connection_form_for(destination)
        themed(form)
        kwargs["form"], kwargs["fields"] = form, None
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        destination = _destination(obj.kind if obj else request.GET.get("kind", DEFAULT_KIND))
        if obj and not self.has_change_permission(request, obj):
            return ((None, {"fields": ["name", "is_active", "health_words", "settings_words", "secrets_words"]}),)
        own = list(destination.connection_form.base_fields)
        general = (None, {"fields": ["name", "is_active", *(["health_words"] if obj else [])]})
        account = (destination.title, {"fields": [*own, *(["secrets_words"] if obj else [])]})
        return (general, account, ("After a restore from backup", {"fields": ["look_up_before_create"]}))

    def uses(self, obj: Connection) -> str:
        found = [
            (obj.deliveries.exists(), "deliveries went there, and the log points at it"),
            (obj.mappings.exists(), "mappings use it"),
        ]
        return "; ".join(words for holds, words in found if holds)

    @admin.display(description="Kind")
    def kind_title(self, connection: Connection) -> str:
        return DESTINATIONS[connection.kind].title

    @admin.display(description="Account")
    def account(self, connection: Connection) -> str:
        return DESTINATIONS[connection.kind].origin(connection.settings)

    @display(description="Health", label={"open": "success", "paused": "danger", "off": "default"})
    def health_label(self, connection: Connection) -> tuple[str, str]:
        if not connection.is_active:
            return "off", "Switched off"
        return ("paused", "Paused") if connection.is_paused(timezone.now()) else ("open", "Sending")

    @admin.display(description="Why it is paused")
    def pause_words(self, connection: Connection) -> str:
        return telling.beginning(connection.pause_reason, 140) if connection.is_paused(timezone.now()) else "–"

    @admin.display(description="Health")
    def health_words(self, connection: Connection) -> str:
        if not connection.is_active:
            return "Switched off: nothing is sent."
        if not connection.is_paused(timezone.now()):
            return "Sending."
        until = connection.paused_until
        ends = f"goes on by itself at {telling.moment(until)}" if until else "waits for a person to resume it"
        return f"Paused since {telling.moment(connection.paused_at)}; {ends}. {connection.pause_reason}"

    @admin.display(description="Settings")
    def settings_words(self, connection: Connection) -> str:
        return _as_rows(connection.settings)

    @admin.display(description="Stored secrets")
    def secrets_words(self, connection: Connection) -> str:
        return self.secret_words(connection.secrets, connection)

    def notices(self, request: HttpRequest, obj: Connection) -> list[tuple[str, str]]:
        found = self.environment_notices(obj)
        if obj.secrets and not obj.secrets.is_readable:
            found.append(("error", f"The stored secrets {UnreadableSecret.words}."))
        if obj.is_active and obj.is_paused(timezone.now()):
            found.append(("error", self.health_words(obj)))
        if obj.settings.get("sign_in") == "api_token":
            found.append(("info", "Zendesk API tokens stop working on 30 April 2027: move to an OAuth client before."))
        return found

    def buttons(self, request: HttpRequest, obj: Connection) -> list[str]:
        paused = obj.is_paused(timezone.now())
        return [
            "resume" if paused else "pause",
            *(["switch_off"] if obj.is_active else []),
            *self.environment_buttons(obj),
        ]

    def save_model(self, request: HttpRequest, obj: Connection, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and form.signs_in_otherwise and obj.paused_at is not None and not obj.paused_by:
            self._resume_after_commit([obj.pk])
            self.message_user(request, "The connection was resumed, to try the new sign-in.", messages.SUCCESS)
        elif change and form.signs_in_otherwise:
            transaction.on_commit(lambda: pace.forget(obj.pk), robust=True)
        transaction.on_commit(lambda: publish(SWEEP), robust=True)

    @staticmethod
    def _resume_after_commit(ids: list[int]) -> None:
        def resume() -> None:
            connections.resume(Connection.objects.filter(pk__in=ids))

        transaction.on_commit(resume, robust=True)

    def after_switching(self, ids: list[int]) -> None:
        taken = list(Connection.objects.filter(pk__in=ids, is_active=True, paused_by="").values_list("pk", flat=True))
        if taken:
            self._resume_after_commit(taken)

    @admin.action(description="Pause: deliveries wait", permissions=["change_action"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponse | None:
        ids = list(queryset.values_list("pk", flat=True))
        reason = f"Paused by {request.user.get_username()}. Deliveries wait until it is resumed."
        connections.pause(Connection.objects.filter(pk__in=ids), reason, None, by=request.user.get_username())
        note_action(request, Connection, ids, "pause")
        self.message_user(request, f"{len(ids)} paused: what goes there waits.", messages.SUCCESS)
        return self.back(request)

    @admin.action(description="Resume: deliveries go on", permissions=["change_action"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponse | None:
        ids = list(queryset.values_list("pk", flat=True))
        connections.resume(Connection.objects.filter(pk__in=ids))
        note_action(request, Connection, ids, "resume")
        self.message_user(request, f"{len(ids)} resumed: what waited goes on now.", messages.SUCCESS)
        return self.back(request)


@admin.register(Mapping)
class MappingAdmin(ConfigurationAdmin):
    list_display = ("name", "subscription", "connection", "active", "conditions_words", "changed_at")
    list_select_related = ("subscription__company", "connection")
    list_filter = ("is_active", "connection")
    actions = ("switch_off",)
    ordering = ("name",)

    readonly_fields = ("conditions_shown", "settings_words")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj and not self.has_change_permission(request, obj):
            return super().get_form(request, obj, change=change, **kwargs)
        form = mapping_form_for(_destination(self._kind(request, obj)))
        themed(form)
        kwargs["form"], kwargs["fields"] = form, None
        return super().get_form(request, obj, change=change, **kwargs)

    @staticmethod
    def _kind(request: HttpRequest, obj: Mapping | None) -> str:
        return obj.connection.kind if obj else request.GET.get("kind", DEFAULT_KIND)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        general = ["name", "subscription", "connection", "is_active"]
        if obj and not self.has_change_permission(request, obj):
            return ((None, {"fields": [*general, "conditions_shown", "settings_words"]}),)
        destination = _destination(self._kind(request, obj))
        own = list(destination.mapping_form.base_fields)
        conditions = list(ConditionsForm.base_fields)
        return (
            (None, {"fields": general}),
            ("The ticket", {"fields": own}),
            (
                "Which posts",
                {"fields": conditions, "description": "Leave all of it empty to take every post of the subscription."},
            ),
        )

    def uses(self, obj: Mapping) -> str:
        return "it has made deliveries, and the log points at it" if obj.deliveries.exists() else ""

    @admin.display(description="The ticket")
    def settings_words(self, mapping: Mapping) -> str:
        return _as_rows(mapping.settings)

    @admin.display(description="Which posts")
    def conditions_shown(self, mapping: Mapping) -> str:
        return _as_rows(mapping.conditions) or "every post of the subscription"

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


admin.site.site_title = admin.site.site_header = "Casebridge"
admin.site.index_title = "Overview"
admin.site.enable_nav_sidebar = True
