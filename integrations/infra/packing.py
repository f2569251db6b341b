"""Bytes in less space: a third or less for what this portal receives, sends and records.

PostgreSQL itself compresses only rows over two kilobytes, and these are shorter. They resemble one another, so zlib is
given a dictionary of what occurs in most of them (https://docs.python.org/3/library/zlib.html, `zdict`). The first byte
names the dictionary: one that was used must stay as it is, or what it packed cannot be read; a better one is added.
"""

import zlib
from contextlib import suppress

LEVEL = 6
# (window, memory) as zlib counts them: what is short packs as small, and three times as fast, with less to clear first.
SHORT, FOR_SHORT, FOR_LONG = 4096, (13, 6), (zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL)
DICTIONARIES = (
    (
        b'{"User-Agent":"", "Content-Length":"", "X-Forwarded-For":"", "X-Request-Id":"", "Date":" GMT"}stream'
        b'-item-rule-applied message-published credential-"method":"PUT","url":"https://.com/api/v2/","method"'
        b':"GET","url":"https://.com/api/v2/","headers":{},"reply":"no ticket with this external id","status":'
        b'500,"retry-after":"","error":"","details":{},"description":"""priority":"normal","type":"incident","'
        b'group_id":,"custom_fields":[{"id":,"value":""}],"requester_id":"facebook:" "instagram:" https://www.'
        b'facebook.com/ https://www.instagram.com/ "contentType": "comment"[{"method":"POST","url":"https://.z'
        b'endesk.com/api/v2/tickets.json","headers":{"Authorization":"[removed]","Content-Type":"application/j'
        b'son","Idempotency-Key":"casebridge-","body_bytes":,"duration_ms":,"status":201,"reply_headers":{"dat'
        b'e":"Mon, Tue, Wed, Thu, Fri, Sat, Sun, Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec 2027 GMT","co'
        b'ntent-type":"application/json; charset=utf-8","location":"https://.zendesk.com/api/v2/tickets/.json"'
        b',"x-rate-limit":"700","x-rate-limit-remaining":"","ratelimit-limit":"700","ratelimit-remaining":"","'
        b'ratelimit-reset":"","x-idempotency-lookup":"miss","x-request-id":""},"reply":"ticket "}]{"ticket":{"'
        b'subject":"CreateCase:  on twitter: ","comment":{"body":"\\n\\nAuthor: \\nHandle: @\\nNetwork: twitter\\nP'
        b'ost: https://twitter.com//status/\\nPost id: twitter:\\nPosted: 2026- UTC\\nLabel: CreateCase","public"'
        b':false},"external_id":"khoros:twitter:","tags":["khoros"]}}{"companyId": , "eventName": "stream-item'
        b'-label-applied", "createdDate": "Mon Tue Wed Thu Fri Sat Sun UTC 2026", "uuid": "", "eventUuid": "",'
        b' "type": "hydrated", "data": {"labels": [], "items": [{"sfEntityType": "StreamItem", "entityId": "tw'
        b'itter:", "text": "", "link": "https://twitter.com//status/", "author": "", "authorIcon": "https://pb'
        b's.twimg.com/profile_images/_normal.jpg", "authorId": "", "authorLink": "https://twitter.com/", "auth'
        b'orScreenName": "", "initiativeIds": [], "contentType": "post", "createdDate": "2026-T:.000Z", "follo'
        b'werCount": "", "labels": [], "notes": [], "inReplyTo": "twitter:", "repostedFrom": "twitter:", "pare'
        b'ntPost": "twitter:"}]}}{"Content-Type":"application/json","Content-Length":""}'
    ),
)
NEWEST = len(DICTIONARIES) - 1


def pack(raw: bytes) -> bytes:
    if not raw:
        return b""
    window, memory = FOR_SHORT if len(raw) <= SHORT else FOR_LONG
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -window, memory, zdict=DICTIONARIES[NEWEST])
    return bytes([NEWEST]) + packer.compress(raw) + packer.flush()


def unpack(packed: bytes | memoryview | None) -> bytes:
    if not packed:
        return b""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS, zdict=DICTIONARIES[packed[0]])
    return unpacker.decompress(bytes(packed[1:]))


GZIP_BEGINS = b"\x1f\x8b"
# Each costs a copy of what follows it.
MOST_MEMBERS = 100


def gunzipped(body: bytes, most: int) -> bytes:
    """The content of a gzip body, and any other body as it is; at most one byte more than `most`.

    Recognised by its first bytes: senders compress without saying so. It may have several members (RFC 1952, 2.2). One
    that ends too early, or cannot be unpacked, stays as it is.
    """
    if not body.startswith(GZIP_BEGINS):
        return body
    content, rest = b"", body
    with suppress(zlib.error):
        for _ in range(MOST_MEMBERS):
            unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            content += unpacker.decompress(rest, most + 1 - len(content))
            rest = unpacker.unused_data
            if len(content) > most or (unpacker.eof and not rest.startswith(GZIP_BEGINS)):
                return content
            if not unpacker.eof:
                return body
    return body
