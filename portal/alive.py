"""Whether one process of this container works: `python -m portal.alive web` (or worker, beat) ends with 0 or 1.

Light, as a container asks every few seconds: neither Django nor the database is loaded. The clock of a worker or of
beat touches a file at every tick; `web` is asked over HTTP.
"""

import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

SILENT_AFTER_SECONDS = 60.0


def clock_file() -> Path:
    return Path(os.environ.get("DATA_DIR") or tempfile.gettempdir()) / "casebridge-clock"


def has_ticked() -> bool:
    try:
        return time.time() - clock_file().stat().st_mtime < SILENT_AFTER_SECONDS
    except OSError:
        return False


def answers() -> bool:
    address = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}/readyz"
    try:
        # Without a proxy that the environment may name.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return bool(opener.open(address, timeout=5).status == 200)
    except (OSError, urllib.error.URLError):
        return False


def main(name: str) -> int:
    return 0 if (answers() if name == "web" else has_ticked()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "web"))
