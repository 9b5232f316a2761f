"""Column types of Postgres with values of each, and a session whose settings write values differently."""

from __future__ import annotations

STRANGE_WRITER = {
    "TimeZone": "Asia/Kathmandu",
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
}

# A type and values of it, as SQL expressions; null is always one more.
TYPES = {
    "smallint": ["-32768", "32767"],
    "integer": ["-2147483648"],
    "bigint": ["9223372036854775807", "-9223372036854775808", "9007199254740993"],
    "numeric": [
        "12345678901234567890.10",
        "'NaN'",
        "'Infinity'",
        "'-Infinity'",
        "0.000000000000000000000000001000",
        "repeat('9', 5000)::numeric",
    ],
    "numeric(10,2)": ["1.5"],
    "real": ["1.1", "'NaN'", "'infinity'", "3.4028235e38", "1e-45"],
    "double precision": ["0.1 + 0.2", "'NaN'", "'-Infinity'", "1e308", "5e-324", "'-0'"],
    "money": ["1234567.89", "-0.5"],
    "boolean": ["true", "false"],
    "text": ["''", r"E'line\n\ttab \"quoted\" \\ back \x01'", "'Größe 😀 \u2028'", "repeat('x', 20000)"],
    "varchar(10)": ["'abc'"],
    "char(5)": ["'ab'"],
    '"char"': ["'c'"],
    "name": ["'pg_class'"],
    "bytea": [r"'\x00ff10'", "''"],
    "date": ["'2026-02-28'", "'0044-03-15 BC'", "'infinity'", "'-infinity'", "'99999-12-31'"],
    "time": ["'23:59:59.999999'", "'24:00'"],
    "timetz": ["'12:00:00.5+05:45'"],
    "timestamp": ["'2026-02-28 12:00:00.123456'", "'infinity'", "'0001-01-01 BC'"],
    "timestamptz": [
        "'2026-07-01 12:00:00+02'",
        "'-infinity'",
        "'0044-03-15 12:00:00+00 BC'",
        "'294276-12-31 23:59:59.999999+00'",
    ],
    "interval": ["'1 year 2 mons -3 days 04:05:06.789'", "'-1 mon'", "'infinity'"],
    "bit(5)": ["'10101'"],
    "bit varying": ["'1'", "''"],
    "inet": ["'192.168.0.1/24'", "'::1'"],
    "cidr": ["'10.0.0.0/8'"],
    "macaddr": ["'08:00:2b:01:02:03'"],
    "macaddr8": ["'08:00:2b:01:02:03:04:05'"],
    "uuid": ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"],
    "json": [
        """'{"b": 1.10, "a": 12345678901234567890.10, "a": 2, "nested": [1, {"x": null}]}'""",
        "'1E400'",
        "'\"\\u00e9\"'",
        "'null'",
    ],
    "jsonb": ["""'{"b": 1.10, "a": 12345678901234567890.10, "": [true]}'""", "'null'", "'[]'", "'1E400'"],
    "jsonpath": ["'$.a[*] ? (@ > 1)'"],
    "xml": ["'<a b=\"c\">text</a>'"],
    "point": ["'(1.1,-2)'"],
    "line": ["'{1,2,3}'"],
    "lseg": ["'[(0,0),(1,1)]'"],
    "box": ["'(1,1),(0,0)'"],
    "path": ["'((0,0),(1,1))'", "'[(0,0),(1,1)]'"],
    "polygon": ["'((0,0),(1,1),(1,0))'"],
    "circle": ["'<(0,0),1.5>'"],
    "tsvector": ["'a:1A b:2 ''it''''s'''"],
    "tsquery": ["'a & !b <-> c'"],
    "oid": ["4294967295"],
    "regclass": ["'pg_class'"],
    "regtype": ["'integer'"],
    "regproc": ["'now'"],
    "regrole": ["'postgres'"],
    "regnamespace": ["'public'"],
    "xid": ["'42'"],
    "xid8": ["'18446744073709551615'"],
    "cid": ["'42'"],
    "tid": ["'(1,2)'"],
    "pg_lsn": ["'16/B374D848'"],
    "pg_snapshot": ["'10:20:10,14,15'"],
    "int4range": ["'[1,5)'", "'empty'", "'(,)'"],
    "numrange": ["'(1.10,2.200]'"],
    "tstzrange": ["'[2026-01-01 00:00+02,infinity)'"],
    "daterange": ["'[2026-01-01,2026-02-01)'"],
    "int8multirange": ["'{[1,2),[9007199254740993,)}'"],
    "tstzmultirange": ["'{[2026-01-01 00:00+02,2026-01-02 00:00+02)}'"],
    "integer[]": ["'{1,null,3}'", "'{}'", "'{{1,2},{3,4}}'", "'[0:2]={1,2,3}'"],
    "text[]": ["""'{"a,b","c\\"d",null,"NULL"}'"""],
    "numeric[]": ["'{NaN,1.10}'"],
    "timestamptz[]": ["'{2026-01-01 00:00+02}'"],
    "bytea[]": [r"""'{"\\x00ff"}'"""],
    "jsonb[]": ["""array['{"a": 1}'::jsonb, 'null', null]"""],
    "json[]": ["""array['{"a": 1.0, "a": 2}'::json, null]"""],
    "mood": ["'very happy'"],
    "mood[]": ["'{\"very happy\",sad}'"],
    "positive": ["7"],
    "pair": ["row(9007199254740993, '2026-01-01 00:00+02')", "row(null, null)"],
    "pair[]": ["array[row(1, null)::pair, null]"],
    "floatrange": ["'[1.1,2.2)'"],
    "floatmultirange": ["'{[1.1,2.2)}'"],
    "castable": ["'answer'"],
    "hstore": ["'a=>1, b=>null, \"c d\"=>e'"],
    "citext": ["'ABC'"],
    "ltree": ["'Top.Science'"],
    "cube": ["'(1,2),(3,4)'"],
}

USER_TYPES = """
create type mood as enum ('sad', 'very happy');
create domain positive as integer check (value > 0);
create type pair as (a bigint, b timestamptz);
create type floatrange as range (subtype = float8, multirange_type_name = floatmultirange);
create type castable as enum ('answer');
create function castable_to_json(castable) returns json language sql immutable
    as $$ select json_build_object($1::text, 42) $$;
create cast (castable as json) with function castable_to_json(castable);
create extension hstore; create extension citext; create extension ltree; create extension cube;
"""
