"""The calls that list what an administrator keeps."""

from sandbox import zendesk_schema
from sandbox.exchange import Answer, Request, json_answer
from sandbox.paging import is_by_cursor, paged_items
from sandbox.state import State
from sandbox.zendesk_answers import NO_SUCH_ENDPOINT, SUFFIX

NO_FORMS = {"error": "Forbidden", "description": "This account's plan does not offer ticket forms."}

# The name of each list in the API, and in `zendesk_schema`.
NAMES = {"ticket_fields": "fields", "ticket_forms": "forms", "groups": "groups", "brands": "brands"}


# Where no way of paging is documented, pages are by number only (developer.zendesk.com, "Pagination").
ONLY_BY_NUMBER = {"error": "InvalidPaginationParameter", "description": "This list has no pages by cursor."}


class ListCalls:
    def __init__(self, state: State) -> None:
        self._state = state
        self.routes = (
            ("GET", f"/api/v2/({'|'.join(NAMES)}){SUFFIX}", self._list),
            ("GET", f"/api/v2/(groups)/assignable{SUFFIX}", self._list),
            ("GET", f"/api/v2/custom_statuses{SUFFIX}", self._statuses),
        )

    def _list(self, request: Request, word: str) -> Answer:
        if word == "ticket_forms" and not self._state.settings.offers_forms:
            return json_answer(403, NO_FORMS)
        if word == "ticket_forms" and is_by_cursor(request):
            return json_answer(400, ONLY_BY_NUMBER)
        address, items = f"{request.origin}/api/v2/{word}", zendesk_schema.listed(self._state, NAMES[word])
        return paged_items(request, word, [{"url": f"{address}/{item['id']}.json", **item} for item in items])

    def _statuses(self, request: Request) -> Answer:
        if not self._state.settings.offers_custom_statuses:
            return json_answer(404, NO_SUCH_ENDPOINT)
        if is_by_cursor(request):
            return json_answer(400, ONLY_BY_NUMBER)
        return json_answer(200, {"custom_statuses": zendesk_schema.listed(self._state, "statuses")})
