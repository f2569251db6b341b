"""Text in scripts without spaces (Chinese, Japanese, Korean) as pairs of characters, by which it is found."""

import re

DENSE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
# Of a long text its beginning is found.
MOST_PAIRS = 600


def pairs_in(text: str) -> list[str]:
    """Each two characters that stand side by side, once; empty for other scripts."""
    found: dict[str, None] = {}
    for run in DENSE.findall(text):
        found.update(dict.fromkeys(run[place : place + 2] for place in range(len(run) - 1)))
        if len(found) > MOST_PAIRS:
            break
    return list(found)[:MOST_PAIRS]


def is_dense(text: str) -> bool:
    return DENSE.search(text) is not None
