"""The part of a connection's page that is about signing in: test, consent, the end of API tokens, the move to OAuth."""

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.html import format_html

from integrations.admin.base import note_action, themed
from integrations.admin.consent import ConsentPages
from integrations.admin.forms import DEFAULT_KIND
from integrations.admin.text.connection import lacks_consent
from integrations.connections import (
    NotConnected,
    accept_consent,
    begin_consent,
    check_and_resume,
    move_to_oauth,
    return_address,
    why_no_consent,
)
from integrations.destinations import DESTINATIONS, Destination
from integrations.destinations.base import Check
from integrations.destinations.capabilities import AsksConsent, EndsSignIn, consent_source, token_source
from integrations.infra.consent import PendingConsent
from integrations.infra.text import timestamp
from integrations.models import Connection
from integrations.sign_in import end_alarm, end_text

LEVELS = {False: messages.ERROR, None: messages.INFO}
STATES = {True: "good", False: "bad", None: "note"}


class SignInAdmin(ConsentPages):
    """The part of the connection's admin about signing in."""

    change_form_outer_after_template = "admin/integrations/connection_page.html"

    # --- The list and the page ---

    @admin.display(description="Sign-in")
    def sign_in_text(self, connection: Connection) -> str:
        if ends := end_text(connection):
            return ends.partition(", when")[0]
        if lacks_consent(connection):
            return "OAuth: not connected"
        return "OAuth" if token_source(DESTINATIONS[connection.kind], connection.settings) else "–"

    @admin.display(description="Redirect URL")
    def redirect_url_text(self, connection: Connection) -> str:
        title = DESTINATIONS[connection.kind or DEFAULT_KIND].title
        message = f"For OAuth with consent: enter it as the redirect URL of the OAuth client in {title}."
        address = return_address()
        return format_html('<span class="cb-address">{}</span><br><span class="cb-quiet">{}</span>', address, message)

    def sign_in_fields(self, destination: Destination, connection: Connection | None) -> list[str]:
        """Further fields of the page's section about the account."""
        may_be_asked = connection is None and isinstance(destination, AsksConsent)
        is_asked = connection is not None and consent_source(destination, connection.settings) is not None
        return ["redirect_url_text"] if may_be_asked or is_asked else []

    def sign_in_notices(self, connection: Connection) -> list[tuple[str, str]]:
        found = []
        if ends := end_text(connection):
            level = "warning" if end_alarm(connection) else "info"
            found.append((level, f"{ends}. Press “Move to OAuth” below. It takes a few minutes and nothing is lost."))
        if lacks_consent(connection):
            title = DESTINATIONS[connection.kind].title
            message = (
                f"Not connected yet: press “Connect to {title}” below and allow access there. Deliveries wait until "
                "then."
            )
            found.append(("warning", message))
        return found

    def links(self, request: HttpRequest, obj: Connection) -> list[tuple[str, str]]:
        found = super().links(request, obj)
        if not self.has_change_permission(request, obj):
            return found
        if consent_source(DESTINATIONS[obj.kind], obj.settings):
            title = DESTINATIONS[obj.kind].title
            message = f"Connect to {title}" if lacks_consent(obj) else f"Reconnect to {title}"
            found.append((reverse("admin:integrations_connection_consent", args=[obj.pk]), message))
        if end_text(obj):
            found.append((reverse("admin:integrations_connection_move", args=[obj.pk]), "Move to OAuth"))
        return found

    def facts(self, request: HttpRequest, obj: Connection) -> dict[str, Any]:
        checks = [{"state": STATES.get(check.get("ok")), "message": check.get("message")} for check in obj.checks]
        tested = timestamp(obj.checked_at) if obj.checked_at else ""
        return super().facts(request, obj) | {"checks": checks, "tested": tested}

    # --- Testing ---

    @admin.action(description="Test connection", permissions=["change_action"])
    def test_connection(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponse | None:
        for connection in queryset:
            self._test(request, connection)
        note_action(request, Connection, list(queryset.values_list("pk", flat=True)), "test_connection")
        return self.back(request)

    def test_after_commit(self, request: HttpRequest, connection_id: int) -> None:
        """Tests after the save is committed, whatever the result; the test has a deadline that a page can wait for."""

        def test() -> None:
            connection = Connection.objects.get(pk=connection_id)
            if not lacks_consent(connection):
                self._test(request, connection)

        transaction.on_commit(test, robust=True)

    def _test(self, request: HttpRequest, connection: Connection) -> None:
        checks, is_resumed = check_and_resume(connection)
        self._report_checks(request, checks)
        if is_resumed:
            note_action(request, Connection, [connection.pk], "Resumed, as its test passed")
            message = "The test passed and the connection was resumed: waiting deliveries are sent now."
            self.message_user(request, message, messages.SUCCESS)

    def _report_checks(self, request: HttpRequest, checks: list[Check]) -> None:
        """All that is well in one message, each problem in its own."""
        if well := " ".join(check.message for check in checks if check.ok):
            self.message_user(request, f"Test passed: {well}", messages.SUCCESS)
        for check in checks:
            if not check.ok:
                self.message_user(request, check.message, LEVELS[check.ok])

    # --- Pages of their own ---

    def get_urls(self) -> list[Any]:
        own = [
            path("<int:object_id>/move/", self.admin_site.admin_view(self.move), name="integrations_connection_move"),
        ]
        return own + super().get_urls()

    # --- ConsentPages ---

    def consent_title(self, obj: Connection) -> str:
        return DESTINATIONS[obj.kind].title

    def why_none_is_asked(self, obj: Connection) -> str:
        is_asked = consent_source(DESTINATIONS[obj.kind], obj.settings) is not None
        return "" if is_asked else "This connection does not need anyone's consent to sign in."

    def begin_consent(self, obj: Connection, user_id: int) -> tuple[PendingConsent, str]:
        return begin_consent(obj, user_id)

    def is_still_at(self, consent: PendingConsent, obj: Connection) -> bool:
        return consent.origin == DESTINATIONS[obj.kind].origin(obj.settings)

    def take_answer(self, request: HttpRequest, connection: Connection) -> None:
        if "code" not in request.GET or "error" in request.GET:
            error, description = request.GET.get("error", "no code"), request.GET.get("error_description", "")
            self.message_user(request, why_no_consent(connection, error, description), messages.ERROR)
            return
        try:
            accept_consent(connection, request.GET["code"])
        except NotConnected as reason:
            self.message_user(request, str(reason), messages.ERROR)
            return
        title = DESTINATIONS[connection.kind].title
        note_action(request, Connection, [connection.pk], f"Connected to {title} by consent")
        connection.refresh_from_db()
        paused_by = connection.paused_by
        after = (
            f"The connection is still paused by {paused_by}: resume it."
            if paused_by
            else "Waiting deliveries are sent now."
        )
        self.message_user(request, f"Connected to {title}. {after}", messages.SUCCESS)
        self._test(request, connection)

    def move(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """From an API token to an OAuth client, step by step; tested before anything is changed."""
        connection = self.permitted_object(request, object_id, to_change=True)
        destination = DESTINATIONS[connection.kind]
        if not isinstance(destination, EndsSignIn) or not destination.sign_in_ends(connection.settings):
            self.message_user(request, "This connection does not use an API token, so there is nothing to move.")
            return self._to_page(connection.pk)
        form_class = destination.migration_form
        themed(form_class)
        form = form_class(request.POST or None)
        checks: list[Check] = []
        if request.method == "POST" and form.is_valid():
            trial, is_moved = move_to_oauth(connection, **form.cleaned_data)
            if is_moved:
                return self._moved(request, connection)
            checks = trial.checks
        return self.own_page(
            request,
            "admin/integrations/move_to_oauth.html",
            connection,
            f"Move “{connection}” to OAuth",
            form=form,
            ends=end_text(connection),
            steps=destination.migration_steps(connection.settings),
            checks=[{"state": STATES[check.ok], "message": check.message} for check in checks],
        )

    def _moved(self, request: HttpRequest, connection: Connection) -> HttpResponse:
        note_action(request, Connection, [connection.pk], "Moved from the API token to an OAuth client")
        message = (
            "The connection now signs in with the OAuth client, and the API token was removed from Casebridge. Once "
            f"{DESTINATIONS[connection.kind].thing}s arrive, deactivate that token in "
            f"{DESTINATIONS[connection.kind].title} too."
        )
        self.message_user(request, message, messages.SUCCESS)
        return self._to_page(connection.pk)
