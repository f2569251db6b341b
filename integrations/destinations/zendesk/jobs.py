"""Creating up to 100 tickets with one call, and following the job that does it.

Contract: developer.zendesk.com, API reference, Ticketing, "Tickets" (Create Many Tickets) and "Job Statuses". The call
has no idempotency key, so any ticket without a result is looked up by `external_id`. `completed` does not mean that
every item succeeded, and results are not in the order of the request: items are joined by `index`.
"""

import json
from typing import Any

from integrations.destinations.base import Credentials, as_json
from integrations.destinations.capabilities import JOBS, JobItem, JobNews
from integrations.destinations.zendesk import answers
from integrations.destinations.zendesk.paging import LeadsElsewhere, next_page
from integrations.destinations.zendesk.tickets import auth_header
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure

MANY_PATH = "/api/v2/tickets/create_many.json"
MOST_IN_ONE_CALL = 100
# The account runs 30 at a time for all its integrations together.
MOST_JOBS = 15
# Whatever else a job may be called, it may still create tickets.
ENDED = {"completed", "failed", "killed"}
MOST_PAGES = 10


def send_many(client: HttpClient, requests: list[str], credentials: Credentials) -> str:
    """Hands the tickets over and returns the job's number.

    Raises Failure. If the failure is not uncertain, nothing was queued.
    """
    tickets = [json.loads(request)["ticket"] for request in requests]
    body = as_json({"tickets": tickets}).encode()
    headers = {**auth_header(credentials), "Content-Type": "application/json"}
    reply = client.call("POST", MANY_PATH, headers=headers, body=body, budget=JOBS, keep_reply=False)
    exchange = client.exchanges[-1]
    if not 200 <= reply.status < 300:
        exchange["reply"] = client.without_secrets(reply.text[:2048])
        raise answers.failure(reply)
    number = str(_job(reply.json_object()).get("id") or "")
    if not number:
        raise Failure("Zendesk's response to the batch request could not be read.", is_uncertain=True)
    exchange["reply"] = f"job {number}"
    return number[:120]


def read_job(client: HttpClient, number: str, credentials: Credentials) -> JobNews | None:
    """The progress of the job; None for one that Zendesk does not know, or not at the moment. Raises Failure."""
    reply = client.call(
        "GET", f"/api/v2/job_statuses/{number}.json", headers=auth_header(credentials), keep_reply=False
    )
    if reply.status == 404:
        return None
    if not 200 <= reply.status < 300:
        client.exchanges[-1]["reply"] = client.without_secrets(reply.text[:2048])
        raise answers.failure(reply)
    job = _job(reply.json_object())
    status = str(job.get("status") or "").lower()
    if not status:
        raise Failure("Zendesk's response about a job could not be read.", answers.excerpt(reply))
    message = " ".join(str(job.get("message") or status).split())[:300]
    if status not in ENDED:
        return JobNews(has_ended=False, message=message)
    results = job.get("results")
    items = [_item(result) for result in results if isinstance(result, dict)] if isinstance(results, list) else []
    return JobNews(has_ended=True, message=message, items=tuple(item for item in items if item is not None))


def are_under_way(client: HttpClient, known: set[str], credentials: Credentials) -> bool | None:
    """Whether the account's list has an unfinished job besides the known ones; None where it cannot be read.

    Raises Failure.
    """
    path = "/api/v2/job_statuses.json"
    for _ in range(MOST_PAGES):
        reply = client.call("GET", path, headers=auth_header(credentials), keep_reply=False)
        if reply.status in (401, 429) or reply.status >= 500:
            raise answers.failure(reply)
        content = reply.json_object()
        listed = content.get("job_statuses")
        if not 200 <= reply.status < 300 or not isinstance(listed, list):
            return None
        if any(_is_other_running_job(job, known) for job in listed if isinstance(job, dict)):
            return True
        try:
            path = next_page(client, content)
        except LeadsElsewhere:
            return None
        if not path:
            return False
    return None


def _is_other_running_job(job: dict[str, Any], known: set[str]) -> bool:
    return str(job.get("status") or "").lower() not in ENDED and str(job.get("id") or "") not in known


def _job(content: dict[str, Any]) -> dict[str, Any]:
    job = content.get("job_status")
    return job if isinstance(job, dict) else {}


def _item(result: dict[str, Any]) -> JobItem | None:
    index = result.get("index")
    if not isinstance(index, int) or isinstance(index, bool):
        return None
    number = answers.ticket_number(result)
    if number is not None and not result.get("error"):
        # A number without success says neither: such a ticket is looked up.
        return None if result.get("success") is False else JobItem(index, number=str(number))
    message = " ".join(str(result[name]) for name in ("error", "details") if result.get(name))
    return JobItem(index, problem=message[:500] or "Zendesk gave no reason.")
