"""Whatever staff type is taken or refused in words beside its field: no page falls over."""

import uuid
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.test import Client
from django.utils.html import escape

from integrations.connections.lists import read_account_lists
from integrations.models import AccountSchema, Mapping
from tests.limits import within
from tests.stand_in import StandIn
from tests.test_admin import BASE, form_of, new_delivery, rows

HOSTILE: dict[str, Any] = {
    "NUL": "a\x00b",
    "half a character": b"a\xed\xa0\x80b",
    "huge repetition": "a{99999999999999}",
    "half a group": "(?P<a",
    "deep group of a long field": "(" * 480 + "a" + ")" * 480,
    "half a placeholder": "{{ text",
    "long cut": "{{ text|short:99999999999999999999 }}",
    "odd date": "{{ posted_at|date:%Q%-%9999Y%E }}",
    "long date": "{{ posted_at|date:" + "%Y" * 400 + " }}",
    "many digits": "9" * 5000,
    "beyond 64 bits": "99999999999999999999",
    "beyond 32 bits": "4294967296",
    "negative": "-1",
    "infinite": "1e999",
    "superscript": "²",
    "year 0": "0000-00-00",
    "year 9999": "9999-12-31",
    "half an address": "https://[::1",
    "odd port": "https://example.zendesk.com:99999999999",
    "brackets": "[[[[]]]]",
    "equals": "=\n1=\n²=1\n99999999999999999999=1\n1=[{{]",
    "long": "x" * 30_000,
}
# For what is looked up and not stored: numbers, times, texts that the database does not hold.
FOR_QUESTIONS = ["NUL", "half a character", "many digits", "beyond 64 bits", "beyond 32 bits", "superscript", "year 0"]
# Pages whose form is posted, what has to be chosen for all of it to count, and the button that is pressed.
POSTED: dict[str, tuple[str, dict[str, str], str]] = {
    "company": ("company/{company}/change/", {}, "_save"),
    "label": ("subscription/{subscription}/change/", {"match": "label", "silence_alarm": "hours"}, "_save"),
    "expression": ("subscription/{subscription}/change/", {"match": "expression"}, "_save"),
    "connection": ("connection/{connection}/change/", {}, "_save"),
    "mapping": ("mapping/{mapping}/change/", {}, "_save"),
    "new mapping": ("mapping/add/?empty=1", {"connection": "{connection}", "subscription": "{subscription}"}, "_save"),
    "signing secret": ("connection/{connection}/status/", {}, "paste"),
    "move": ("connection/{connection}/move/", {}, ""),
}
BUTTONS = {"_continue", "_addanother", "_save", "_saveasnew", "paste", "set_up", "remove", "forget", "look"} | {
    "_preview", "_compare", "_edit", "_refresh", "_test", "_test_now", "csrfmiddlewaretoken", "action",
    "_selected_action", "_from_page",
}  # fmt: skip


@pytest.fixture
def world(admin: Client, mapping: Mapping, sandbox: StandIn) -> dict[str, Any]:
    """A whole way with a delivery on it, and the account's lists read: numbers for the addresses of pages."""
    delivery = new_delivery(mapping)
    assert read_account_lists(mapping.connection_id)
    return {
        "company": mapping.subscription.company_id,
        "subscription": mapping.subscription_id,
        "connection": mapping.connection_id,
        "mapping": mapping.pk,
        "delivery": delivery.pk,
        "notification": delivery.notification_id,
    }


def post(admin: Client, path: str, values: dict[str, Any]) -> Any:
    return admin.post(f"{BASE}/{path}", urlencode(values), content_type="application/x-www-form-urlencoded")


def fields_of(admin: Client, path: str) -> dict[str, Any]:
    html = admin.get(f"{BASE}/{path}").content.decode()
    return {name: value for name, value in form_of(html).items() if name not in BUTTONS}


def refused(answer: Any) -> set[str]:
    """The fields beside which the page shows words."""
    if answer.status_code == 302:
        return set()
    assert answer.status_code == 200
    shown = answer.context.get("adminform") or answer.context.get("form")
    errors = getattr(shown, "form", shown).errors
    html = answer.content.decode()
    for message in (str(message) for found in errors.values() for message in found):
        assert escape(message) in html
    return set(errors)


# Python may read such an expression otherwise one day; it is Khoros that runs it.
@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
@pytest.mark.parametrize("page", POSTED)
def test_no_form_falls_over_whatever_is_typed(admin: Client, world: dict[str, Any], page: str) -> None:
    """Everywhere at once; then only where it was not refused, until the page takes it."""
    path, chosen, button = POSTED[page]
    path, chosen = path.format(**world), {name: value.format(**world) for name, value in chosen.items()}
    usual = fields_of(admin, path) | chosen
    # Each page sees every second one, and its neighbour the others.
    for kind, hostile in list(HOSTILE.items())[list(POSTED).index(page) % 2 :: 2]:
        left = set(usual) - set(chosen)
        for _ in range(5):
            wrong = refused(post(admin, path, usual | dict.fromkeys(left, hostile) | {button: "0"}))
            if not wrong & left:
                break
            left -= wrong
        else:
            pytest.fail(f"{page} goes on refusing {kind}")
        assert admin.get(f"{BASE}/{path}").status_code in (200, 302)


@pytest.mark.parametrize("kind", FOR_QUESTIONS)
def test_pages_of_their_own_take_any_answer(admin: Client, world: dict[str, Any], kind: str) -> None:
    hostile, mapping = HOSTILE[kind], world["mapping"]
    usual = fields_of(admin, f"mapping/{mapping}/change/")
    own = {
        f"mapping/{mapping}/change/": [
            *({pressed: hostile} for pressed in ("_preview", "_compare", "_edit", "_test", "_test_now")),
            {"_preview": "1", "preview_of": hostile},
            {"_compare": "1", "compare_most": hostile},
            {"_test_now": "0", "test_uuid": hostile, "preview_of": "example"},
            {"_edit": "1", "connection": hostile, "subscription": hostile},
            {"_refresh": "1", "connection": hostile},
        ],
        f"mapping/{mapping}/hold/": [
            {"uuid": str(uuid.uuid4()), "title": hostile, "text": hostile},
            {"uuid": hostile, "title": "A title", "text": "A text"},
        ],
        "delivery/causes/": [{"do": "retry_now", "cause": hostile, "mapping": mapping}, {"mapping": hostile}],
        "delivery/": [{"action": "cancel", "_selected_action": hostile}, {"action": hostile, "_selected_action": "1"}],
        "mapping/": [{"action": "switch_off", "_selected_action": hostile, "_from_page": "1"}],
        f"company/{world['company']}/at-khoros/x/pause/": [{"sure": hostile}],
        f"subscription/{world['subscription']}/probe/": [{"makes_tickets": hostile}],
        f"subscription/{world['subscription']}/reconciliation/": [{hostile: hostile}],
    }
    for path, posts in own.items():
        for values in posts:
            assert post(admin, path, (usual if path.endswith("change/") else {}) | values).status_code < 500, values


ASKED = {
    "delivery/": ("q", "p", "o", "e", "time", "ticket", "network", "state__exact", "mapping__id__exact", "cause",
                  "connection__id__exact", "created_at__lte", "all", "nonsense", "mapping__subscription__id__exact"),
    "notification/": ("q", "subscription__id__exact", "received_at__lte", "state__exact", "time"),
    "attempt/": ("outcome__exact", "started_at__lte", "time"),
    "alarm/": ("open", "kind__exact", "raised_at__lte"),
    "change/": ("action__exact", "company__id__exact", "started_at__lte"),
    "catchup/": ("state__exact", "mode__exact", "subscription__id__exact"),
    "floodhold/": ("opened_at__lte", "q"),
    "batch/": ("state__exact", "connection__id__exact"),
    "company/": ("q", "p", "id__exact"),
    "subscription/": ("registration__exact", "company__id__exact", "is_active__exact", "deleted"),
    "connection/": ("is_active__exact", "e"),
    "mapping/": ("is_active__exact", "connection__id__exact"),
    "mapping/add/": ("subscription", "connection", "kind", "name", "case_hours", "tags"),
    "subscription/add/": ("company", "silence_hours", "match", "_popup", "_to_field"),
    "connection/add/": ("kind", "limit_share", "address"),
    "connection/consent/": ("state", "code", "error", "error_description"),
    "company/{company}/at-khoros/x/pause/": ("feed",),
    "subscription/{subscription}/reconciliation/": ("begins", "ends"),
    "subscription/{subscription}/query-preview/": ("match", "label", "tried"),
    "mapping/{mapping}/change/": ("_changelist_filters", "connection", "_to_field"),
    "../search/": ("s",),
    "../login/": ("next",),
    "../autocomplete/": ("term", "app_label", "model_name", "field_name"),
    "../auth/user/": ("q", "is_staff__exact", "groups__id__exact"),
    "../django_celery_results/taskresult/": ("q", "date_done__lte"),
}  # fmt: skip


@pytest.mark.parametrize("path", ASKED)
def test_no_page_falls_over_whatever_is_asked_of_it(admin: Client, world: dict[str, Any], path: str) -> None:
    address = f"{BASE}/{path.format(**world)}".replace("/integrations/../", "/")
    assert admin.get(address).status_code != 404
    for hostile in (HOSTILE[kind] for kind in FOR_QUESTIONS):
        for name in ASKED[path]:
            answer = admin.get(f"{address}?{urlencode({name: hostile})}")
            assert answer.status_code < 500, (name, hostile)


TRIED = [("expression", "label"), ("expression", "tried"), ("label", "tried")]


@pytest.mark.parametrize(("match", "name"), TRIED)
def test_the_query_preview_takes_anything(admin: Client, world: dict[str, Any], match: str, name: str) -> None:
    for hostile in HOSTILE.values():
        query = urlencode({"match": match, "label": "a", "tried": "a"} | {name: hostile})
        address = f"{BASE}/subscription/{world['subscription']}/query-preview/?{query}"
        assert refused(admin.get(address)) <= {name}


@pytest.mark.parametrize("kind", FOR_QUESTIONS)
def test_an_address_that_names_nothing_is_not_found(admin: Client, world: dict[str, Any], kind: str) -> None:
    odd = quote(HOSTILE[kind], safe="")
    for model in ("company", "subscription", "connection", "mapping", "delivery", "notification", "attempt", "alarm"):
        for page in ("change", "history", "delete"):
            assert admin.get(f"{BASE}/{model}/{odd}/{page}/").status_code < 500
    own = {"subscription": ("reconciliation", "probe", "query-preview"), "mapping": ("hold",)}
    own["connection"] = ("status", "move", "consent")
    for path in (f"{BASE}/{model}/{odd}/{page}/" for model, pages in own.items() for page in pages):
        assert admin.get(path).status_code in (301, 302, 404)
    assert admin.get(f"{BASE}/company/{world['company']}/at-khoros/{odd}/pause/").status_code < 500


EVERY_EXPRESSION = ["a{99999999999999}", "(?P<a", "[", "(" * 120, "a**", "\\8", "(?i", "a{2,1}"]


@pytest.mark.parametrize("expression", EVERY_EXPRESSION)
def test_an_expression_that_is_none_is_refused_beside_the_label(
    admin: Client, world: dict[str, Any], expression: str
) -> None:
    path = f"subscription/{world['subscription']}/change/"
    answer = post(admin, path, fields_of(admin, path) | {"match": "expression", "label": expression})
    assert refused(answer) == {"label"}
    assert "Not a valid regular expression" in answer.content.decode()


LONGEST = {"silence_hours": 8784, "ticket_target_minutes": 527_040, "solve_target_minutes": 527_040}


def test_times_that_no_calendar_holds_are_refused(admin: Client, world: dict[str, Any]) -> None:
    path = f"subscription/{world['subscription']}/change/"
    usual = fields_of(admin, path)
    longest = {name: str(most) for name, most in LONGEST.items()}
    answer = post(admin, path, usual | {name: str(most + 1) for name, most in LONGEST.items()})
    assert refused(answer) == set(LONGEST)
    assert "one year" in answer.content.decode()
    assert refused(post(admin, path, usual | longest)) == set()
    assert admin.get("/admin/").status_code == 200


@pytest.mark.parametrize(
    "expression", ["a{99999", "(?P<a", "[", "(" * 480, "a**", "\\8", "(?i", "a{1001}", "x{0,1000}" * 90]
)
def test_an_expression_that_is_none_is_refused_beside_the_mappings_field(
    admin: Client, world: dict[str, Any], expression: str
) -> None:
    path = f"mapping/{world['mapping']}/change/"
    with within(30):
        answer = post(admin, path, fields_of(admin, path) | rows(("text", "matches", expression)))
    assert refused(answer) == ({"conditions"} if expression != "a{99999" else set())


@pytest.mark.parametrize("digit", ["²", "٣"])
def test_what_only_looks_like_a_number_is_none(admin: Client, world: dict[str, Any], digit: str) -> None:
    path = f"company/{world['company']}/change/"
    answer = post(admin, path, fields_of(admin, path) | {"company_id": digit, "initiatives": digit})
    assert refused(answer) == {"company_id", "initiatives"}


def test_lists_are_not_wished_for_an_account_that_is_not_there(admin: Client, world: dict[str, Any]) -> None:
    assert admin.get(f"{BASE}/mapping/add/?connection={world['connection'] + 1}").status_code == 200
    assert AccountSchema.objects.count() == 1
