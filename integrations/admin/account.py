"""What people choose for themselves: their time zone, the columns of their list, and filters under a name."""

from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.signals import pre_delete
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminSelectWidget

from integrations.admin.delivery_rows import CHOSEN_COLUMNS
from integrations.infra.text import storable
from integrations.models import Preferences, SavedFilter

LIST = "delivery"
LONGEST_NAME, LONGEST_QUERY, MOST_SAVED = 60, 2000, 30
# Regions with cities; the rest of the database are old names and abbreviations.
REGIONS = ("Africa/", "America/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/")


def time_zones() -> list[tuple[str, str]]:
    names = sorted(name for name in available_timezones() if name.startswith(REGIONS))
    return [("UTC", "UTC"), *((name, name.replace("_", " ")) for name in names)]


class PreferencesForm(forms.Form):
    time_zone = forms.ChoiceField(choices=time_zones, widget=UnfoldAdminSelectWidget)
    columns = forms.MultipleChoiceField(
        choices=list(CHOSEN_COLUMNS.items()), required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget
    )


def preferences_of(user: Any) -> Preferences:
    return Preferences.objects.filter(user=user.pk).first() or Preferences(user_id=user.pk)


def hidden_columns(request: HttpRequest) -> list[str]:
    """Of the list of deliveries, for this person."""
    hidden: list[str] = preferences_of(request.user).hidden_columns.get(LIST, [])
    return [name for name in hidden if name in CHOSEN_COLUMNS]


def account_page(request: HttpRequest) -> HttpResponse:
    """A person's own choices."""
    chosen = preferences_of(request.user)
    shown = [name for name in CHOSEN_COLUMNS if name not in chosen.hidden_columns.get(LIST, [])]
    form = PreferencesForm(request.POST or None, initial={"time_zone": chosen.time_zone, "columns": shown})
    if request.method == "POST" and form.is_valid():
        chosen.time_zone = form.cleaned_data["time_zone"]
        chosen.hidden_columns = {LIST: [name for name in CHOSEN_COLUMNS if name not in form.cleaned_data["columns"]]}
        chosen.save()
        messages.success(request, "Saved.")
        return HttpResponseRedirect(request.path)
    saved = SavedFilter.objects.filter(may_delete(request)).select_related("owner")
    frame = {**admin.site.each_context(request), "title": "Your settings", "page_title": "Your settings"}
    return TemplateResponse(request, "admin/integrations/account.html", frame | {"form": form, "saved": saved})


# --- Filters under a name --------------------------------------------------------------------------------------------


def saved_filters(request: HttpRequest) -> list[SavedFilter]:
    """The person's own, then those for everybody."""
    rows = SavedFilter.objects.filter(list_name=LIST).order_by("name", "pk")
    shared = rows.filter(is_shared=True).exclude(owner=request.user.pk)
    return [*rows.filter(owner=request.user.pk)[:MOST_SAVED], *shared[:MOST_SAVED]]


def may_delete(request: HttpRequest) -> Q:
    """Condition: the person's own, and those for everybody where the person may share some."""
    own = Q(owner=request.user.pk)
    return own | Q(is_shared=True) if request.user.has_perm("integrations.change_delivery") else own


def leave_shared_filters(sender: Any, instance: Any, **_: Any) -> None:
    """What somebody who is deleted shared stays; what was theirs alone goes."""
    SavedFilter.objects.filter(owner=instance.pk, is_shared=False).delete()


pre_delete.connect(leave_shared_filters, sender=User, dispatch_uid="filters of a deleted account")


def save_filter(request: HttpRequest) -> HttpResponse:
    """The list's filters as they are now, under a name; the same name again replaces it."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not request.user.has_perm("integrations.view_delivery"):
        raise PermissionDenied
    back = reverse("admin:integrations_delivery_changelist")
    name = " ".join(storable(request.POST.get("name", "")).split())[:LONGEST_NAME]
    query = _query(request.POST.get("query", ""))
    if not name or not query or len(query) > LONGEST_QUERY:
        messages.error(request, "Not saved: choose a filter and give it a name.")
        return HttpResponseRedirect(f"{back}?{query}" if len(query) <= LONGEST_QUERY else back)
    is_shared = "is_shared" in request.POST and request.user.has_perm("integrations.change_delivery")
    try:
        with transaction.atomic():
            SavedFilter.objects.update_or_create(
                owner_id=request.user.pk, list_name=LIST, name=name, defaults={"query": query, "is_shared": is_shared}
            )
    except IntegrityError:
        # Pressed twice at once: the other one saved it.
        pass
    messages.success(request, f"Saved as “{name}”.")
    return HttpResponseRedirect(f"{back}?{query}")


def _query(text: str) -> str:
    """What chooses rows, without the page that was shown."""
    given = QueryDict(storable(text).lstrip("?"), mutable=True)
    for name in ("p", "o", "all", "_changelist_filters"):
        given.pop(name, None)
    return given.urlencode()


def delete_filter(request: HttpRequest, pk: int) -> HttpResponse:
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    one = get_object_or_404(SavedFilter.objects.filter(may_delete(request)), pk=pk)
    one.delete()
    messages.success(request, f"Deleted “{one.name}”.")
    return HttpResponseRedirect(reverse("account"))
