"""What our admin pages share: notices, list actions as buttons, a capped count, an audit trail."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.text import capfirst
from unfold.admin import ModelAdmin
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminEmailInputWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from integrations.admin.guide import after_saving, is_guided, screens
from integrations.destinations import DESTINATIONS, Destination
from integrations.infra.encryption import Secret, UnreadableSecret
from integrations.operations import environment_differs, take_from_environment
from integrations.routing import ActionResult

THEMED_WIDGETS: list[tuple[type[forms.Widget], type[forms.Widget]]] = [
    (forms.PasswordInput, UnfoldAdminPasswordWidget),
    (forms.EmailInput, UnfoldAdminEmailInputWidget),
    (forms.NumberInput, UnfoldAdminIntegerFieldWidget),
    (forms.TextInput, UnfoldAdminTextInputWidget),
    (forms.Textarea, UnfoldAdminTextareaWidget),
    (forms.Select, UnfoldAdminSelectWidget),
    (forms.CheckboxInput, UnfoldBooleanSwitchWidget),
    (forms.CheckboxSelectMultiple, UnfoldAdminCheckboxSelectMultipleWidget),
]


LONGEST_NUMBER = 19
LARGE_COLUMNS = {"body", "listed", "labels"}
ENVIRONMENT_DIFFERS = (
    "The environment variables hold a different secret (or sign-in) than the one stored here. The stored one is in "
    "use. To switch, press “Use the secret from the environment”."
)


def destination_of_kind(kind: str) -> Destination:
    if kind not in DESTINATIONS:
        raise Http404
    return DESTINATIONS[kind]


def as_rows(values: dict[str, Any]) -> str:
    """Settings for people who may look but not change."""
    rows = [(name.replace("_", " "), str(value)) for name, value in values.items() if value not in ("", [], None)]
    return format_html_join(mark_safe("<br>"), "{}: {}", rows)


@dataclass(frozen=True, slots=True)
class PageHead:
    """How it is, in a word and in a sentence, and links: (address, text, whether it leads out of the portal).

    `colour`: "success", "danger", "warning", "info" or "default".
    """

    colour: str
    label: str
    sentence: str
    links: tuple[tuple[str, str, bool], ...] = ()
    # What the other side said, in its own words.
    quoted: str = ""


def has_nul(request: HttpRequest) -> bool:
    """Whether the query has a NUL character, which the database refuses."""
    return any("\x00" in value for _, values in request.GET.lists() for value in values)


class CappedPaginator(Paginator):
    """Counts no further than people page: counting a million rows would take longer than showing a page of them."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list.order_by()  # type: ignore[attr-defined]
        return rows[: self.MOST].count()


class PortalAdmin(ModelAdmin):
    """Base of our pages. `page_buttons` names list actions that the page of one object offers as buttons."""

    show_full_result_count = False
    list_per_page = 50
    list_filter_sheet = True
    warn_unsaved_form = True
    list_before_template = "admin/integrations/list_before.html"
    # What an empty list says: why, and what to do.
    empty_text = "Nothing here yet."
    handbook_part = ""
    # The parameter of the filter whose choices stand above the list.
    quick_filter = ""
    page_buttons: Sequence[str] = ()
    change_form_outer_before_template: str | None = "admin/integrations/page_head.html"
    change_form_outer_after_template: str | None = None

    def part_of_handbook(self, request: HttpRequest) -> str:
        """The part that says how to set up a new one; empty where none does."""
        return self.handbook_part

    def notices(self, request: HttpRequest, obj: Any) -> Sequence[tuple[str, ...]]:
        """("warning", "info" or "error", sentence) for an object's page; a third item names an action as its button."""
        return []

    def buttons(self, request: HttpRequest, obj: Any) -> list[str]:
        """The actions that make sense for this object now."""
        return list(self.page_buttons)

    def links(self, request: HttpRequest, obj: Any) -> list[tuple[str, str]]:
        """(address, link text) of further pages about this object, shown beside the buttons."""
        return []

    def facts(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """More for the page's own template."""
        return {}

    def head(self, request: HttpRequest, obj: Any) -> PageHead | None:
        """What the page says first, above its buttons."""
        return None

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Drops queries with NUL characters, which the database refuses, and selections that are no ids."""
        chosen = request.POST.getlist("_selected_action")
        if not all(number.isascii() and number.isdigit() and len(number) < LONGEST_NUMBER for number in chosen):
            return HttpResponseRedirect(request.get_full_path())
        if has_nul(request):
            return HttpResponseRedirect(request.path)
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title} | (extra_context or {}))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = dict(extra_context or {})
        obj = self.get_object(request, object_id) if object_id else None
        if obj is None:
            context["handbook_part"] = self.part_of_handbook(request)
        if is_guided(request):
            # One way on from here.
            context |= {"guide": screens(request, str(self.opts.model_name))}
            context |= dict.fromkeys(("show_save_and_continue", "show_save_and_add_another", "show_delete"), False)
        if obj is not None:
            allowed = self.get_actions(request)
            offered = [name for name in self.buttons(request, obj) if name in allowed]
            context |= {
                "notices": [_with_button(notice, allowed) for notice in self.notices(request, obj)],
                "page_buttons": [(name, allowed[name][2]) for name in offered],
                "actions_url": reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"),
                "page_links": self.links(request, obj),
                "facts": self.facts(request, obj),
                "page_head": self.head(request, obj),
            }
        return super().changeform_view(request, object_id, form_url, context)

    def next_step(self, obj: Any) -> tuple[str, str] | None:
        """(address, text) of what comes after this object was added."""
        return None

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        answer = super().response_add(request, obj, post_url_continue)
        if is_guided(request):
            return after_saving(request, obj)
        if (step := self.next_step(obj)) is not None:
            messages.info(request, format_html('Next: <a class="cb-link" href="{}">{}</a>', *step))
        return answer

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        answer = super().response_change(request, obj)
        return after_saving(request, obj) if is_guided(request) else answer

    def report(
        self, request: HttpRequest, done: ActionResult, sentence: str, rows: QuerySet[Any], action: str
    ) -> HttpResponse | None:
        """Reports what an action did, logs who did it, and returns to the page whose button was pressed."""
        if done.changed:
            self.message_user(request, sentence.format(len(done.changed)), messages.SUCCESS)
        for remark in done.remarks:
            self.message_user(request, remark, messages.WARNING)
        if not done.changed and not done.remarks:
            self.message_user(request, "Nothing changed.", messages.WARNING)
        note_action(request, rows.model, done.changed, action)
        return self.back(request)

    def back(self, request: HttpRequest) -> HttpResponse | None:
        """A redirect to the object's page if its button was pressed; None (stay on the list) otherwise."""
        selected = request.POST.getlist("_selected_action")
        if "_from_page" not in request.POST or len(selected) != 1:
            return None
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        return HttpResponseRedirect(reverse(name, args=[selected[0]]))

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Related-row choices without buttons to add or change them in a pop-up."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        for name in ("can_add_related", "can_change_related", "can_delete_related", "can_view_related"):
            if field is not None and hasattr(field.widget, name):
                setattr(field.widget, name, False)
        return field


def _with_button(notice: tuple[str, ...], allowed: dict[str, Any]) -> tuple[str, str, tuple[str, str] | None]:
    """The notice with its action as (name, label), where there is one that this person may use."""
    level, sentence, *action = notice
    return level, sentence, next(((name, allowed[name][2]) for name in action if name in allowed), None)


def _with(query: QueryDict, more: str) -> str:
    changed = query.copy()
    changed.update(QueryDict(more))
    return changed.urlencode()


def themed(form_class: type[forms.BaseForm]) -> None:
    """Gives the plain fields of a form the theme's widgets, keeping each widget's own attributes."""
    for field in form_class.base_fields.values():  # type: ignore[attr-defined]
        for plain, theme in THEMED_WIDGETS:
            if type(field.widget) is plain:
                attrs = {k: v for k, v in field.widget.attrs.items() if k != "class"}
                choices = (
                    {"choices": field.widget.choices} if isinstance(field.widget, forms.widgets.ChoiceWidget) else {}
                )
                field.widget = theme(attrs=attrs, **choices)
                break


def note_action(request: HttpRequest, model: type[Model], ids: list[int], action: str) -> None:
    """Adds an entry to each object's history: who did what, and when."""
    if ids:
        large = [field.name for field in model._meta.concrete_fields if field.name in LARGE_COLUMNS]
        rows = model._default_manager.filter(pk__in=ids).defer(*large)
        # Action names are made readable; sentences stay as they are.
        message = action if " " in action else action.replace("_", " ").capitalize()
        LogEntry.objects.log_actions(str(request.user.pk), rows, CHANGE, change_message=message)


class ReadOnlyAdmin(PortalAdmin):
    """History: nobody adds, changes or deletes it here. Who may change the model may use its actions."""

    paginator = CappedPaginator
    list_after_template: str | None = "admin/integrations/older.html"

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """The link to older rows filters by the time of the last row shown."""
        return lookup == f"{self.opts.ordering[0].removeprefix('-')}__lte" or super().lookup_allowed(
            lookup, value, request
        )


class ConfigurationAdmin(PortalAdmin):
    """Configuration that the log points at is never deleted; it can be switched off (`switch` names the field)."""

    switch = "is_active"
    # Columns that the form owns: saving leaves alone what workers write beside it.
    owned: tuple[str, ...] = ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.save(update_fields=self.owned if change and self.owned else None)

    def uses(self, obj: Any) -> str:
        """What prevents deleting the object, as text; empty when nothing does."""
        raise NotImplementedError

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """No bulk delete: the object's own page can say what prevents it."""
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
            "page_title": f"“{obj}” cannot be deleted",
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

    @admin.action(description="Turn off", permissions=["change_action"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        ids = list(queryset.filter(**{self.switch: True}).values_list("pk", flat=True))
        self.model._default_manager.filter(pk__in=ids).update(**{self.switch: False})
        self.after_switching(ids)
        note_action(request, self.model, ids, "switch_off")
        self.message_user(request, f"{len(ids)} turned off.", messages.SUCCESS)
        return self.back(request)

    def after_switching(self, ids: list[int]) -> None:
        """Hook: runs after rows were switched or got another secret."""

    @admin.action(description="Use the secret from the environment", permissions=["change_action"])
    def take_secret_from_environment(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        taken = []
        for row in filter(environment_differs, queryset):
            take_from_environment(row)
            taken.append(row.pk)
        note_action(request, self.model, taken, "take_secret_from_environment")
        level = messages.SUCCESS if taken else messages.WARNING
        message = (
            "The secret from the environment is now in use."
            if taken
            else "Nothing changed: the environment holds the same secret, none at all, or one for a different address."
        )
        self.message_user(request, message, level)
        self.after_switching(taken)
        return self.back(request)

    def secret_text(self, secret: Secret) -> str:
        if not secret:
            return "Not set"
        return "Stored (encrypted, never shown)" if secret.is_readable else UnreadableSecret.message.capitalize()

    def environment_notices(self, obj: Any) -> list[tuple[str, str]]:
        return [("warning", ENVIRONMENT_DIFFERS)] if environment_differs(obj) else []

    def environment_buttons(self, obj: Any) -> list[str]:
        return ["take_secret_from_environment"] if environment_differs(obj) else []

    def confirm_page(
        self, request: HttpRequest, action: str, rows: QuerySet[Any], question: str, consequence: str, answer: str
    ) -> HttpResponse:
        """Asks before an action that cannot be taken back; its form has `_confirmed`."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}"
        chosen, is_from_page = list(rows), "_from_page" in request.POST
        context = {
            "action": action,
            "rows": chosen,
            "question": question,
            "consequence": consequence,
            "answer": answer,
            "from_page": is_from_page,
            "actions_url": reverse(f"{name}_changelist"),
            "back_url": reverse(f"{name}_change", args=[chosen[0].pk]) if is_from_page and chosen else
            reverse(f"{name}_changelist"),
        }  # fmt: skip
        return self.own_page(request, "admin/integrations/confirm.html", None, question, **context)

    def choice_page(
        self, request: HttpRequest, title: str, question: str, choices: Sequence[tuple[str, str, str]]
    ) -> HttpResponse:
        """Something to choose before a form can be shown: (query, name, description) each; the query is kept."""
        links = [(f"?{_with(request.GET, query)}", name, description) for query, name, description in choices]
        context = {"question": question, "choices": links}
        return self.own_page(request, "admin/integrations/choose.html", None, title, **context)

    def own_page(self, request: HttpRequest, template: str, obj: Any, title: str, **context: Any) -> HttpResponse:
        """A page of ours about an object, within the admin's frame."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        frame = {
            **self.admin_site.each_context(request),
            "title": title,
            "page_title": title,
            "opts": self.opts,
            "object": obj,
            "object_url": reverse(name, args=[obj.pk]) if obj is not None else "",
        }
        return TemplateResponse(request, template, frame | context)

    def permitted_object(self, request: HttpRequest, object_id: int, *, to_change: bool = False) -> Any:
        """The object, if this person may see (or change) it. Raises Http404, PermissionDenied."""
        obj = self.get_object(request, str(object_id))
        if obj is None:
            raise Http404
        allowed = self.has_change_permission if to_change else self.has_view_permission
        if not allowed(request, obj):
            raise PermissionDenied
        return obj
