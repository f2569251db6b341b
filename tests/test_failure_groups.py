"""Failures by their cause: shown, mended and rebuilt together."""

from collections.abc import Callable

from django.test import Client

from integrations.models import Mapping
from integrations.outcomes.failure_groups import failure_groups
from tests.deliveries import labelled
from tests.stand_in import StandIn

Work = Callable[[], None]


def test_failures_group_by_cause_and_are_rebuilt_together_once_it_is_mended(
    sandbox: StandIn, mapping: Mapping, work: Work, admin: Client
) -> None:
    mapping.settings |= {"custom_fields": [{"id": 360002, "value": "vip"}]}
    mapping.save()
    sandbox.control("POST", "schema/options", {"field": 360002, "remove": "vip"})
    labelled(mapping, 5)
    work()
    (group,) = failure_groups()
    assert group.count == 5
    assert "The option “vip” of the field" in group.cause
    assert "no longer exists" in group.cause
    page = "/admin/integrations/delivery/causes/"
    html = admin.get(page).content.decode()
    assert "5 deliveries: The option “vip” of the field" in html
    assert f"/admin/integrations/mapping/{mapping.pk}/change/" in html

    mapping.settings |= {"custom_fields": [{"id": 360002, "value": "standard"}]}
    mapping.save()
    admin.post(page, {"cause": group.cause, "mapping": mapping.pk, "do": "rebuild"})
    work()
    assert len(sandbox.tickets()) == 5
    assert failure_groups() == []


def test_a_failed_delivery_links_to_where_its_cause_is_mended_and_quotes_zendesk(
    sandbox: StandIn, mapping: Mapping, work: Work, admin: Client
) -> None:
    (row,) = labelled(mapping)
    sandbox.add_fault("422_suspended", times=1)
    work()
    html = admin.get(f"/admin/integrations/delivery/{row.pk}/change/").content.decode()
    assert "The requester is suspended in Zendesk" in html
    assert "Unsuspend this user in Zendesk, then retry." in html
    assert f"{sandbox.url}/admin/people/" in html
    assert "Requester: Example Person is suspended." in html


def test_what_zendesk_dropped_is_told_on_the_delivery_and_on_the_mapping(
    sandbox: StandIn, mapping: Mapping, work: Work, admin: Client
) -> None:
    sandbox.change_settings(drops_unknown_ids=True)
    mapping.settings |= {"group_id": "999"}
    mapping.save()
    (row,) = labelled(mapping)
    work()
    row.refresh_from_db()
    assert "999" in row.remarks or "group" in row.remarks
    mapping.refresh_from_db()
    assert mapping.dropped_on == row.pk
    assert "created a ticket" in admin.get(f"/admin/integrations/mapping/{mapping.pk}/change/").content.decode()
