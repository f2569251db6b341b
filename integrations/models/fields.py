"""Columns that hold a Secret, and columns that hold much text in little space."""

import json
from typing import TYPE_CHECKING, Any

from django.db import models

from integrations.infra.encryption import Secret
from integrations.infra.packing import pack, unpack

if TYPE_CHECKING:
    SecretText = models.TextField[Secret | str, Secret]
    PackedBase = models.BinaryField[Any, Any]
else:
    SecretText = models.TextField
    PackedBase = models.BinaryField


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


# --- Packed ----------------------------------------------------------------------------------------------------------


class PackedField(PackedBase):
    """Bytes, stored packed. Cannot be searched."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"default": b"", "db_default": b""} | kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        for option in ("default", "db_default"):
            kwargs.pop(option, None)
        return name, path, args, kwargs

    def dumped(self, value: Any) -> bytes:
        return bytes(value or b"")

    def loaded(self, raw: bytes) -> Any:
        return raw

    def get_default(self) -> Any:
        return self.loaded(b"")

    def get_prep_value(self, value: Any) -> bytes:
        return pack(self.dumped(value))

    def from_db_value(self, value: bytes | memoryview | None, *_: Any) -> Any:
        return self.loaded(unpack(value))


class PackedTextField(PackedField):
    """Text, stored packed."""

    def dumped(self, value: Any) -> bytes:
        return str(value or "").encode()

    def loaded(self, raw: bytes) -> str:
        return raw.decode()


class PackedJSONField(PackedField):
    """Any JSON, stored packed; `empty` is what nothing stored means."""

    def __init__(self, *args: Any, empty: type = list, **kwargs: Any) -> None:
        self.empty = empty
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, kwargs | ({} if self.empty is list else {"empty": self.empty})

    def dumped(self, value: Any) -> bytes:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() if value else b""

    def loaded(self, raw: bytes) -> Any:
        return json.loads(raw) if raw else self.empty()
