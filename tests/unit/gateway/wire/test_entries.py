"""A presence entry, byte for byte: it lies in Redis for nodes of other versions, too."""

from __future__ import annotations

import pytest

from gateway.wire.entries import presence_entry

NOW = 1_700_000_000.0


def test_an_entry_has_the_fields_of_the_contract_in_their_order() -> None:
    assert presence_entry("c-1", "alice", b'{"n":1.50}', NOW, NOW + 0.5) == (
        b'{"connection_id":"c-1","user_id":"alice","state":{"n":1.50},'
        b'"joined_at":"2023-11-14T22:13:20.000000Z","updated_at":"2023-11-14T22:13:20.500000Z"}'
    )


@pytest.mark.parametrize(
    ("user_id", "written"), [(None, b"null"), ('a"b', b'"a\\"b"'), ("é", '"é"'.encode()), ("", b'""')]
)
def test_a_user_id_is_json(user_id: str | None, written: bytes) -> None:
    assert b'"user_id":' + written + b',"state"' in presence_entry("c-1", user_id, b"{}", NOW, NOW)


def test_an_entry_is_one_line_however_the_state_was_written() -> None:
    assert b'"state":{ "a":  1 },' in presence_entry("c-1", None, b'{\n"a":\n 1\n}', NOW, NOW)
