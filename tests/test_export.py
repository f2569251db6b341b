"""Deliveries as a CSV file: what is filtered and no more, whole, and safe to open."""

import csv
import io
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext

from integrations.models import Delivery, Mapping
from tests.factories import StaffFactory
from tests.test_admin import BASE, failed_delivery, new_delivery, page
from tests.test_slack import push_post


def rows_of(client: Client, query: str = "") -> list[dict[str, str]]:
    answer = client.get(f"{BASE}/delivery/csv/{query}")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="deliveries-')
    text = b"".join(answer).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_says_what_became_of_a_post(admin: Client, push: Any, work: Any, mapping: Mapping, sandbox: Any) -> None:
    push_post(push, "twitter:7", text='Where, "exactly",\nis my parcel? 📦', author="Ann", link="https://x.example/7")
    work()
    (row,) = rows_of(admin)
    (ticket,) = sandbox.tickets()
    assert (row["State"], row["Post"], row["Network"]) == ("Delivered", "twitter:7", "twitter")
    assert row["Text"] == 'Where, "exactly",\nis my parcel? 📦'
    assert (row["Became"], row["Number"]) == ("ticket", str(ticket["id"]))
    assert row["Address"].endswith(f"/agent/tickets/{ticket['id']}")
    assert (row["Subscription"], row["Mapping"], row["Attempts"]) == ("CreateCase", "To Zendesk", "1")


@pytest.mark.parametrize("text", ["=1+1", "+49 30", "-2", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0"])
def test_nothing_in_it_is_a_formula(admin: Client, push: Any, work: Any, mapping: Mapping, text: str) -> None:
    push_post(push, text=text, author=text)
    work()
    (row,) = rows_of(admin)
    for value in row.values():
        assert not value.startswith(("=", "+", "-", "@", "\t"))
    assert row["Text"].replace("'", "").strip() == text.replace("'", "").strip()


@pytest.mark.parametrize("text", ["hello;=HYPERLINK(1)", "a\t=1+1", "a; @SUM(A1)", 'a;"=1+1"'])
def test_nothing_is_a_formula_where_semicolons_or_tabs_end_a_cell(
    admin: Client, push: Any, work: Any, mapping: Mapping, text: str
) -> None:
    push_post(push, text=text)
    work()
    lines = b"".join(admin.get(f"{BASE}/delivery/csv/").streaming_content).decode()  # type: ignore[attr-defined]
    for delimiter in ";\t":
        cells = [cell for row in csv.reader(io.StringIO(lines), delimiter=delimiter) for cell in row]
        assert [cell for cell in cells if cell.strip().startswith(("=", "+", "@"))] == []


def test_it_has_what_the_list_is_filtered_by(admin: Client, mapping: Mapping) -> None:
    failed, waiting = failed_delivery(mapping), new_delivery(mapping)
    assert [row["Delivery"] for row in rows_of(admin)] == [str(waiting.pk), str(failed.pk)]
    assert [row["Delivery"] for row in rows_of(admin, "?state__exact=failed")] == [str(failed.pk)]
    assert [row["Delivery"] for row in rows_of(admin, f"?q={waiting.post_id}")] == [str(waiting.pk)]
    assert f'href="{BASE}/delivery/csv/?state__exact=failed"' in page(admin, "delivery/?state__exact=failed")
    assert admin.get(f"{BASE}/delivery/csv/?nothing=like&that=1").status_code in (200, 302)


def test_a_thousand_rows_cost_a_few_queries(admin: Client, mapping: Mapping) -> None:
    first = new_delivery(mapping)
    like = {"mapping": mapping, "connection": first.connection, "notification": first.notification}
    due = {"next_attempt_at": first.next_attempt_at}
    Delivery.objects.bulk_create(Delivery(post_id=f"twitter:{number}", **like, **due) for number in range(1000))
    with CaptureQueriesContext(database) as queries:
        assert len(rows_of(admin)) == 1001
    assert len(queries) < 40


def test_who_may_not_see_deliveries_gets_none(client: Client, portal: Any) -> None:
    client.force_login(StaffFactory.create(may="^view_alarm$"))
    assert client.get(f"{BASE}/delivery/csv/").status_code == 403
