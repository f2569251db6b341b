"""What a message may be: the arguments of chat.postMessage with their types, and the limits of blocks.

Stricter than Slack, which ignores an argument that it does not know: a misspelt one is to be noticed here. Facts:
docs.slack.dev/reference/methods/chat.postMessage and docs.slack.dev/reference/block-kit/blocks.
"""

from typing import Any

ARGUMENTS: dict[str, type] = {
    "channel": str, "text": str, "blocks": list, "thread_ts": str, "reply_broadcast": bool, "unfurl_links": bool,
    "unfurl_media": bool, "metadata": dict, "mrkdwn": bool,
}  # fmt: skip
MOST_BLOCKS, LONGEST_TEXT, LONGEST_ALL_BLOCKS = 50, 40_000, 13_000
LIMITS = {"header": ("plain_text", 150), "section": ("", 3000), "context": ("", 3000)}
MOST_ELEMENTS, LONGEST_BLOCK_ID = 10, 255


def problem_of(message: dict[str, Any]) -> tuple[str, list[str]]:
    """(error code, what is wrong with it); empty when the message is taken."""
    wrong = [f"unknown or of the wrong type: {name}" for name, value in message.items() if not _fits(name, value)]
    if wrong:
        return "invalid_arguments", wrong
    blocks = message.get("blocks") or []
    if not message.get("text", "").strip() and not blocks:
        return "no_text", []
    if len(message.get("text", "")) > LONGEST_TEXT:
        return "msg_too_long", []
    metadata = message.get("metadata")
    if metadata is not None and not (isinstance(metadata.get("event_type"), str) and "event_payload" in metadata):
        return "invalid_metadata_format", []
    wrong = [
        f"{what} [json-pointer:/blocks/{number}]" for number, block in enumerate(blocks) if (what := _wrong(block))
    ]
    if wrong or len(blocks) > MOST_BLOCKS:
        return "invalid_blocks", wrong or ["no more than 50 items allowed"]
    if sum(len(str(block)) for block in blocks) > LONGEST_ALL_BLOCKS:
        return "msg_blocks_too_long", []
    return "", []


def problem_of_update(message: dict[str, Any]) -> str:
    """The same for chat.update, which takes fewer arguments (docs.slack.dev/reference/methods/chat.update)."""
    taken = {"text", "blocks", "metadata", "link_names", "parse", "reply_broadcast", "file_ids", "attachments"}
    return "invalid_arguments" if set(message) - taken else problem_of(message)[0]


def _fits(name: str, value: Any) -> bool:
    return name in ARGUMENTS and type(value) is ARGUMENTS[name]


def _wrong(block: Any) -> str:
    if not isinstance(block, dict) or block.get("type") not in (*LIMITS, "divider"):
        return "unsupported type"
    if block["type"] == "divider":
        return ""
    kind, longest = LIMITS[block["type"]]
    if block["type"] == "context":
        elements = block.get("elements")
        if not isinstance(elements, list) or not 1 <= len(elements) <= MOST_ELEMENTS:
            return "must have 1 to 10 elements"
        return next((what for each in elements if (what := _wrong_text(each, kind, longest))), "")
    return _wrong_text(block.get("text"), kind, longest)


def _wrong_text(text: Any, kind: str, longest: int) -> str:
    if not isinstance(text, dict) or text.get("type") not in ([kind] if kind else ["plain_text", "mrkdwn"]):
        return "must be a text object"
    if set(text) - {"type", "text", "emoji", "verbatim"} or ("emoji" in text and text["type"] != "plain_text"):
        return "unknown member of a text object"
    length = len(text.get("text") or "")
    return "" if 1 <= length <= longest else f"must be 1 to {longest} characters"
