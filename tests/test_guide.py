"""A new integration in four screens, as somebody does it who has never seen the portal."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from integrations.models import Company, Connection, Mapping, Subscription
from sandbox.khoros import DEFAULT_TOKEN
from sandbox.sign_in import CLIENT_ID
from tests.factories import CompanyFactory, ConnectionFactory, StaffFactory, SubscriptionFactory
from tests.stand_in import StandIn
from tests.test_admin import form_of

GUIDE = "/admin/new/"


def saved(admin: Client, path: str, **typed: Any) -> Any:
    """What follows when the form at this address is filled in and saved."""
    values = form_of(admin.get(path).content.decode()) | typed
    return admin.post(path, values, follow=True)


def where(answer: Any) -> str:
    """Where the browser is in the end."""
    address: str = answer.redirect_chain[-1][0]
    return address


def test_it_leads_from_nothing_to_a_test_ticket(admin: Client, portal: Any, sandbox: StandIn, settings: Any) -> None:
    settings.KHOROS_URL = sandbox.url
    at = where(admin.get(GUIDE, follow=True))
    assert urlsplit(at).path == "/admin/integrations/company/add/"
    answer = saved(admin, at, name="Example", company_id="42", new_api_token=DEFAULT_TOKEN)
    at = where(answer)
    assert "Where do posts go?" in answer.content.decode()
    chosen = f"{GUIDE}?company={Company.objects.get().pk}"
    assert at == chosen
    form = f"/admin/integrations/connection/add/?guided=1&{urlsplit(chosen).query}&kind=zendesk"
    assert form.replace("&", "&amp;") in answer.content.decode()
    at = where(saved(
        admin, form, name="Help desk", address=sandbox.url, sign_in="oauth_client", client_id=CLIENT_ID,
        client_secret="sandbox-secret",
    ))  # fmt: skip
    assert urlsplit(at).path == "/admin/integrations/subscription/add/"
    at = where(saved(admin, at, label="Complaint"))
    assert urlsplit(at).path == "/admin/integrations/mapping/add/"
    answer = saved(admin, at)
    assert "Posts with <b>Complaint</b> become tickets" in answer.content.decode()
    at, pressed = where(answer), form_of(answer.content.decode())
    for _ in range(2):
        answer = admin.post(at, pressed)
    (ticket,) = sandbox.tickets()
    assert ticket["subject"].startswith("[Test] Complaint")
    assert f"Open ticket {ticket['id']}" in answer.content.decode()
    assert [step["is_done"] for step in answer.context["guide"]] == [True] * 4


def test_what_there_is_can_be_chosen(admin: Client, mapping: Mapping, sandbox: StandIn) -> None:
    Company.objects.update(checked_at="2026-11-30T00:00Z")
    Connection.objects.update(checks=[{"ok": True, "message": "Fine."}])
    at = f"{GUIDE}?company={mapping.subscription.company_id}"
    for name, found in (
        ("connection", mapping.connection),
        ("subscription", mapping.subscription),
        ("mapping", mapping),
    ):
        offered = [address for address, _, _ in admin.get(at).context["there"]]
        at = next(address for address in offered if parse_qs(urlsplit(address).query)[name] == [str(found.pk)])
    assert "Create a test ticket" in admin.get(at).content.decode()


def test_a_connection_that_does_not_work_is_corrected_before_it_goes_on(
    admin: Client, portal: Any, sandbox: StandIn
) -> None:
    company = CompanyFactory.create(checked_at="2026-11-30T00:00Z")
    connection = ConnectionFactory.create(url=sandbox.url)
    sandbox.add_fault("401", times=1)
    answer = admin.get(f"{GUIDE}?company={company.pk}&connection={connection.pk}", follow=True)
    assert urlsplit(where(answer)).path == f"/admin/integrations/connection/{connection.pk}/change/"
    assert "It does not work yet." in answer.content.decode()
    at = where(saved(admin, where(answer), api_token="sandbox-zendesk-token"))
    assert urlsplit(at).path == "/admin/integrations/subscription/add/"


def test_a_company_that_khoros_refuses_is_corrected_before_it_goes_on(admin: Client, portal: Any) -> None:
    company = CompanyFactory.create(checked_at="2026-11-30T00:00Z", warning="Khoros does not accept the API token.")
    answer = admin.get(f"{GUIDE}?company={company.pk}", follow=True)
    assert urlsplit(where(answer)).path == f"/admin/integrations/company/{company.pk}/change/"
    assert "Khoros does not accept the API token." in answer.content.decode()


@pytest.mark.parametrize("query", ["company=999", "company=x", "company=%00", "company=1&mapping=" + "9" * 30])
def test_addresses_that_name_nothing_begin_anew(admin: Client, portal: Any, query: str) -> None:
    answer = admin.get(f"{GUIDE}?{query}", follow=True)
    assert urlsplit(where(answer)).path == "/admin/integrations/company/add/"


def test_only_those_who_may_set_everything_up_are_guided(client: Client, mapping: Mapping) -> None:
    client.force_login(StaffFactory.create(may="^(view_.*|add_(company|connection|subscription))$"))
    assert client.get(GUIDE).status_code == 403
    assert GUIDE not in client.get("/admin/").content.decode()
    client.force_login(StaffFactory.create(may="^(view_.*|add_.*)$"))
    assert client.get(GUIDE).status_code == 200
    assert GUIDE in client.get("/admin/").content.decode()


def test_a_label_can_be_added_to_what_is_there(admin: Client, mapping: Mapping) -> None:
    Company.objects.update(checked_at="2026-11-30T00:00Z")
    Connection.objects.update(checks=[{"ok": True, "message": "Fine."}])
    SubscriptionFactory.create(label="Complaint")
    query = f"company={mapping.subscription.company_id}&connection={mapping.connection_id}"
    ((form, _, _),) = admin.get(f"{GUIDE}?{query}").context["new"]
    saved(admin, form, label="Praise")
    made = Subscription.objects.get(label="Praise", match="label", is_active=True)
    saved(admin, where(admin.get(f"{GUIDE}?{query}&subscription={made.pk}", follow=True)))
    assert made.mappings.get().connection_id == mapping.connection_id


def test_a_label_that_has_its_subscription_goes_on_with_that_one(admin: Client, mapping: Mapping) -> None:
    Company.objects.update(checked_at="2026-11-30T00:00Z")
    Connection.objects.update(checks=[{"ok": True, "message": "Fine."}])
    query = f"company={mapping.subscription.company_id}&connection={mapping.connection_id}"
    ((form, _, _),) = admin.get(f"{GUIDE}?{query}").context["new"]
    answer = saved(admin, form, label="createcase")
    assert "the guide goes on with it" in answer.content.decode()
    assert where(answer) == f"{GUIDE}?{query}&subscription={mapping.subscription_id}"
    assert Subscription.objects.count() == 1


def test_two_subscriptions_to_one_label_are_refused_beside_the_field(admin: Client, mapping: Mapping) -> None:
    company = mapping.subscription.company_id
    answer = saved(admin, f"/admin/integrations/subscription/add/?company={company}", label="CREATECASE")
    assert "There is a subscription to this already" in answer.content.decode()
    with pytest.raises(IntegrityError), transaction.atomic():
        SubscriptionFactory.create(label="createCase")
    Subscription.objects.update(deleted_at="2026-11-30T00:00Z", is_active=False)
    SubscriptionFactory.create(label="createCase")


def test_back_leads_to_an_earlier_screen_with_what_was_chosen_before_it(admin: Client, mapping: Mapping) -> None:
    Company.objects.update(checked_at="2026-11-30T00:00Z")
    Connection.objects.update(checks=[{"ok": True, "message": "Fine."}])
    chosen = f"company={mapping.subscription.company_id}&connection={mapping.connection_id}"
    steps = admin.get(f"{GUIDE}?{chosen}&subscription={mapping.subscription_id}").context["guide"]
    assert [step["address"] for step in steps][:3] == [
        f"{GUIDE}?", f"{GUIDE}?company={mapping.subscription.company_id}", f"{GUIDE}?{chosen}",
    ]  # fmt: skip
