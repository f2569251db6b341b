"""Secrets at rest: encrypted with a key from the environment, readable only on request, never by accident.

`ENCRYPTION_KEY` may list several keys, newest first: the first encrypts, all of them decrypt, so a key is rotated by
putting a new one in front and running `manage.py rotate_encryption_key`. Stored form: "v1:" and a Fernet token
(https://cryptography.io/en/latest/fernet/), made with a key derived from the configured text by HKDF-SHA256.
"""

import base64
from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

VERSION = "v1:"


class UnreadableSecret(Exception):
    """A stored secret that no configured key decrypts: a person has to enter it again."""

    message = "cannot be read with the present key: enter it again"

    def __init__(self) -> None:
        super().__init__(f"A stored secret {self.message}.")


class Secret:
    """A secret as it is stored. Only `reveal()` decrypts; printing, logging or comparing shows nothing."""

    __slots__ = ("stored",)

    def __init__(self, stored: str) -> None:
        self.stored = stored

    @classmethod
    def of(cls, plain: str) -> "Secret":
        return cls(VERSION + cipher().encrypt(plain.encode()).decode()) if plain else cls("")

    def reveal(self) -> str:
        """The secret itself. Raises UnreadableSecret when no configured key fits."""
        if not self.stored:
            return ""
        if not self.stored.startswith(VERSION):
            raise UnreadableSecret
        try:
            return cipher().decrypt(self.stored.removeprefix(VERSION)).decode()
        except InvalidToken:
            raise UnreadableSecret from None

    @property
    def is_readable(self) -> bool:
        try:
            self.reveal()
        except UnreadableSecret:
            return False
        return True

    def reencrypted(self) -> "Secret":
        """The same secret under the newest key. Raises UnreadableSecret."""
        return Secret.of(self.reveal())

    def __bool__(self) -> bool:
        return bool(self.stored)

    def __repr__(self) -> str:
        return "<secret>" if self.stored else "<no secret>"


def cipher() -> MultiFernet:
    return _cipher(tuple(settings.ENCRYPTION_KEYS))


@cache
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(_derived(key)) for key in keys])


def _derived(key: str) -> bytes:
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"casebridge stored secrets v1")
    return base64.urlsafe_b64encode(derivation.derive(key.encode()))
