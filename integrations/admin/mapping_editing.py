"""A mapping while it is edited: choices from the account's lists, preview, comparison, test ticket. Nothing is saved.

The buttons submit the mapping's own form. What was typed is carried along in hidden inputs, so that it can be saved
from there, or edited further.
"""

import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.forms.utils import ErrorDict
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from integrations.admin.conditions import ROWS, with_rows
from integrations.admin.flood_holds import HoldingAdmin
from integrations.admin.test_ticket import create_and_note, posted_uuid
from integrations.connections import misfits_of, read_account_lists, request_lists
from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import MarksTests, OffersLists
from integrations.domain.post import Unreadable
from integrations.infra.text import timestamp
from integrations.mapping import (
    MOST_COMPARED,
    compare_mappings,
    preview_choices,
    preview_posts,
)
from integrations.models import AccountSchema, Connection, Mapping, Subscription
from integrations.routing import TestTicket

REFRESH_SECONDS = 25.0
USUALLY_COMPARED = 50
# Names of our own buttons and inputs besides those of the form.
PREVIEW, COMPARE, EDIT, REFRESH, TEST, TEST_NOW = "_preview", "_compare", "_edit", "_refresh", "_test", "_test_now"
# Another connection was chosen in the form.
CHOSEN = "_chosen"
Row = TypeVar("Row", bound=Model)
PRESSED = (PREVIEW, COMPARE, EDIT, REFRESH, CHOSEN, TEST, TEST_NOW, ROWS)
CONTROLS = {*PRESSED, "_save", "_continue", "_addanother", "csrfmiddlewaretoken"} | {
    "preview_of", "compare_most", "test_uuid",
}  # fmt: skip


# An account's lists that are older are read again when a mapping's page is opened.
OLD_SECONDS = 600


def number_in(raw: str) -> int | None:
    return int(raw) if raw.isascii() and raw.isdigit() and len(raw) < 18 else None


def _row(model: type[Row], number: int | None) -> Row | None:
    return None if number is None else model._default_manager.filter(pk=number).first()


class MappingEditing(HoldingAdmin):
    """What the mapping's admin does besides showing and saving the form."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = dict(extra_context or {})
        obj = self.get_object(request, object_id) if object_id else None
        pressed = next((name for name in PRESSED if name in request.POST), "") if request.method == "POST" else ""
        if pressed:
            self._refuse_those_who_may_not(request, obj, object_id)
            if (page := self._answer(request, obj, pressed)) is not None:
                return page
        if self._may_edit(request, obj):
            context["controls"] = self._controls(request, obj)
            context["schema"] = self.schema_text(request, obj)
            connection = _row(Connection, self.connection_id(request, obj))
            if request.method == "GET" and connection is not None:
                request_lists(connection.pk, older_than=OLD_SECONDS)
        return super().changeform_view(request, object_id, form_url, context)

    def _may_edit(self, request: HttpRequest, obj: Mapping | None) -> bool:
        return self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)

    def _refuse_those_who_may_not(self, request: HttpRequest, obj: Mapping | None, object_id: str | None) -> None:
        if object_id and obj is None:
            raise Http404
        if not self._may_edit(request, obj):
            raise PermissionDenied

    def _answer(self, request: HttpRequest, obj: Mapping | None, pressed: str) -> HttpResponse | None:
        """The page for a button of ours; None for the ordinary form with the input and its errors."""
        if pressed == REFRESH:
            self._refresh(request, obj)
        if pressed == CHOSEN:
            self._bring_lists(request, obj)
            self._edit_on(request, request.POST)
            return None
        if pressed == ROWS:
            self._edit_on(request, with_rows(request.POST))
            return None
        if pressed in (EDIT, REFRESH):
            self._edit_on(request)
            return None
        form = self.get_form(request, obj, change=obj is not None)(request.POST, instance=obj)
        if not form.is_valid():
            self._edit_on(request)
            return None
        edited: Mapping = form.save(commit=False)
        answers: dict[str, Callable[[HttpRequest, Mapping], HttpResponse]] = {
            PREVIEW: self._preview_page,
            COMPARE: self._comparison_page,
            TEST: self._preview_page,
            TEST_NOW: self._test_page,
        }
        return answers[pressed](request, edited)

    def _edit_on(self, request: HttpRequest, changed: QueryDict | None = None) -> None:
        """Shows the form again as it was filled in: like a GET, but bound to what was posted.

        `changed`: what was posted with a condition more or less. The form is still being filled in, so nothing is said
        to be wrong with it yet.
        """
        request.method = "GET"
        request.typed = request.POST if changed is None else changed  # type: ignore[attr-defined]
        request.is_unfinished = changed is not None  # type: ignore[attr-defined]
        if EDIT in request.POST:
            messages.info(request, "Not saved yet. These are the values you previewed.")

    @staticmethod
    def bound_to_what_was_typed(form: Any, request: HttpRequest) -> Any:
        """The form class as it is, or one bound to what was typed but not saved."""
        typed = getattr(request, "typed", None)
        if typed is None:
            return form

        class Typed(form):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(typed, instance=kwargs.get("instance"))

            def full_clean(self) -> None:
                if not getattr(request, "is_unfinished", False):
                    super().full_clean()
                    return
                self._errors = ErrorDict()
                self.cleaned_data: dict[str, Any] = {}

        return Typed

    # --- The account's lists ---

    def connection_id(self, request: HttpRequest, obj: Mapping | None) -> int | None:
        """The account whose lists are offered: the one chosen in the form, the mapping's, or the only one there is."""
        chosen = number_in(request.POST.get("connection", ""))
        if chosen is not None or obj is not None:
            return chosen if chosen is not None or obj is None else obj.connection_id
        if (named := number_in(request.GET.get("connection", ""))) is not None:
            return named
        ids = list(Connection.objects.filter(is_active=True).values_list("pk", flat=True)[:2])
        return ids[0] if len(ids) == 1 else None

    def lists(self, request: HttpRequest, obj: Mapping | None) -> dict[str, Any]:
        """Read once per request: the form, its sections and its page all need them."""
        cached = getattr(request, "account_lists", None)
        if cached is None:
            cached = AccountSchema.lists_of(self.connection_id(request, obj))
            request.account_lists = cached  # type: ignore[attr-defined]
        return dict(cached)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        connection_id = self.connection_id(request, None)
        known = {"connection": str(connection_id)} if connection_id is not None else {}
        return known | dict(super().get_changeform_initial_data(request))

    def _refresh(self, request: HttpRequest, obj: Mapping | None) -> None:
        connection_id = self.connection_id(request, obj)
        connection = _row(Connection, connection_id)
        if connection is None:
            messages.warning(request, "Choose a connection first.")
        elif read_account_lists(connection.pk, seconds=REFRESH_SECONDS):
            messages.success(request, f"The lists of “{connection}” were refreshed. Your changes are not saved yet.")
        else:
            message = "is paused, off, or already being read. The lists shown are from the last successful read."
            messages.warning(request, f"The connection “{connection}” {message}")

    def _bring_lists(self, request: HttpRequest, obj: Mapping | None) -> None:
        """Those of the connection that was chosen: read now where they never were."""
        connection = _row(Connection, self.connection_id(request, obj))
        if connection is not None and not AccountSchema.objects.filter(pk=connection.pk).exists():
            read_account_lists(connection.pk, seconds=REFRESH_SECONDS)

    def schema_text(self, request: HttpRequest, obj: Mapping | None) -> dict[str, Any]:
        """When the lists were read, and what could not be."""
        connection = _row(Connection, self.connection_id(request, obj))
        if connection is None:
            others = Connection.objects.filter(is_active=True)[:10]
            return {"connection": None, "others": list(others)}
        schema, destination = AccountSchema.objects.filter(pk=connection.pk).first(), DESTINATIONS[connection.kind]
        return {
            "connection": connection,
            "title": destination.title,
            "has_lists": isinstance(destination, OffersLists) and destination.has_lists(connection.settings),
            "read_at": timestamp(schema.read_at) if schema and schema.read_at else "",
            "problems": list(schema.problems.values()) if schema else [],
        }

    # --- Preview, comparison, test ticket ---

    def _controls(self, request: HttpRequest, obj: Mapping | None, edited: Mapping | None = None) -> dict[str, Any]:
        """What can be previewed and compared, and the current choice."""
        shown = edited or obj
        subscription = shown.subscription if shown else self._named_subscription(request)
        sees_posts = request.user.has_perm("integrations.view_notification")
        return {
            "choices": preview_choices(subscription if sees_posts else None),
            "chosen": request.POST.get("preview_of", ""),
            "most": self._most(request),
            "highest": MOST_COMPARED,
            "can_compare": sees_posts,
            "form": "edited_form" if edited else "mapping_form",
        }

    @staticmethod
    def _named_subscription(request: HttpRequest) -> Subscription | None:
        named = number_in(request.POST.get("subscription", "") or request.GET.get("subscription", ""))
        return _row(Subscription, named)

    @staticmethod
    def _most(request: HttpRequest) -> int:
        return min(max(number_in(request.POST.get("compare_most", "")) or USUALLY_COMPARED, 1), MOST_COMPARED)

    def _page(self, request: HttpRequest, edited: Mapping, title: str, **context: Any) -> HttpResponse:
        typed = [(name, value) for name, values in request.POST.lists() if name not in CONTROLS for value in values]
        frame = {
            **self.admin_site.each_context(request),
            "title": title,
            "page_title": title,
            "opts": self.opts,
            "edited": edited,
            "typed": typed,
            "controls": self._controls(request, None, edited),
            "test_uuid": str(uuid.uuid4()),
            "account": DESTINATIONS[edited.connection.kind].origin(edited.connection.settings),
            "thing": DESTINATIONS[edited.connection.kind].thing,
        }
        return TemplateResponse(request, "admin/integrations/mapping_preview.html", frame | context)

    def _preview_page(self, request: HttpRequest, edited: Mapping, result: TestTicket | None = None) -> HttpResponse:
        context: dict[str, Any] = {"result": result, "account_lists": AccountSchema.lists_of(edited.connection_id)}
        try:
            previews = preview_posts(edited, self._chosen(request))
        except Unreadable as unreadable:
            previews, context["unreadable"] = [], str(unreadable)
        context["previews"] = previews
        context["misfits"] = misfits_of(edited, context["account_lists"])
        asked = number_in(request.POST.get(TEST, ""))
        destination = DESTINATIONS[edited.connection.kind]
        context["test_text"] = destination.test_text if isinstance(destination, MarksTests) else ""
        if asked is not None and asked < len(previews) and result is None:
            context["asked"] = asked
        if (result is None or result.may_exist) and (posted := posted_uuid(request)):
            # Until it is known what became of it, it is the same test: what was made is recognised.
            context["test_uuid"] = posted
        return self._page(request, edited, f"Preview: {edited.name}", **context)

    @staticmethod
    def _chosen(request: HttpRequest) -> str:
        sees_posts = request.user.has_perm("integrations.view_notification")
        return request.POST.get("preview_of", "") if sees_posts else ""

    def _comparison_page(self, request: HttpRequest, edited: Mapping) -> HttpResponse:
        if not request.user.has_perm("integrations.view_notification"):
            raise PermissionDenied
        rows = Mapping.objects.select_related("connection", "subscription__company")
        saved = rows.filter(pk=edited.pk).first() if edited.pk else None
        comparison = compare_mappings(saved, edited, self._most(request))
        is_off = not edited.is_active or (saved is not None and not saved.is_active)
        title = f"Comparison: {edited.name}"
        return self._page(request, edited, title, comparison=comparison, saved=saved, is_off=is_off)

    def _test_page(self, request: HttpRequest, edited: Mapping) -> HttpResponse:
        """Creates the ticket for the chosen post; the uuid in the page ensures that it is created once."""
        if not (reference := posted_uuid(request)):
            return self._preview_page(request, edited)
        try:
            preview = preview_posts(edited, self._chosen(request))[number_in(request.POST.get(TEST_NOW, "")) or 0]
        except (IndexError, Unreadable):
            return self._preview_page(request, edited)
        if not preview.request:
            return self._preview_page(request, edited, TestTicket(False, preview.problem))
        result = create_and_note(request, edited, preview.request, reference)
        return self._preview_page(request, edited, result)


def schema_description(schema: dict[str, Any]) -> SafeString:
    """One line above the ticket's fields."""
    if not schema["connection"] and not schema["others"]:
        return SafeString("")
    if not schema["connection"]:
        links = format_html_join(
            ", ",
            '<a class="cb-link" href="?connection={}">{}</a>',
            ((connection.pk, connection.name) for connection in schema["others"]),
        )
        return format_html("To pick from the account's own lists, choose a connection first: {}.", links)
    title = schema["title"]
    if not schema["has_lists"]:
        return SafeString("")
    if not schema["read_at"]:
        unread = "The lists from {} have not been read yet. Enter ids, or press “Refresh lists from {}” below."
        return format_html(unread, title, title)
    read = format_html("Lists from {} last read {}.", title, schema["read_at"])
    return format_html("{} {}", read, " ".join(schema["problems"])) if schema["problems"] else read
