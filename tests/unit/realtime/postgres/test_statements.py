"""The text of what `enable` and `disable` run: names and literals in it stay what they are."""

from __future__ import annotations

import pytest

from realtime.channels import Event, Table
from realtime.postgres.statements import disable_sql, enable_sql


def test_enable_is_one_call_in_a_transaction_with_a_short_lock_timeout():
    text = enable_sql(Table("public", "orders"), [Event.INSERT, Event.UPDATE], None, 1_024)
    assert text == (
        "begin;\n"
        "set local lock_timeout = '100ms';\n"
        "select realtime.enable_v1('public.orders'::regclass, array['INSERT', 'UPDATE'], null, 1024);\n"
        "commit;\n"
    )


def test_disable_likewise():
    assert "select realtime.disable_v1('audit.logins'::regclass);" in disable_sql(Table("audit", "logins"))


@pytest.mark.parametrize(
    ("table", "spelled"),
    [
        (Table("public", "Orders"), "'public.\"Orders\"'"),
        (Table("my.schema", "a b"), '\'"my.schema"."a b"\''),
        (Table("public", 'q"uote'), '\'public."q""uote"\''),
        (Table("public", "it's"), "'public.\"it''s\"'"),
        (Table("public", "back\\slash"), "E'public.\"back\\\\slash\"'"),
        (Table("public", "x'); drop table orders; --"), "'public.\"x''); drop table orders; --\"'"),
    ],
)
def test_a_name_is_quoted_wherever_it_must_be(table, spelled):
    assert f"disable_v1({spelled}::regclass)" in disable_sql(table)


def test_columns_are_literals():
    text = enable_sql(Table("public", "orders"), [Event.DELETE], ["id", "it's"], 1_024)
    assert "array['DELETE'], array['id', 'it''s'], 1024)" in text
