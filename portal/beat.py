"""The process `beat`: the clock, and nothing else, so that it is light and waits for nobody.

Two of them are harmless, and none is bearable: each worker runs the same clock.
"""

import os
import signal
import sys
import threading
from types import FrameType


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    import django
    from django.core.exceptions import ImproperlyConfigured

    try:
        django.setup()
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    # Here its messages are sent with the application's settings.
    from integrations.jobs.clock import run_clock

    ending = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ending.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    run_clock(ending, is_beat=True)


if __name__ == "__main__":
    main()
