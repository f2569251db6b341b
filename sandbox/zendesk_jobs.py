"""The calls for bulk creation: starting a job and asking for its progress."""

from sandbox import jobs
from sandbox.exchange import Answer, Request, json_answer
from sandbox.jobs import IN_FLIGHT_LIMIT, IN_FLIGHT_SECONDS, LARGEST_JOB, JobRunner
from sandbox.limits import Limits
from sandbox.state import State
from sandbox.zendesk_answers import NOT_FOUND, NOT_JSON, SUFFIX, invalid_attribute, unpaged


class JobCalls:
    def __init__(self, state: State, runner: JobRunner, limits: Limits) -> None:
        self._state = state
        self._limits = limits
        self._runner = runner
        self.routes = (
            ("POST", f"/api/v2/tickets/create_many{SUFFIX}", self._create_many),
            ("GET", f"/api/v2/job_statuses{SUFFIX}", self._list),
            ("GET", f"/api/v2/job_statuses/show_many{SUFFIX}", self._show_many),
            ("GET", rf"/api/v2/job_statuses/([A-Za-z0-9-]+){SUFFIX}", self._show),
        )

    def _create_many(self, request: Request) -> Answer:
        try:
            body = request.json()
        except ValueError:
            return json_answer(400, NOT_JSON)
        given = body.get("tickets") if isinstance(body, dict) else None
        if not isinstance(given, list) or not given:
            return invalid_attribute("tickets", "a list")
        if len(given) > LARGEST_JOB:
            return json_answer(400, {"error": "TooManyValues", "description": "Too many tickets: at most 100."})
        with self._state.transaction():
            in_flight = jobs.in_flight(self._state)
            if len(in_flight) >= IN_FLIGHT_LIMIT:
                return self._too_many(in_flight)
            job = jobs.add(self._state, given, request.origin)
        self._runner.wake()
        return json_answer(200, {"job_status": job.shown(request.origin)}, self._in_flight_header(len(in_flight) + 1))

    def _show(self, request: Request, job_id: str) -> Answer:
        found = jobs.find_many(self._state, [job_id])
        if not found:
            return json_answer(404, NOT_FOUND)
        return json_answer(200, {"job_status": found[0].shown(request.origin)})

    def _list(self, request: Request) -> Answer:
        """The newest hundred, newest first."""
        return unpaged("job_statuses", [job.shown(request.origin) for job in jobs.latest(self._state)])

    def _show_many(self, request: Request) -> Answer:
        found = jobs.find_many(self._state, request.query.get("ids", "").split(","))
        return unpaged("job_statuses", [job.shown(request.origin) for job in found])

    def _too_many(self, in_flight: list[str]) -> Answer:
        refusal = {
            "error": "TooManyJobs",
            "description": "Too many BulkCreateTicketJob jobs are currently queued or running. Try again later.",
            "current_job_ids": in_flight,
        }
        return json_answer(429, refusal, self._in_flight_header(len(in_flight)))

    def _in_flight_header(self, count: int) -> tuple[str, str]:
        remaining = max(0, IN_FLIGHT_LIMIT - count)
        words = f"total={IN_FLIGHT_LIMIT}; remaining={remaining}; resets={IN_FLIGHT_SECONDS}"
        return self._limits.named_header("inflight-jobs", words)
