"""The page of a connection about ticket status: whether it comes back, setting up the webhook, removing it."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse

from integrations.admin.base import ConfigurationAdmin, note_action, themed
from integrations.destinations import DESTINATIONS
from integrations.infra import database_clock
from integrations.infra.queue import POLL_TICKETS, publish
from integrations.infra.text import article, timestamp
from integrations.models import Connection
from integrations.outcomes import AccountWebhook, NotSetUp, latest_events, request_poll

if TYPE_CHECKING:
    from integrations.admin.base import ConfigurationAdmin

    Base = ConfigurationAdmin
else:
    Base = object

EVENTS_SHOWN = 10


class SigningSecretForm(forms.Form):
    signing_secret = forms.CharField(
        label="Signing secret",
        max_length=500,
        widget=forms.PasswordInput,
        help_text="On the webhook's page at the account, where it is revealed. Stored encrypted and never shown.",
    )

    def __init__(self, webhook: AccountWebhook, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.webhook = webhook

    def clean_signing_secret(self) -> str:
        secret: str = self.cleaned_data["signing_secret"].strip()
        if problem := self.webhook.why_unfit(secret):
            raise ValidationError(problem)
        return secret


themed(SigningSecretForm)


class StatusPageMixin(Base):
    """Adds the page to a connection's admin."""

    def status_links(self, obj: Connection) -> list[tuple[str, str]]:
        """The link to the page; none where the destination does not report status."""
        if not AccountWebhook(obj).is_offered:
            return []
        return [
            (
                reverse("admin:integrations_connection_status", args=[obj.pk]),
                f"{DESTINATIONS[obj.kind].thing.capitalize()} status",
            )
        ]

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.status_page)
        own = path("<int:object_id>/status/", view, name="integrations_connection_status")
        return [own, *super().get_urls()]

    def status_page(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Whether the status comes back, with the buttons to change that."""
        connection = self.permitted_object(request, object_id, to_change=request.method == "POST")
        webhook = AccountWebhook(connection)
        if not webhook.is_offered:
            raise Http404
        form = SigningSecretForm(webhook)
        if request.method == "POST" and "paste" in request.POST:
            form = SigningSecretForm(webhook, request.POST)
            if form.is_valid():
                webhook.store_secret(form.cleaned_data["signing_secret"])
                self._report(
                    request,
                    connection,
                    "Entered the webhook's signing secret",
                    "Signing secret stored: calls signed with it are accepted.",
                )
                return HttpResponseRedirect(request.path)
        elif request.method == "POST":
            self._run_pressed(request, connection)
            return HttpResponseRedirect(request.path)
        return self._status_page(request, connection, form)

    def _status_page(self, request: HttpRequest, connection: Connection, form: SigningSecretForm) -> HttpResponse:
        webhook = AccountWebhook(connection)
        endpoint, why_not = webhook.endpoint()
        destination = DESTINATIONS[connection.kind]
        return self.own_page(
            request,
            "admin/integrations/ticket_status.html",
            connection,
            f"{destination.thing.capitalize()} status for “{connection}”",
            form=form,
            endpoint=endpoint,
            why_not=why_not,
            title_of_kind=destination.title,
            thing=destination.thing,
            article=article(destination.thing),
            steps=webhook.steps(endpoint),
            is_set_up=bool(connection.webhook_secret),
            is_readable=connection.webhook_secret.is_readable,
            is_quiet=not webhook.is_alive,
            last_call=timestamp(connection.webhook_called_at) if connection.webhook_called_at else "",
            events=latest_events(connection, EVENTS_SHOWN),
            is_shut=not connection.is_active or connection.is_paused(database_clock.now()),
            may_change=self.has_change_permission(request, connection),
        )

    def _run_pressed(self, request: HttpRequest, connection: Connection) -> None:
        buttons = {
            "set_up": self._set_up,
            "remove": self._remove,
            "forget": self._forget,
            "look": self._poll,
        }
        for name, press in buttons.items():
            if name in request.POST:
                press(request, connection)
                return

    def _set_up(self, request: HttpRequest, connection: Connection) -> None:
        try:
            AccountWebhook(connection).set_up()
        except NotSetUp as refused:
            message = f"The webhook was not set up. {refused}\nTo set it up manually, follow the steps below."
            self.message_user(request, message, messages.ERROR)
            return
        title, thing = DESTINATIONS[connection.kind].title, DESTINATIONS[connection.kind].thing
        changes = f"the status or assignee of {article(thing)} {thing} changes"
        message = f"Webhook set up: {title} calls this portal when {changes}."
        self._report(request, connection, f"Set up the webhook in {title}", message)

    def _remove(self, request: HttpRequest, connection: Connection) -> None:
        try:
            AccountWebhook(connection).remove()
        except NotSetUp as refused:
            message = (
                f"The webhook was not removed. {refused}\nDelete it there by hand, then press “Remove from "
                "Casebridge only”."
            )
            self.message_user(request, message, messages.ERROR)
            return
        title = DESTINATIONS[connection.kind].title
        self._report(
            request, connection, f"Removed the webhook in {title}", f"Webhook removed from {title} and Casebridge."
        )

    def _forget(self, request: HttpRequest, connection: Connection) -> None:
        AccountWebhook(connection).forget()
        message = "Webhook removed from Casebridge: its calls are now refused. Regular checks go on."
        self._report(request, connection, "Removed the webhook from Casebridge", message)

    def _poll(self, request: HttpRequest, connection: Connection) -> None:
        count = request_poll(connection)
        transaction.on_commit(lambda: publish(POLL_TICKETS, connection.pk), robust=True)
        thing = DESTINATIONS[connection.kind].thing
        things, verb = (f"1 {thing}", "is") if count == 1 else (f"{count:,} {thing}s", "are")
        message = f"Checking {things} that {verb} not closed. Reload the log in a few seconds."
        self._report(
            request, connection, f"Checked {thing}s", message if count else f"There are no open {thing}s to check."
        )

    def _report(self, request: HttpRequest, connection: Connection, action: str, message: str) -> None:
        note_action(request, Connection, [connection.pk], action)
        self.message_user(request, message, messages.SUCCESS)
