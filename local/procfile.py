"""Reads the Procfile, so that the same commands run here as where the portal is deployed."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from local.errors import Refusal

LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(.+)")
VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})")
RELEASE = "release"


def read_procfile(path: Path, environment: Mapping[str, str]) -> dict[str, list[str]]:
    """The command of each process by its name, without the release step, which runs once and before them."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Refusal(f"The Procfile cannot be read: {error.strerror}.") from error
    lines = [line.strip() for line in text.splitlines()]
    commands = {}
    for line in lines:
        if not line or line.startswith("#"):
            continue
        found = LINE.fullmatch(line)
        if not found:
            raise Refusal(f"The Procfile has a line that is not of the form name: command: {line!r}.")
        commands[found.group(1)] = [_filled_in(word, environment) for word in shlex.split(found.group(2))]
    commands.pop(RELEASE, None)
    return commands


def _filled_in(word: str, environment: Mapping[str, str]) -> str:
    """Elsewhere a shell reads these lines, so a variable in one must mean the same here."""
    return VARIABLE.sub(
        lambda found: environment.get(found.group(1) or found.group(2)) or found.group(3) or "",
        word,
    )
