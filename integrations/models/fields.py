"""A column that holds a Secret."""

from typing import TYPE_CHECKING, Any

from django.db import models

from integrations.infra.encryption import Secret

if TYPE_CHECKING:
    SecretText = models.TextField[Secret | str, Secret]
else:
    SecretText = models.TextField


class SecretField(SecretText):
    """Stores ciphertext and hands out `Secret`, so a page with an unreadable secret still opens.

    Plain text assigned to it is encrypted when saved; an empty string means "not set".
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        defaults: dict[str, Any] = {"blank": True, "default": "", "editable": False}
        super().__init__(*args, **defaults | kwargs)

    def get_default(self) -> Secret:
        return Secret("")

    def from_db_value(self, value: str | None, *_: Any) -> Secret:
        return Secret(value or "")

    def to_python(self, value: Any) -> Secret:
        return value if isinstance(value, Secret) else Secret.of(str(value or ""))

    def get_prep_value(self, value: Any) -> str:
        return self.to_python(value).stored

    def value_to_string(self, obj: models.Model) -> str:
        return self.get_prep_value(self.value_from_object(obj))
