"""One log for many processes: whole lines, each behind the name of who said it.

What the processes print may quote foreign text, so no control sequence but a colour passes to the terminal, and nothing
at all can end the launcher: neither undecodable bytes nor a reader that went away.
"""

import os
import re
import sys

WIDTH = 8
COLOURS = {"web": 36, "worker": 35, "beat": 33, "sandbox": 32, "postgres": 34, "valkey": 31, "run": 1}
OTHER_COLOUR = 37

STYLE = re.compile(r"\x1b\[[0-9;]*m")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class Log:
    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._coloured = os.isatty(descriptor) and not os.environ.get("NO_COLOR")

    def line(self, name: str, text: str) -> None:
        head = f"{name:<{WIDTH}} |"
        if self._coloured:
            head = f"\x1b[{COLOURS.get(name, OTHER_COLOUR)}m{head}\x1b[0m"
        self.plain(f"{head} {self._harmless(text)}".rstrip())

    def say(self, text: str) -> None:
        self.line("run", text)

    def plain(self, text: str) -> None:
        data = f"{text}\n".encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            # The reader is gone. Whoever started the portal through a pipe still wants it running and ended in order.
            pass

    def _harmless(self, text: str) -> str:
        styles = STYLE.findall(text) if self._coloured else []
        parts = [CONTROL.sub(lambda found: repr(found.group())[1:-1], part) for part in STYLE.split(text)]
        if not styles:
            return "".join(parts)
        joined = "".join(part + style for part, style in zip(parts, [*styles, ""], strict=True))
        return joined + "\x1b[0m"


def complain(sentence: str) -> None:
    sys.stdout.flush()
    Log(2).plain(sentence)
