"""Text in scripts without spaces (Chinese, Japanese, Korean) as pairs of characters, by which it is found."""

import re

DENSE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]+")


def pairs_in(text: str) -> list[str]:
    """Each two characters that stand side by side, once; empty for other scripts."""
    found: dict[str, None] = {}
    for run in DENSE.findall(text):
        found.update(dict.fromkeys(run[place : place + 2] for place in range(len(run) - 1)))
    return list(found)


def is_dense(text: str) -> bool:
    return DENSE.search(text) is not None
