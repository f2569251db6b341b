"""Packed columns: what was stored once can be read for ever."""

import hashlib

import pytest

from integrations.infra.packing import DICTIONARIES, pack, unpack
from tests.payloads import DOCUMENTED


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x",
        b"\x00\xff" * 5000,
        b"ab" * 2048,
        b"ab" * 2049,
        str(DOCUMENTED).encode(),
        "Wo bleibt mein Päckchen? 📦".encode(),
    ],
)
def test_what_is_packed_is_unpacked_as_it_was(raw: bytes) -> None:
    assert unpack(pack(raw)) == raw


def test_what_resembles_the_rest_takes_a_third_of_the_space() -> None:
    raw = b'{"companyId": 42, "eventName": "stream-item-label-applied", "data": {"labels": [], "items": []}}'
    assert len(pack(raw)) < len(raw) / 3


def test_no_dictionary_that_was_used_ever_changes() -> None:
    """A changed one would make unreadable what is stored: add another one at the end instead."""
    used = [hashlib.sha256(dictionary).hexdigest()[:16] for dictionary in DICTIONARIES]
    assert used == ["50b1e315ad2090ac"]
