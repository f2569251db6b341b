"""Inputs of our own for the theme's forms."""

from collections.abc import Iterable
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget


class SuggestingInput(UnfoldAdminTextInputWidget):
    """A text input that offers values to choose from; anything else may be typed as well.

    `suggestions` are (value, label).
    """

    def __init__(self, list_id: str, suggestions: Iterable[tuple[str, str]], attrs: dict[str, Any] | None = None):
        super().__init__(attrs=(attrs or {}) | {"list": list_id, "autocomplete": "off"})
        self.list_id = list_id
        self.suggestions = list(suggestions)

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        options = format_html_join("", '<option value="{}">{}</option>', self.suggestions)
        field = super().render(name, value, attrs, renderer)
        return format_html('{}<datalist id="{}">{}</datalist>', field, self.list_id, options)
