"""Accounts that deliveries go to."""

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import display

from integrations.admin.base import as_rows, destination_of_kind, note_action, themed
from integrations.admin.forms import DEFAULT_KIND, connection_form_for
from integrations.admin.guide import is_guided
from integrations.admin.needs import ConnectionNeeds
from integrations.admin.sign_in import SignInAdmin
from integrations.admin.text.connection import COLOURS, condition, lacks_consent
from integrations.admin.ticket_status import StatusPageMixin
from integrations.connections import forget_account, request_lists
from integrations.destinations import DESTINATIONS, Destination
from integrations.destinations.capabilities import FindsByExternalId, HasLimits, IssuesSecret, TakesMany, keeps_here
from integrations.flow import (
    backlog_texts,
    close_circuit,
    forget_limits,
    limit_text,
    pause_connections,
    resume_connections,
)
from integrations.infra import database_clock
from integrations.infra.queue import SWEEP, publish
from integrations.infra.text import article, shortened, timestamp
from integrations.models import Connection, Delivery, Wall
from integrations.sign_in import issue_first_secret, issue_secret, unreadable_secrets

# Made with the place that their posts go to.
KEPT_HERE = [kind for kind, destination in DESTINATIONS.items() if keeps_here(destination)]


@admin.register(Connection)
class ConnectionAdmin(StatusPageMixin, SignInAdmin):
    list_display = ("name", "kind_title", "account", "sign_in_text", "health_label", "pause_text")
    owned = (
        "name",
        "is_active",
        "limit_share",
        "backlog_minutes",
        "look_up_before_create",
        "retry_delays",
        "settings",
        "secrets",
    )
    actions = (
        "test_connection",
        "pause",
        "resume",
        "close_breaker",
        "breaker_off",
        "breaker_on",
        "switch_off",
        "new_secret",
        "take_secret_from_environment",
    )
    list_filter = ("is_active", ConnectionNeeds)
    ordering = ("name",)
    readonly_fields = (
        "health_text",
        "queue_text",
        "limit_text",
        "breaker_text",
        "settings_text",
        "secrets_text",
        "redirect_url_text",
    )

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The kind is chosen first, as each has a form of its own."""
        if request.GET.get("kind") in KEPT_HERE:
            return HttpResponseRedirect(reverse("admin:integrations_wall_add"))
        if "kind" in request.GET or request.method == "POST" or not self.has_add_permission(request):
            return super().add_view(request, form_url, extra_context)
        choices = [
            (f"kind={kind}", destination.title, f"Each post becomes {article(destination.thing)} {destination.thing}.")
            for kind, destination in DESTINATIONS.items()
        ]
        return self.choice_page(request, "Add connection", "Where do posts go?", choices)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """In the guide a connection is called like its kind, until somebody knows better."""
        known = dict(super().get_changeform_initial_data(request))
        kind = request.GET.get("kind", DEFAULT_KIND)
        return {"name": DESTINATIONS[kind].title, **known} if is_guided(request) and kind in DESTINATIONS else known

    def part_of_handbook(self, request: HttpRequest) -> str:
        kind = request.GET.get("kind", DEFAULT_KIND)
        return kind if kind in DESTINATIONS else ""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        """Locked while its form is saved: address, secrets and tokens of two people's saves must never mix."""
        rows: QuerySet[Connection] = super().get_queryset(request)
        is_saving = request.method == "POST" and transaction.get_connection().in_atomic_block
        return rows.select_for_update() if is_saving else rows

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj and not self.has_change_permission(request, obj):
            return super().get_form(request, obj, change=change, **kwargs)
        destination = destination_of_kind(obj.kind if obj else request.GET.get("kind", DEFAULT_KIND))
        form = connection_form_for(destination)
        themed(form)
        kwargs["form"], kwargs["fields"] = form, None
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        destination = destination_of_kind(obj.kind if obj else request.GET.get("kind", DEFAULT_KIND))
        if obj and not self.has_change_permission(request, obj):
            seen = ["limit_text", "queue_text", "breaker_text"]
            shown = [name for name in self._sending_fields(destination, obj) if name in seen]
            fields = ["name", "is_active", "health_text", *shown, "settings_text", "secrets_text"]
            return ((None, {"fields": [*fields, *self.sign_in_fields(destination, obj)]}),)
        own = list(destination.connection_form.base_fields)
        general = (None, {"fields": ["name", "is_active", *(["health_text"] if obj else [])]})
        if obj and keeps_here(destination):
            return general, ("Sending", {"fields": self._sending_fields(destination, obj)})
        account = (
            destination.title,
            {"fields": [*own, *(["secrets_text"] if obj else []), *self.sign_in_fields(destination, obj)]},
        )
        # What has a good value already is folded while a new one is filled in.
        classes = [] if obj else ["collapse"]
        sending = ("Sending", {"fields": self._sending_fields(destination, obj), "classes": classes})
        return general, account, sending

    @staticmethod
    def _sending_fields(destination: Destination, obj: Connection | None) -> list[str]:
        """Only what this kind can do."""
        fields = ["retry_schedule"]
        fields += ["limit_share"] if isinstance(destination, HasLimits) else []
        fields += ["backlog_minutes"] if isinstance(destination, TakesMany) else []
        fields += ["look_up_before_create"] if isinstance(destination, FindsByExternalId) else []
        if obj is None:
            return fields
        return [*fields, *(["limit_text"] if isinstance(destination, HasLimits) else []), "queue_text", "breaker_text"]

    def next_step(self, obj: Connection) -> tuple[str, str]:
        if lacks_consent(obj):
            title = DESTINATIONS[obj.kind].title
            return reverse("admin:integrations_connection_change", args=[obj.pk]), f"connect to {title} on its page"
        return reverse("admin:integrations_mapping_add"), "add a mapping that uses it"

    def uses(self, obj: Connection) -> str:
        uses = [
            (obj.deliveries.exists(), "deliveries in the log refer to it"),
            (obj.mappings.exists(), "mappings use it"),
        ]
        return "; ".join(use for holds, use in uses if holds)

    @admin.display(description="Kind")
    def kind_title(self, connection: Connection) -> str:
        return DESTINATIONS[connection.kind].title

    @admin.display(description="Account")
    def account(self, connection: Connection) -> str:
        return DESTINATIONS[connection.kind].origin(connection.settings)

    @admin.display(description="Queue")
    def queue_text(self, connection: Connection) -> str:
        held = " There is a backlog: new posts are sent in batches." if connection.backlog_since else ""
        return f"{backlog_texts([connection])[connection.pk]}{held}"

    @admin.display(description="Rate limit")
    def limit_text(self, connection: Connection) -> str:
        return limit_text(connection)

    @admin.display(description="Outage protection")
    def breaker_text(self, connection: Connection) -> str:
        if not connection.breaker_enabled:
            return "Off: every delivery is attempted, even while the account is unreachable."
        if connection.breaker_opened_at is None:
            return "Normal."
        probe = timestamp(connection.breaker_probe_at)
        since = timestamp(connection.breaker_opened_at)
        return (
            f"Holding deliveries back since {since}: the account could not be reached {connection.transport_failures} "
            f"times in a row. One delivery tries again at {probe}; the others wait without using up attempts. "
            f"{connection.breaker_reason}"
        )

    @display(description="Health", label=COLOURS)
    def health_label(self, connection: Connection) -> tuple[str, str]:
        return condition(connection, database_clock.now())

    @admin.display(description="Reason")
    def pause_text(self, connection: Connection) -> str:
        if connection.is_paused(database_clock.now()):
            hint = "" if connection.paused_until else " To resume, open the connection and press “Resume”."
            return f"{shortened(connection.pause_reason, 140)}{hint}"
        return shortened(connection.breaker_reason, 140) or "–"

    @admin.display(description="Health")
    def health_text(self, connection: Connection) -> str:
        if not connection.is_active:
            return "Off: nothing is sent and new posts are ignored."
        if not connection.is_paused(database_clock.now()):
            if connection.breaker_opened_at is not None:
                return "Unreachable: see “Outage protection” below."
            if lacks_consent(connection):
                return "Not connected yet."
            failed = [str(found.get("message", "")) for found in connection.checks if found.get("ok") is False]
            return (
                f"The last test failed: {' '.join(failed)} Deliveries are tried all the same." if failed else "Sending."
            )
        ends = self._end_of_pause(connection)
        since = f"Paused since {timestamp(connection.paused_at)}"
        return f"{since}; {ends}. {connection.pause_reason}" if ends else f"{since}. {connection.pause_reason}"

    @staticmethod
    def _end_of_pause(connection: Connection) -> str:
        if connection.paused_until:
            return f"resumes automatically at {timestamp(connection.paused_until)}"
        if connection.paused_by:
            return ""
        return "resumes when a connection test passes or someone resumes it"

    @admin.display(description="Settings")
    def settings_text(self, connection: Connection) -> str:
        return as_rows(connection.settings)

    @admin.display(description="Stored secrets")
    def secrets_text(self, connection: Connection) -> str:
        return self.secret_text(connection.secrets)

    def notices(self, request: HttpRequest, obj: Connection) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = [*self.environment_notices(obj)]
        if obj.secrets and not obj.secrets.is_readable:
            found.append(("error", unreadable_secrets(obj).message))
        if obj.is_active and obj.is_paused(database_clock.now()):
            found.append(("error", self.health_text(obj), "resume"))
        elif obj.is_active and obj.breaker_opened_at is not None:
            found.append(("error", f"Outage protection: {self.breaker_text(obj)}"))
        return [*found, *self.sign_in_notices(obj)]

    def buttons(self, request: HttpRequest, obj: Connection) -> list[str]:
        paused = obj.is_paused(database_clock.now())
        return [
            "test_connection",
            "resume" if paused else "pause",
            *(["close_breaker"] if obj.breaker_opened_at and not paused else []),
            "breaker_off" if obj.breaker_enabled else "breaker_on",
            *(["new_secret"] if isinstance(DESTINATIONS[obj.kind], IssuesSecret) else []),
            *(["switch_off"] if obj.is_active else []),
            *self.environment_buttons(obj),
        ]

    def links(self, request: HttpRequest, obj: Connection) -> list[tuple[str, str]]:
        kept = Wall.objects.filter(connection=obj).values_list("pk", flat=True)
        walls = [(reverse("admin:integrations_wall_change", args=[pk]), "Open the wall's settings") for pk in kept]
        handbook = (f"{reverse('handbook')}#{obj.kind}", "How to set it up")
        return [*super().links(request, obj), *walls, *self.status_links(obj), handbook]

    def save_model(self, request: HttpRequest, obj: Connection, form: Any, change: bool) -> None:
        # What came of signing in is only written together with another sign-in: it may just have been renewed.
        fetched: tuple[str, ...] = ()
        if change and form.signs_in_otherwise:
            obj.checks, obj.checked_at = [], None
            fetched = (*Connection.TOKEN_COLUMNS, "checks", "checked_at")
        issued = issue_first_secret(obj)
        obj.save(update_fields=(*self.owned, *fetched) if change else None)
        if issued:
            self._show_once(request, issued)
        if change and form.signs_in_otherwise and obj.paused_at is not None and not obj.paused_by:
            self._resume_after_commit([obj.pk])
            self.message_user(request, "Connection resumed to try the new sign-in.", messages.SUCCESS)
        elif change and form.signs_in_otherwise:
            transaction.on_commit(lambda: forget_limits(obj.pk), robust=True)
        if change and form.goes_elsewhere:
            forget_account(obj)
        transaction.on_commit(lambda: publish(SWEEP), robust=True)
        self.test_after_commit(request, obj.pk)
        request_lists(obj.pk)

    def _show_once(self, request: HttpRequest, secret: str) -> None:
        message = f"The secret is {secret} Copy it to the receiver now: it is not shown again."
        self.message_user(request, message, messages.WARNING)

    @admin.action(description="Make a new secret", permissions=["change_action"])
    def new_secret(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponse | None:
        """The one so far stays in use beside it for a while, so that the receiver can be changed meanwhile."""
        for connection in queryset:
            if secret := issue_secret(connection.pk):
                note_action(request, Connection, [connection.pk], "Made a new secret")
                self._show_once(request, secret)
            else:
                message = f"“{connection}” has no secret that Casebridge makes: enter it on its page."
                self.message_user(request, message, messages.WARNING)
        return self.back(request)

    @staticmethod
    def _resume_after_commit(ids: list[int]) -> None:
        def resume() -> None:
            resume_connections(Connection.objects.filter(pk__in=ids))

        transaction.on_commit(resume, robust=True)

    def after_switching(self, ids: list[int]) -> None:
        taken = list(Connection.objects.filter(pk__in=ids, is_active=True, paused_by="").values_list("pk", flat=True))
        if taken:
            self._resume_after_commit(taken)

    @admin.action(description="Try all waiting deliveries now", permissions=["change_action"])
    def close_breaker(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponse | None:
        ids = list(queryset.values_list("pk", flat=True))
        Delivery.objects.filter(connection__in=ids).bring_forward()
        for connection_id in ids:
            close_circuit(connection_id)
        note_action(request, Connection, ids, "Tried all waiting deliveries")
        self.message_user(
            request, "Outage protection is reset, and what waits for its next try is tried now.", messages.SUCCESS
        )
        return self.back(request)

    @admin.action(description="Turn off outage protection", permissions=["change_action"])
    def breaker_off(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponse | None:
        ids = list(queryset.values_list("pk", flat=True))
        Connection.objects.filter(pk__in=ids).update(breaker_enabled=False)
        for connection_id in ids:
            close_circuit(connection_id)
        note_action(request, Connection, ids, "Turned off outage protection")
        message = "Outage protection is off: every delivery is attempted, even while the account is unreachable."
        self.message_user(request, message, messages.WARNING)
        return self.back(request)

    @admin.action(description="Turn on outage protection", permissions=["change_action"])
    def breaker_on(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponse | None:
        ids = list(queryset.values_list("pk", flat=True))
        Connection.objects.filter(pk__in=ids).update(breaker_enabled=True, transport_failures=0)
        note_action(request, Connection, ids, "Turned on outage protection")
        self.message_user(request, "Outage protection is on.", messages.SUCCESS)
        return self.back(request)

    @admin.action(description="Pause", permissions=["change_action"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponse | None:
        ids = list(queryset.values_list("pk", flat=True))
        reason = f"Paused by {request.user.get_username()}. Deliveries wait until someone resumes it."
        pause_connections(Connection.objects.filter(pk__in=ids), reason, None, by=request.user.get_username())
        note_action(request, Connection, ids, "pause")
        self.message_user(request, f"{len(ids)} paused: deliveries wait until resumed.", messages.SUCCESS)
        return self.back(request)

    @admin.action(description="Resume", permissions=["change_action"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponse | None:
        ids = list(queryset.values_list("pk", flat=True))
        resume_connections(Connection.objects.filter(pk__in=ids))
        note_action(request, Connection, ids, "resume")
        self.message_user(request, f"{len(ids)} resumed: waiting deliveries are sent now.", messages.SUCCESS)
        return self.back(request)
