"""A new integration in four screens: Khoros, where posts go, the label, what becomes of a post. It ends with a test.

The forms are the usual ones. What was chosen so far is in the address (`guided=1&company=3&connection=5&...`), so that
“Back” works and nothing is kept for whoever breaks off; whoever saves a form that way is led to the next screen.
"""

import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from integrations.admin.test_ticket import create_and_note, posted_uuid
from integrations.admin.text.connection import lacks_consent
from integrations.companies import check_company
from integrations.connections import check_and_resume
from integrations.destinations import DESTINATIONS, Destination
from integrations.destinations.capabilities import MarksTests, keeps_here
from integrations.domain.post import LABEL_APPLIED, Unreadable
from integrations.infra.text import article
from integrations.mapping import preview_posts
from integrations.models import Company, Connection, Mapping, Subscription
from integrations.routing import TestTicket

SCREENS = (
    ("company", "Khoros"),
    ("connection", "Where posts go"),
    ("subscription", "Label"),
    ("mapping", "What becomes of a post"),
)
MODELS: dict[str, type[Model]] = {
    "company": Company,
    "connection": Connection,
    "subscription": Subscription,
    "mapping": Mapping,
}
LONGEST_NUMBER, MOST_OFFERED = 18, 12
Choice = tuple[str, str, str]


def is_guided(request: HttpRequest) -> bool:
    return "guided" in request.GET


def may_be_guided(request: HttpRequest) -> bool:
    return all(request.user.has_perm(f"integrations.add_{name}") for name, _ in SCREENS)


def chosen_so_far(request: HttpRequest) -> dict[str, int]:
    """What the address names, in the order of the screens."""
    named = {name: request.GET.get(name, "") for name, _ in SCREENS}
    return {
        name: int(value)
        for name, value in named.items()
        if value.isascii() and value.isdigit() and len(value) < LONGEST_NUMBER
    }


def guide_address(chosen: dict[str, int]) -> str:
    return f"{reverse('guide')}?{urlencode(chosen)}"


def after_saving(request: HttpRequest, obj: Model) -> HttpResponse:
    """The next screen, with what was just saved."""
    return HttpResponseRedirect(guide_address(chosen_so_far(request) | {str(obj._meta.model_name): obj.pk}))


def screens(request: HttpRequest, current: str = "") -> list[dict[str, Any]]:
    """The four with how far they are; `current` is the one shown."""
    chosen = chosen_so_far(request)
    names = [name for name, _ in SCREENS]
    return [
        {
            "title": title,
            "is_current": name == current,
            "is_done": name in chosen and name != current,
            # Back to this one, with what was chosen before it.
            "address": guide_address({key: pk for key, pk in chosen.items() if names.index(key) < place}),
        }
        for place, (name, title) in enumerate(SCREENS)
    ]


# --- The page between the forms --------------------------------------------------------------------------------------


def guide_page(request: HttpRequest) -> HttpResponse:
    """The first screen that is not done: a choice of what there is, or at once the form for something new."""
    if not may_be_guided(request):
        raise PermissionDenied
    chosen = chosen_so_far(request)
    for name, found in _found(chosen).items():
        if found is None:
            return _choice(request, name, {key: value for key, value in chosen.items() if key != name})
        if trouble := _trouble(found):
            messages.error(request, trouble)
            return HttpResponseRedirect(_form(name, chosen, found.pk))
    return _end(request, Mapping.objects.select_related("connection", "subscription").get(pk=chosen["mapping"]))


def _found(chosen: dict[str, int]) -> dict[str, Any]:
    return {name: MODELS[name]._default_manager.filter(pk=chosen.get(name, 0)).first() for name, _ in SCREENS}


def _trouble(found: Any) -> str:
    """Why the guide does not go on with it. What was never tested is tested now."""
    if isinstance(found, Company):
        return _trouble_of_company(found)
    return _trouble_of_connection(found) if isinstance(found, Connection) else ""


def _trouble_of_company(company: Company) -> str:
    if company.checked_at is None and company.api_token:
        check_company(company)
    if company.checked_at is not None and not company.warning:
        return ""
    return f"Khoros does not accept this company yet. {company.warning} Correct it and save; then the guide goes on."


def _trouble_of_connection(connection: Connection) -> str:
    if lacks_consent(connection):
        return "Give your consent with the link below; then begin the guide again and choose this connection."
    if not connection.checks:
        check_and_resume(connection)
    failed = [str(check.get("message", "")) for check in connection.checks if check.get("ok") is False]
    return f"It does not work yet. {' '.join(failed)} Correct it and save; then the guide goes on." if failed else ""


def _form(name: str, chosen: dict[str, int], pk: int | None = None, **more: str) -> str:
    page = f"admin:integrations_{name}_{'add' if pk is None else 'change'}"
    address = reverse(page, args=[] if pk is None else [pk])
    return f"{address}?{urlencode({'guided': 1, **chosen, **more})}"


def _choice(request: HttpRequest, name: str, chosen: dict[str, int]) -> HttpResponse:
    offers = {
        "company": _companies,
        "connection": _connections,
        "subscription": _subscriptions,
        "mapping": _mappings,
    }
    question, there, new = offers[name](chosen)
    if not there and len(new) == 1:
        return HttpResponseRedirect(new[0][0])
    return _page(request, name, question=question, there=there, new=new)


def _companies(chosen: dict[str, int]) -> tuple[str, list[Choice], list[Choice]]:
    there = _offered("company", Company.objects.order_by("name"), chosen, "Company")
    new = (_form("company", chosen), "Another company", "Its number and API token at Khoros.")
    return "Which company's posts are they?", there, [new]


def _connections(chosen: dict[str, int]) -> tuple[str, list[Choice], list[Choice]]:
    rows = list(Connection.objects.filter(is_active=True).order_by("name")[:MOST_OFFERED])
    there = [
        (guide_address(chosen | {"connection": row.pk}), row.name, _account(destination, row))
        for kind, destination in DESTINATIONS.items()
        for row in rows
        if row.kind == kind
    ]
    new = [
        (
            _form("connection", chosen, kind=kind),
            destination.title,
            f"Each post becomes {article(destination.thing)} {destination.thing}.",
        )
        for kind, destination in DESTINATIONS.items()
        if not keeps_here(destination)
    ]
    return "Where do posts go?", there, new


def _account(destination: Destination, connection: Connection) -> str:
    origin = destination.origin(connection.settings)
    return f"{destination.title}, {origin}" if origin else destination.title


def _subscriptions(chosen: dict[str, int]) -> tuple[str, list[Choice], list[Choice]]:
    rows = Subscription.objects.filter(company=chosen["company"], event_name=LABEL_APPLIED, deleted_at__isnull=True)
    there = _offered("subscription", rows.order_by("label"), chosen, "There is a subscription to it")
    count = rows.count()
    more = f" {len(there)} of {count:,} are shown above; type any of the others." if len(there) < count else ""
    new = (_form("subscription", chosen), "Another label", f"Chosen from the company's labels, or typed.{more}")
    return "Which label do agents apply?", there, [new]


def _mappings(chosen: dict[str, int]) -> tuple[str, list[Choice], list[Choice]]:
    kind = Connection.objects.values_list("kind", flat=True).get(pk=chosen["connection"])
    event = Subscription.objects.values_list("event_name", flat=True).get(pk=chosen["subscription"])
    rows = Mapping.objects.filter(connection=chosen["connection"], subscription=chosen["subscription"])
    there = _offered("mapping", rows.order_by("name"), chosen, "There is this mapping; try it")
    recipes = [
        (_form("mapping", chosen, recipe=f"{kind}:{recipe.slug}"), recipe.title, recipe.description)
        for recipe in DESTINATIONS[kind].recipes
        if recipe.event == event and not recipe.after
    ]
    empty = (_form("mapping", chosen, empty="1"), "As the form suggests it", "All texts can be changed.")
    return "What becomes of a post?", there, recipes or [empty]


def _offered(name: str, rows: Iterable[Any], chosen: dict[str, int], what: str) -> list[Choice]:
    return [(guide_address(chosen | {name: row.pk}), str(row), what) for row in list(rows)[:MOST_OFFERED]]


# --- The end ---------------------------------------------------------------------------------------------------------


def _end(request: HttpRequest, mapping: Mapping) -> HttpResponse:
    """What it makes of an example, a test of that, and what to do in Khoros now."""
    destination = DESTINATIONS[mapping.connection.kind]
    try:
        preview = next(iter(preview_posts(mapping, "")), None)
    except Unreadable:
        preview = None
    result, reference = None, str(uuid.uuid4())
    if request.method == "POST" and preview is not None and preview.request:
        result = _test(request, mapping, preview.request)
        if result.may_exist:
            reference = request.POST["test_uuid"]
    return _page(
        request,
        "",
        mapping=mapping,
        preview=preview,
        result=result,
        thing=destination.thing,
        test_uuid=reference,
        test_text=destination.test_text if isinstance(destination, MarksTests) else "",
        account=destination.origin(mapping.connection.settings),
    )


def _test(request: HttpRequest, mapping: Mapping, built: str) -> TestTicket:
    """Once per uuid of the page, however often it is pressed."""
    if not (reference := posted_uuid(request)):
        return TestTicket(False, "Press the button again.")
    return create_and_note(request, mapping, built, reference)


def _page(request: HttpRequest, current: str, **context: Any) -> HttpResponse:
    title = "New integration"
    frame = {**admin.site.each_context(request), "title": title, "page_title": title}
    return TemplateResponse(
        request, "admin/integrations/guide.html", frame | {"guide": screens(request, current)} | context
    )
