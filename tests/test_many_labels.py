"""Many labels at once, ticked or pasted: a subscription for each, and a mapping like one that there is."""

import threading
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from integrations.admin.many_labels import subscribe_to_all
from integrations.domain.conditions import all_of
from integrations.models import Company, Mapping, Subscription
from tests.factories import CompanyFactory, MappingFactory, SubscriptionFactory
from tests.stand_in import StandIn
from tests.test_account import person

PAGE = "/admin/integrations/subscription/many/"
LABELS = [{"name": name, "set": "Care"} for name in ("CreateCase", "Refund", "Love", "Complaint")]


@pytest.fixture
def company(mapping: Mapping) -> Company:
    """With four labels, one of which has its subscription and mapping."""
    found = mapping.subscription.company
    Company.objects.filter(pk=found.pk).update(labels=LABELS)
    return Company.objects.get(pk=found.pk)


def choose(admin: Client, company: Company, *labels: str, pasted: str = "", like: Any = "") -> str:
    data = {"company": company.pk, "labels": labels, "pasted": pasted, "like": getattr(like, "pk", like)}
    return admin.post(PAGE, data, follow=True).content.decode()


def subscribed() -> list[str]:
    return sorted(Subscription.objects.values_list("label", flat=True))


def test_ticked_and_pasted_labels_get_a_subscription_and_a_mapping_each(
    admin: Client, company: Company, mapping: Mapping, work: Any, sandbox: StandIn
) -> None:
    Mapping.objects.filter(pk=mapping.pk).update(conditions=all_of(("network", "is", ["twitter"])))
    Subscription.objects.update(ticket_target_minutes=30)
    html = choose(admin, company, "Refund", "Love", pasted="  Thirty   days \nrefund\n\nLove", like=mapping)
    assert "Subscribed to 3 labels with a mapping each." in html
    assert subscribed() == ["CreateCase", "Love", "Refund", "Thirty days"]
    made = Mapping.objects.exclude(pk=mapping.pk).order_by("name")
    assert [one.name for one in made] == ["Love: Zendesk", "Refund: Zendesk", "Thirty days: Zendesk"]
    for one in made:
        assert (one.settings, one.connection) == (mapping.settings, mapping.connection)
        assert one.conditions == all_of(("network", "is", ["twitter"]))
        assert one.subscription.ticket_target_minutes == 30
        assert one.subscription.bearer_token
    work()
    assert len(sandbox.subscriptions_to("Refund")) == 1, "they are registered at Khoros"


def test_labels_with_a_subscription_are_neither_offered_nor_made_twice(admin: Client, company: Company) -> None:
    html = admin.get(PAGE).content.decode()
    assert 'value="Refund"' in html
    assert 'value="CreateCase"' not in html
    choose(admin, company, "Refund", pasted="createcase\nREFUND")
    assert subscribed() == ["CreateCase", "Refund"]
    assert "Tick or paste at least one label" in choose(admin, company, pasted="CreateCase")
    assert Mapping.objects.count() == 1, "without a mapping to be like, subscriptions alone"


def test_too_many_or_too_long_ones_are_refused_whole(admin: Client, company: Company) -> None:
    assert "201 labels are too many" in choose(admin, company, pasted="\n".join(f"l{n}" for n in range(201)))
    assert "No label has more than 250 characters" in choose(admin, company, pasted="x" * 251)
    assert subscribed() == ["CreateCase"]


def test_each_company_has_its_own(admin: Client, company: Company) -> None:
    other = CompanyFactory.create(name="Other", company_id="43", labels=[{"name": "Elsewhere", "set": ""}])
    html = admin.get(f"{PAGE}?company={other.pk}").content.decode()
    assert 'value="Elsewhere"' in html
    assert 'value="Refund"' not in html
    choose(admin, other, "Elsewhere")
    assert Subscription.objects.get(label="Elsewhere").company == other


def test_a_mapping_that_follows_another_or_is_of_alarms_is_no_model(
    admin: Client, company: Company, mapping: Mapping
) -> None:
    follower = MappingFactory.create(
        name="After it", subscription=mapping.subscription, connection=mapping.connection, follows=mapping
    )
    event = SubscriptionFactory.create(event_name="rule-applied", label="Rule")
    rule = MappingFactory.create(name="Of a rule", subscription=event, connection=mapping.connection)
    html = admin.get(PAGE).content.decode()
    assert f'<option value="{mapping.pk}"' in html
    for one in (follower, rule):
        assert f'<option value="{one.pk}"' not in html


def test_viewers_subscribe_to_nothing(company: Company) -> None:
    from integrations.operations import make_roles

    make_roles()
    viewer, operator = person("Viewer"), person("Operator")
    assert viewer.post(PAGE, {"company": company.pk, "labels": ["Refund"]}).status_code == 403
    assert "many labels" not in viewer.get("/admin/integrations/subscription/").content.decode()
    assert "many labels" in operator.get("/admin/integrations/subscription/").content.decode()


def test_without_a_company_it_says_what_comes_first(admin: Client) -> None:
    assert "Add a company first" in admin.get(PAGE, follow=True).content.decode()


def test_pressed_twice_at_once_each_label_has_one_subscription(company: Company, mapping: Mapping) -> None:
    begin = threading.Barrier(2)

    def press() -> None:
        try:
            begin.wait()
            subscribe_to_all(company, ["Love", "Refund"], mapping)
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert subscribed() == ["CreateCase", "Love", "Refund"]
    assert Mapping.objects.count() == 3


def test_a_company_that_is_gone_is_not_another_one(admin: Client, company: Company) -> None:
    assert admin.post(PAGE, {"company": "999", "labels": ["Love"]}).status_code == 404
    assert subscribed() == ["CreateCase"]


def test_pasted_labels_keep_their_first_spelling_and_what_is_left_out_is_named(admin: Client, company: Company) -> None:
    html = choose(admin, company, pasted="Billing\nbilling\nCREATECASE")
    assert subscribed() == ["Billing", "CreateCase"]
    assert "Left out, as they have a subscription already: CREATECASE." in html
