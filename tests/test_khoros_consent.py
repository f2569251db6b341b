"""A company's token by a person's consent at Khoros, beside one that is pasted."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.test import Client
from django.utils import timezone

from integrations.companies.check import check_company
from integrations.companies.token import token_end_text, token_warning
from integrations.models import Company
from tests.factories import CompanyFactory
from tests.stand_in import StandIn
from tests.test_admin import page, save

CLIENT = {"oauth_client_id": "sandbox-khoros-client", "new_client_secret": "sandbox-khoros-secret"}


@pytest.fixture
def company(portal: Any, settings: Any, sandbox: StandIn) -> Company:
    settings.PUBLIC_URL = "http://testserver"
    return CompanyFactory.create()


def with_client(admin: Client, company: Company, **values: str) -> None:
    save(admin, f"company/{company.pk}/change/", **(CLIENT | values))
    company.refresh_from_db()


def go_to_khoros(admin: Client, company: Company) -> str:
    """The address of Khoros' page that the link leads to."""
    answer = admin.get(f"/admin/integrations/company/{company.pk}/consent/")
    assert answer.status_code == 302
    return answer["Location"]


def decide(address: str, decision: str = "allow") -> str:
    """What a person presses at Khoros; where the browser is sent then."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    assert requests.get(address, timeout=10).status_code == 200
    target = address.partition("?")[0]
    answer = requests.post(target, data=asked | {"decision": decision}, allow_redirects=False, timeout=10)
    assert answer.status_code == 303
    return answer.headers["Location"]


def come_back(admin: Client, address: str) -> str:
    assert address.startswith("http://testserver/admin/integrations/company/consent/?")
    return admin.get(address.removeprefix("http://testserver"), follow=True).content.decode()


def test_a_person_connects_a_company_and_its_token_is_used(admin: Client, company: Company, sandbox: StandIn) -> None:
    with_client(admin, company)
    html = page(admin, f"company/{company.pk}/change/")
    assert "http://testserver/admin/integrations/company/consent/" in html
    assert "Connect to Khoros</a>" in html
    html = come_back(admin, decide(go_to_khoros(admin, company)))
    assert "Connected to Khoros." in html
    assert "The token belongs to John Doe" in html
    company.refresh_from_db()
    assert company.token_by_consent
    assert company.api_token.reveal().startswith("khoros-")
    assert "as Khoros said when it was connected" in token_end_text(company)
    findings = check_company(company)
    assert [finding.is_good for finding in findings] == [True] * len(findings) != []
    company.refresh_from_db()
    assert company.token_expires_at is not None
    assert "Connect to Khoros again</a>" in page(admin, f"company/{company.pk}/change/")
    call = next(call for call in sandbox.calls("khoros") if call.path == "/v3/oauth/token")
    assert set(parse_qs(call.body)) == {"client_id", "client_secret", "redirect_uri", "code"}


def test_what_is_asked_for_is_what_the_contract_says(admin: Client, company: Company) -> None:
    with_client(admin, company)
    asked = parse_qs(urlsplit(go_to_khoros(admin, company)).query)
    assert set(asked) == {"client_id", "response_type", "redirect_uri", "state"}
    assert asked["response_type"] == ["code"]


def test_sixty_days_before_its_end_it_asks_to_connect_again(admin: Client, company: Company) -> None:
    with_client(admin, company)
    come_back(admin, decide(go_to_khoros(admin, company)))
    company.refresh_from_db()
    assert token_warning(company) == ""
    company.token_expires_at = timezone.now() + timedelta(days=59)
    assert "press “Connect to Khoros again”" in token_warning(company)
    assert "Create a new one" not in token_warning(company)


def test_a_company_can_begin_without_a_pasted_token(admin: Client, company: Company) -> None:
    html = save(admin, "company/add/", name="New", company_id="43", **CLIENT).content.decode()
    assert "was added successfully" in html
    new = Company.objects.get(company_id="43")
    assert "Not connected yet: press “Connect to Khoros” below" in page(admin, f"company/{new.pk}/change/")
    html = save(admin, "company/add/", name="None", company_id="44").content.decode()
    assert "Enter the API token, or a client ID" in html


def test_a_pasted_token_takes_the_place_of_a_consented_one(admin: Client, company: Company) -> None:
    with_client(admin, company)
    come_back(admin, decide(go_to_khoros(admin, company)))
    save(admin, f"company/{company.pk}/change/", new_api_token="sandbox-khoros-token")
    company.refresh_from_db()
    assert (company.token_by_consent, company.api_token.reveal()) == (False, "sandbox-khoros-token")


def test_another_client_id_asks_for_its_secret(admin: Client, company: Company) -> None:
    with_client(admin, company)
    html = save(admin, f"company/{company.pk}/change/", oauth_client_id="another").content.decode()
    assert "Enter the secret that belongs to this client ID" in html
    assert b"was changed successfully" in save(admin, f"company/{company.pk}/change/").content


def test_who_denies_changes_nothing(admin: Client, company: Company) -> None:
    with_client(admin, company)
    before = company.api_token.reveal()
    assert "Access was not allowed at Khoros" in come_back(admin, decide(go_to_khoros(admin, company), "deny"))
    company.refresh_from_db()
    assert (company.api_token.reveal(), company.token_by_consent) == (before, False)


def test_a_wrong_secret_is_told_as_what_it_is(admin: Client, company: Company) -> None:
    with_client(admin, company, new_client_secret="wrong")
    html = come_back(admin, decide(go_to_khoros(admin, company)))
    assert "Khoros does not accept the client ID or secret" in html
    assert not Company.objects.filter(token_by_consent=True).exists()


def test_a_code_serves_once_and_for_the_person_who_asked(admin: Client, company: Company, client: Client) -> None:
    with_client(admin, company)
    back = decide(go_to_khoros(admin, company))
    assert "not started here" in come_back(admin, re.sub(r"state=[^&]+", "state=x", back))
    back = decide(go_to_khoros(admin, company))
    assert "Connected to Khoros." in come_back(admin, back)
    assert "not started here" in come_back(admin, back)


def test_an_odd_answer_to_the_code_is_told(admin: Client, company: Company, sandbox: StandIn) -> None:
    with_client(admin, company)
    back = decide(go_to_khoros(admin, company))
    sandbox.add_fault("answer", api="khoros", path="/v3/oauth/token", status=200, body='{"data": []}', times=1)
    assert "Khoros answered without an access token" in come_back(admin, back)


def test_a_company_without_a_client_leads_nowhere(admin: Client, company: Company) -> None:
    answer = admin.get(f"/admin/integrations/company/{company.pk}/consent/", follow=True)
    assert "Enter client ID and secret first" in answer.content.decode()
