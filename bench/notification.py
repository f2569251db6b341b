"""A label-applied notification of about 1.4 KB as Khoros sends it; each has its own event and its own post."""

import json
from datetime import UTC, datetime

EVENT = "#EVENT#"
POST = "#POST#"
TEXT = (
    "Third week without the parcel I paid express delivery for. The tracking page still says “handed over to the "
    "carrier”, the hotline keeps me in a queue for forty minutes and then hangs up. Could somebody at your end please "
    "look at order 4711-0815 and tell me what is going on? Thanks in advance!"
)
CONTENT = {
    "companyId": 42,
    "eventName": "stream-item-label-applied",
    # What happened long ago would be looked up first.
    "createdDate": f"{datetime.now(UTC):%a %b %d %H:%M:%S UTC %Y}",
    "uuid": "9d9da3d9-c2f8-483f-bd83-b541c9b2ff29",
    "eventUuid": EVENT,
    "type": "hydrated",
    "data": {
        "labels": [],
        "items": [
            {
                "sfEntityType": "StreamItem",
                "entityId": f"twitter:{POST}",
                "text": TEXT,
                "link": f"https://twitter.com/ann_example/status/{POST}",
                "author": "Ann Example",
                "authorIcon": "https://pbs.twimg.com/profile_images/1029384756/portrait_normal.jpg",
                "authorId": "12345678",
                "authorLink": "https://twitter.com/ann_example",
                "authorScreenName": "ann_example",
                "initiativeIds": [5],
                "contentType": "post",
                "createdDate": "2017-04-12T14:01:02.000Z",
                "followerCount": "8424",
                "labels": [],
                "notes": [],
                "inReplyTo": "twitter:855485181481934848",
                "repostedFrom": "twitter:855485181481934849",
                "parentPost": "twitter:855485181481934850",
            }
        ],
    },
}
WHOLE = json.dumps(CONTENT, ensure_ascii=False, indent=1).encode()
BEFORE_EVENT, _, _rest = WHOLE.partition(EVENT.encode())
AFTER_EVENT, FIRST_POST, SECOND_POST = _rest.split(POST.encode())


def event_uuid(run: int, number: int) -> str:
    return f"{run:08x}-0000-4000-8000-{number:012x}"


def body(run: int, number: int) -> bytes:
    """The notification with this number in this run; all have the same length."""
    event, post = event_uuid(run, number).encode(), b"%010d%09d" % (run, number)
    return b"".join((BEFORE_EVENT, event, AFTER_EVENT, post, FIRST_POST, post, SECOND_POST))


def with_text(raw: bytes, text: str) -> bytes:
    """The same notification with another text."""
    return raw.replace(json.dumps(TEXT, ensure_ascii=False).encode(), json.dumps(text, ensure_ascii=False).encode())
