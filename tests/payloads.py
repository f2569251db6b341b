"""What Khoros sends, after the documented example."""

import copy
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DOCUMENTED = json.loads((Path(__file__).parent / "fixtures/khoros/label-applied.twitter.json").read_text())


def item(entity_id: str = "", **fields: Any) -> dict[str, Any]:
    """One post of a notification."""
    found = copy.deepcopy(DOCUMENTED["data"]["items"][0])
    found["entityId"] = entity_id or f"twitter:{uuid.uuid4().int % 10**12}"
    return found | fields


def notification(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """With an event uuid of its own and these posts."""
    found = copy.deepcopy(DOCUMENTED)
    found["eventUuid"] = str(uuid.uuid4())
    # What happened long ago is looked up before it is sent: that has tests of its own.
    found["createdDate"] = f"{datetime.now(UTC):%a %b %d %H:%M:%S UTC %Y}"
    found["data"]["items"] = list(items) or [item()]
    return found | fields
