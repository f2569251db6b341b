"""The control API, JSON under /control/: what tests and scripts use to steer and inspect the sandbox.

Every mistake is answered with 400 or 404 and `{"error": sentence}`.
"""

from dataclasses import asdict

from sandbox import events, examples, inbox, subscriptions
from sandbox.controls import Controls
from sandbox.exchange import Answer, Request, Routes, body_of, json_answer, whole_number
from sandbox.faults import fault_from
from sandbox.mail_pages import MailControl
from sandbox.on_call import OnCallControl
from sandbox.slack_pages import SlackControl
from sandbox.zendesk_control import ZendeskControl


class ControlApi:
    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._state = controls.state
        self._routes = Routes(
            ("GET", "/control/faults", self._faults),
            ("POST", "/control/faults", self._add_fault),
            ("DELETE", "/control/faults", self._clear_faults),
            ("DELETE", "/control/faults/([0-9]+)", self._remove_fault),
            ("GET", "/control/requests", self._requests),
            ("DELETE", "/control/requests", self._clear_requests),
            ("GET", "/control/subscriptions", self._subscriptions),
            ("POST", "/control/subscriptions", self._make_subscription),
            ("POST", "/control/subscriptions/([^/]+)", self._change_subscription),
            ("DELETE", "/control/subscriptions/([^/]+)", self._delete_subscription),
            ("POST", "/control/subscriptions/([^/]+)/copy", self._copy_subscription),
            ("POST", "/control/forget", self._forget_subscriptions),
            ("GET", "/control/examples", self._examples),
            ("GET", "/control/events", self._events),
            ("POST", "/control/events", self._tell),
            ("POST", "/control/events/bulk", self._apply_label_in_bulk),
            ("GET", "/control/pushes", self._pushes),
            ("POST", "/control/pushes", self._push_again),
            ("GET", "/control/posts", self._posts),
            ("POST", "/control/posts", self._compose),
            ("POST", "/control/labels", self._apply_label),
            ("GET", "/control/settings", self._settings),
            ("POST", "/control/settings", self._change_settings),
            ("POST", "/control/reset", self._reset),
            *ZendeskControl(controls).routes,
            *SlackControl(controls).routes,
            *MailControl(controls).routes,
            *OnCallControl(controls).routes,
        )

    def answer(self, request: Request) -> Answer:
        try:
            return self._routes.answer(request) or _mistake(404, "There is no such control.")
        except LookupError as missing:
            return _mistake(404, str(missing))
        except (ValueError, OverflowError) as problem:
            return _mistake(400, str(problem))

    def _faults(self, request: Request) -> Answer:
        return json_answer(200, {"faults": [fault.shown() for fault in self._controls.faults.all()]})

    def _add_fault(self, request: Request) -> Answer:
        return json_answer(201, {"id": self._controls.faults.add(fault_from(body_of(request)))})

    def _clear_faults(self, request: Request) -> Answer:
        return json_answer(200, {"removed": self._controls.faults.clear()})

    def _remove_fault(self, request: Request, fault_id: str) -> Answer:
        if not self._controls.faults.remove(int(fault_id)):
            raise LookupError(f"There is no fault {fault_id}.")
        return json_answer(200, {"removed": 1})

    def _requests(self, request: Request) -> Answer:
        return json_answer(200, {"requests": [asdict(received) for received in self._controls.requests.all()]})

    def _clear_requests(self, request: Request) -> Answer:
        self._controls.requests.clear()
        return json_answer(200, {"removed": True})

    def _subscriptions(self, request: Request) -> Answer:
        rows = subscriptions.everything(self._state)
        return json_answer(200, {"subscriptions": [subscriptions.described(row) for row in rows]})

    def _make_subscription(self, request: Request) -> Answer:
        """A subscription that somebody else made; never merged with an existing one."""
        uuid = subscriptions.create(self._state, subscriptions.checked(body_of(request)))
        return self._subscription(201, uuid)

    def _change_subscription(self, request: Request, uuid: str) -> Answer:
        subscriptions.change(self._state, uuid, body_of(request))
        return self._subscription(200, uuid)

    def _delete_subscription(self, request: Request, uuid: str) -> Answer:
        subscriptions.delete(self._state, uuid)
        return json_answer(200, {"removed": 1})

    def _copy_subscription(self, request: Request, uuid: str) -> Answer:
        return self._subscription(201, subscriptions.copy(self._state, uuid))

    def _forget_subscriptions(self, request: Request) -> Answer:
        return json_answer(200, {"forgotten": subscriptions.forget(self._state)})

    def _subscription(self, status: int, uuid: str) -> Answer:
        return json_answer(status, subscriptions.described(subscriptions.one(self._state, uuid)))

    def _examples(self, request: Request) -> Answer:
        return json_answer(200, {"examples": [example.shown() for example in examples.examples()]})

    def _events(self, request: Request) -> Answer:
        limit = whole_number(request.query, "limit", 0)
        return json_answer(200, {"events": events.listed(self._state, limit or -1)})

    def _tell(self, request: Request) -> Answer:
        return json_answer(201, {"eventUuids": self._controls.tell(body_of(request))})

    def _apply_label_in_bulk(self, request: Request) -> Answer:
        wanted = body_of(request)
        count, push = wanted.get("count"), wanted.get("push", False)
        if type(count) is not int or type(push) is not bool:
            raise ValueError("count must be a whole number and push true or false.")
        event_uuids = self._controls.apply_label_in_bulk(str(wanted.get("label") or ""), count, push=push)
        return json_answer(201, {"count": len(event_uuids), "eventUuids": event_uuids})

    def _pushes(self, request: Request) -> Answer:
        rows = self._state.rows(
            "SELECT id, event_uuid AS eventUuid, subscription_uuid AS subscriptionUuid, uri, requested_at, finished_at,"
            " milliseconds, status, error FROM pushes ORDER BY id"
        )
        return json_answer(200, {"pushes": [dict(row) for row in rows]})

    def _push_again(self, request: Request) -> Answer:
        wanted = body_of(request)
        push_id = self._controls.push_again(str(wanted.get("eventUuid")), wanted.get("subscriptionUuid"))
        return json_answer(201, {"id": push_id})

    def _posts(self, request: Request) -> Answer:
        return json_answer(200, {"posts": inbox.posts(self._state)})

    def _compose(self, request: Request) -> Answer:
        return json_answer(201, inbox.compose(self._state, body_of(request)))

    def _apply_label(self, request: Request) -> Answer:
        wanted = body_of(request)
        post_ids = wanted.get("post_ids")
        if not isinstance(post_ids, list) or not all(type(post_id) is int for post_id in post_ids):
            raise ValueError("post_ids must be a list of numbers.")
        label = str(wanted.get("label") or "")
        return json_answer(201, {"eventUuids": self._controls.apply_label(label, post_ids)})

    def _settings(self, request: Request) -> Answer:
        return json_answer(200, asdict(self._state.settings))

    def _change_settings(self, request: Request) -> Answer:
        return json_answer(200, self._controls.change_settings(body_of(request)))

    def _reset(self, request: Request) -> Answer:
        self._controls.reset()
        return json_answer(200, {"reset": True})


def _mistake(status: int, sentence: str) -> Answer:
    return json_answer(status, {"error": sentence})
