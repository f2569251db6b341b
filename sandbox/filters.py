"""The filters that the sandbox's templates know besides Django's own."""

import re
from collections.abc import Mapping
from typing import Any

from django.template import Library

register = Library()


@register.filter
def moment(iso: str) -> str:
    """An ISO time as `2026-04-12 09:01:11 UTC`; anything else unchanged."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z", iso)
    return f"{found[1]} {found[2]} UTC" if found else iso


@register.filter
def commas(number: Any) -> str:
    """A number, or a string of digits, as `1,284`; anything else unchanged."""
    return f"{int(number):,}" if re.fullmatch("[0-9]{1,15}", str(number), re.ASCII) else str(number)


@register.filter
def host(address: str) -> str:
    return re.split("[/?#]", address.partition("//")[2])[0]


@register.filter
def is_web_address(address: str) -> bool:
    """Whether it is safe as a link: `javascript:` and the like are not."""
    return address.lower().startswith(("http://", "https://"))


@register.filter
def get(words: Mapping[Any, str], key: Any) -> str | None:
    return words.get(key)
