"""Messages of the company's own: planned, handed to a network, published, or waiting for approval.

Facts: developer.khoros.com/khorosmarketingdevdocs/docs/events-message and the Message object of the Conversations API.
Whether `data` is the message or wraps it is not shown, so both are read; kinds of content beyond the four documented
ones (Status, ImageShare, ImageShareList, Video) are read by the names their texts usually have.
"""

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from integrations.domain.post import Post
from integrations.sources.khoros.dates import read_time
from integrations.sources.khoros.values import as_list, as_object, as_text, digest, read_labels, web_address

MESSAGE_TYPES = {"Message", "MultiChannelMessage", "SingleChannelMessage"}
SENT_TO_NETWORK = "message-sent-to-network"
NEEDS_APPROVAL = "message-needs-approval"
LONGEST_ID, LONGEST_OWN_ID = 250, 200

# Which network a link belongs to: a message for several channels says it nowhere else.
HOSTS = {
    "facebook.com": "facebook", "fb.com": "facebook", "instagram.com": "instagram", "twitter.com": "twitter",
    "x.com": "twitter", "linkedin.com": "linkedin", "youtube.com": "youtube", "youtu.be": "youtube",
    "pinterest.com": "pinterest", "vk.com": "vk", "weibo.com": "sinaweibo", "tiktok.com": "tiktok",
    "threads.net": "threads",
}  # fmt: skip
TEXT_NAMES = ("text", "caption", "videoTitle", "title", "description", "message", "body")


def is_message(row: Any) -> bool:
    return as_text(as_object(row).get("sfEntityType")) in MESSAGE_TYPES


def messages_in(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of an event: `data` itself, `data.message`, `data.messages[]` and those of `data.items[]`."""
    # Content beside items is no message's: what was labelled is in the items.
    if is_message(data) or (isinstance(data.get("content"), dict) and not data.get("items")):
        return [data]
    inner = [*as_list(data.get("message")), *as_list(data.get("messages"))]
    items = [row for row in as_list(data.get("items")) if is_message(row)]
    return [row for row in (*inner, *items) if isinstance(row, dict)]


def message_post(message: dict[str, Any], event_name: str, happened_at: datetime | None = None) -> Post | None:
    """One message as a Post; None without an id.

    A message may wait for approval more than once: each time is an event of its own.
    """
    channels = [message, *(as_object(row) for row in as_list(message.get("channelMessages")))]
    native_id = as_text(message.get("id")).strip()
    if not native_id:
        return None
    known_as = native_id if len(native_id) <= LONGEST_OWN_ID else f"{native_id[:150]}~{digest(native_id)}"
    is_one_of_many = event_name == NEEDS_APPROVAL and happened_at is not None
    occurrence = f"@{happened_at:%Y%m%dT%H%M%S}" if is_one_of_many else ""
    networks = _networks(message, channels)
    links = _links(message)
    results = [as_object(row) for row in as_list(message.get("publicationResults"))]
    return Post(
        post_id=f"message:{known_as}{occurrence}",
        network=networks[0] if networks else "",
        networks=networks,
        native_id=native_id[:LONGEST_ID],
        kind="message",
        title=as_text(message.get("title")),
        text=_text(channels) or as_text(message.get("title")),
        link=links[0] if links else "",
        content_type=as_text(as_object(message.get("content")).get("sfEntityType")),
        labels=read_labels(message.get("labels")),
        posted_at=_first_time(row.get("datePublished") for row in results),
        facts=_facts(message, channels, results, links, event_name),
    )


def _networks(message: dict[str, Any], channels: list[dict[str, Any]]) -> tuple[str, ...]:
    """Those of the links and channels first: "multi_channel" is no network a person would look for."""
    named = [as_text(row.get("service") or row.get("messageService")).lower() for row in channels]
    networks = [*(_network_of(link) for link in _links(message)), *named]
    networks.sort(key=lambda name: name == "multi_channel")
    return tuple(dict.fromkeys(name[:60] for name in networks if name))


def _network_of(link: str) -> str:
    host = (urlsplit(link).hostname or "").lower()
    return next((name for known, name in HOSTS.items() if host == known or host.endswith(f".{known}")), "")


def _links(message: dict[str, Any]) -> list[str]:
    """Permanent addresses of what was published; some come without a scheme."""
    results = [as_text(as_object(row).get("serviceLink")).strip() for row in as_list(message.get("publicationResults"))]
    whole = (link if "://" in link else f"https://{link}" for link in results if link and " " not in link)
    addresses = []
    for link in whole:
        try:
            urlsplit(link)
        except ValueError:
            continue
        addresses.append(web_address(link))
    return [link for link in dict.fromkeys(addresses) if link]


def _text(channels: list[dict[str, Any]]) -> str:
    texts = [_content_text(as_object(row.get("content"))) for row in channels]
    return "\n\n".join(dict.fromkeys(text for text in texts if text))


def _content_text(content: dict[str, Any]) -> str:
    parts = [as_text(content.get(name)) for name in TEXT_NAMES]
    parts += [as_text(as_object(image).get("caption")) for image in as_list(content.get("images"))]
    share = as_object(content.get("shareLink"))
    parts += [as_text(share.get(name)) for name in ("title", "url")]
    return "\n".join(dict.fromkeys(part for part in parts if part))


def _facts(
    message: dict[str, Any],
    channels: list[dict[str, Any]],
    results: list[dict[str, Any]],
    links: list[str],
    event_name: str,
) -> tuple[tuple[str, str], ...]:
    accounts = [as_text(account) for row in channels for account in as_list(row.get("targetAccountIds"))]
    accounts += [as_text(row.get("accountId")) for row in results]
    facts = [("accounts", account) for account in dict.fromkeys(accounts)]
    facts.append(("scheduled_at", _moment(message.get("scheduledPublishDate"))))
    facts += [("published_at", _moment(row.get("datePublished"))) for row in results]
    facts += [("publication_status", as_text(row.get("status"))) for row in results]
    facts += [("publication_links", link) for link in links]
    facts.append(("delegation_status", as_text(message.get("delegationStatus"))))
    facts.append(("visibility", as_text(message.get("organicVisibility"))))
    facts += [("media", address) for address in _media(channels)]
    if event_name == SENT_TO_NETWORK or message.get("nativeScheduling"):
        facts.append(("is_native", "yes"))
    return tuple(dict.fromkeys((name, value[:1000]) for name, value in facts if value))


def _media(channels: list[dict[str, Any]]) -> list[str]:
    """Addresses of images. They are temporary, so they are a fact but never the post's link."""
    contents = [as_object(row.get("content")) for row in channels]
    images = [*contents, *(as_object(image) for content in contents for image in as_list(content.get("images")))]
    return [address for image in images if (address := as_text(image.get("temporaryImageUrl")))]


def _moment(raw: Any) -> str:
    moment = read_time(raw)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else ""


def _first_time(values: Any) -> Any:
    return next((moment for value in values if (moment := read_time(value))), None)
