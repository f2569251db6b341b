"""The calls that list what an administrator keeps."""

from sandbox import zendesk_schema
from sandbox.exchange import Answer, Request, json_answer
from sandbox.paging import paged_items
from sandbox.state import State
from sandbox.zendesk_answers import NO_SUCH_ENDPOINT, SUFFIX

NO_FORMS = {"error": "Forbidden", "description": "This account's plan does not offer ticket forms."}

# The list's own name here, and the word for it in addresses and answers.
WORDS = {"fields": "ticket_fields", "forms": "ticket_forms", "groups": "groups", "brands": "brands"}


class ListCalls:
    def __init__(self, state: State) -> None:
        self._state = state
        self.routes = (
            ("GET", f"/api/v2/ticket_fields{SUFFIX}", self._fields),
            ("GET", f"/api/v2/ticket_forms{SUFFIX}", self._forms),
            ("GET", f"/api/v2/groups{SUFFIX}", self._groups),
            ("GET", f"/api/v2/groups/assignable{SUFFIX}", self._groups),
            ("GET", f"/api/v2/brands{SUFFIX}", self._brands),
            ("GET", f"/api/v2/custom_statuses{SUFFIX}", self._statuses),
        )

    def _fields(self, request: Request) -> Answer:
        return self._page(request, "fields")

    def _forms(self, request: Request) -> Answer:
        if not self._state.settings.offers_forms:
            return json_answer(403, NO_FORMS)
        return self._page(request, "forms")

    def _groups(self, request: Request) -> Answer:
        return self._page(request, "groups")

    def _brands(self, request: Request) -> Answer:
        return self._page(request, "brands")

    def _page(self, request: Request, name: str) -> Answer:
        address = f"{request.origin}/api/v2/{WORDS[name]}"
        shown = [{"url": f"{address}/{item['id']}.json", **item} for item in zendesk_schema.listed(self._state, name)]
        return paged_items(request, WORDS[name], shown)

    def _statuses(self, request: Request) -> Answer:
        if not self._state.settings.offers_custom_statuses:
            return json_answer(404, NO_SUCH_ENDPOINT)
        return json_answer(200, {"custom_statuses": zendesk_schema.listed(self._state, "statuses")})
