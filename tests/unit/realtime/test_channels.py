"""What the name of a channel means: which table, presence or broadcast, and which names are refused.

Long by the tables of spellings and of characters.
"""

import random

import pytest

from realtime.channels import MAX_CHANNEL_BYTES, Channel, Event, Table, is_nameable, parse_channel
from realtime.errors import ClientError, Code


def refusal(name: str) -> ClientError:
    with pytest.raises(ClientError) as caught:
        parse_channel(name)
    assert caught.value.code is Code.INVALID_CHANNEL
    return caught.value


# Tables


@pytest.mark.parametrize(
    ("name", "table", "event"),
    [
        ("table:users", Table("public", "users"), None),
        ("table:audit.logins", Table("audit", "logins"), None),
        ("table:users:INSERT", Table("public", "users"), Event.INSERT),
        ("table:audit.logins:UPDATE", Table("audit", "logins"), Event.UPDATE),
        ("table:users:DELETE", Table("public", "users"), Event.DELETE),
        ('table:"my.schema"."odd:name":INSERT', Table("my.schema", "odd:name"), Event.INSERT),
        ('table:"my.schema".plain', Table("my.schema", "plain"), None),
        ('table:plain."odd:name"', Table("plain", "odd:name"), None),
        ('table:"users"', Table("public", "users"), None),
        ('table:"say ""hi""."', Table("public", 'say "hi".'), None),
        ('table:""""', Table("public", '"'), None),
        ('table:"users:INSERT"', Table("public", "users:INSERT"), None),
        ('table:"users:INSERT":DELETE', Table("public", "users:INSERT"), Event.DELETE),
        ('table:6" nails', Table("public", '6" nails'), None),
        ("table:order lines", Table("public", "order lines"), None),
        ("table:Straße.Ключ", Table("Straße", "Ключ"), None),
        ("table:表", Table("public", "表"), None),
        ("table:INSERT", Table("public", "INSERT"), None),
        ("table:INSERT:INSERT", Table("public", "INSERT"), Event.INSERT),
        ("table:table.presence", Table("table", "presence"), None),
        ("table:a;drop table b--", Table("public", "a;drop table b--"), None),
    ],
)
def test_a_table_channel_names_a_table_and_maybe_an_event(name, table, event):
    channel = parse_channel(name)
    assert (channel.table, channel.event) == (table, event)
    assert channel.name == name
    assert channel.namespace == "table"


@pytest.mark.parametrize("name", ["table:Users", 'table:"USERS"', "table:users", "table:uSERS:INSERT"])
def test_the_case_of_a_table_is_kept(name):
    table = parse_channel(name).table
    assert table is not None
    assert table.name == name.replace(":INSERT", "").replace('"', "")[len("table:") :]


def test_a_name_is_not_normalised():
    composed, decomposed = parse_channel("table:caf\u00e9"), parse_channel("table:cafe\u0301")
    assert composed.topic != decomposed.topic


@pytest.mark.parametrize(
    "name",
    [
        "table:",
        "table::INSERT",
        "table:users:",
        "table:users:insert",
        "table:users:TRUNCATE",
        "table:users:INSERT:",
        "table:users:INSERT:DELETE",
        "table:a:b",
        "table:.users",
        "table:users.",
        "table:a.b.c",
        "table:a..b",
        'table:""',
        'table:"".users',
        'table:public.""',
        'table:"users',
        'table:users."x',
        'table:"a"b',
        'table:"a"b"',
        'table:"a" .b',
        'table:"""',
        'table:"a""',
        'table:"a".',
        'table:"a"INSERT',
    ],
)
def test_a_malformed_table_channel_is_refused_with_how_it_should_look(name):
    assert "table:SCHEMA.NAME" in refusal(name).message or "table:NAME" in refusal(name).message


@pytest.mark.parametrize("event", ["", ":INSERT", ":UPDATE", ":DELETE"])
def test_all_spellings_of_a_table_travel_under_one_topic(event):
    for spelling in (
        "users",
        '"users"',
        "public.users",
        'public."users"',
        '"public".users',
        '"public"."users"',
    ):
        channel = parse_channel(f"table:{spelling}{event}")
        assert channel.table is not None
        assert channel.topic == "table:public.users" == channel.table.topic


def test_different_tables_have_different_topics():
    tables = [
        *(
            Table("a", "b.c"),
            Table("a.b", "c"),
            Table("a", 'b"."c'),
            Table('a"."b', "c"),
            Table("a", "b:INSERT"),
        ),
        *(
            Table("a", "b"),
            Table("A", "b"),
            Table("a", "B"),
            Table('"a"', "b"),
            Table("a", '"b"'),
            Table("a", "b "),
        ),
    ]
    assert len({table.topic for table in tables}) == len(tables)


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def spellings(table: Table) -> list[str]:
    return [f"table:{quoted(table.schema)}.{quoted(table.name)}", table.topic]


@pytest.mark.parametrize("seed", range(5))
def test_a_topic_of_any_table_reads_back_as_itself(seed):
    chance = random.Random(seed)
    for _ in range(500):
        schema, name = (
            "".join(chance.choices("ab.:\" '\\}{%_-Zé表😀", k=chance.randint(1, 12))) for _ in range(2)
        )
        table = Table(schema, name)
        for spelling in spellings(table):
            for event in (None, *Event):
                channel = parse_channel(spelling + (f":{event}" if event else ""))
                assert (channel.table, channel.event, channel.topic) == (table, event, table.topic)


def test_a_table_with_a_space_at_the_end_can_be_named_in_quotes():
    channel = parse_channel('table:"users "')
    assert channel.table == Table("public", "users ")
    assert parse_channel(channel.topic) == Channel(channel.topic, channel.topic, channel.table)


# Presence and broadcasts


@pytest.mark.parametrize(
    "name", ["presence", "presence:room:lobby", "presence:chat:a:b", "presence:table:users"]
)
def test_presence_is_in_the_project_or_under_a_channel(name):
    assert parse_channel(name) == Channel(name, name)
    assert parse_channel(name).namespace == "presence"


@pytest.mark.parametrize(
    "name", ["presence:", "presence:lobby", "presence:room:", "presence: room:a", "presence::a"]
)
def test_presence_under_what_is_no_channel_is_refused(name):
    refusal(name)


@pytest.mark.parametrize(
    "name", ["presence:presence", "presence:presence:room:lobby", "presence:" * 28 + "a"]
)
def test_presence_has_no_presence(name):
    refusal(name)


@pytest.mark.parametrize(
    "name",
    [
        "room:lobby",
        "chat:room-123",
        "a:b:c:",
        "a::",
        "Table:users",
        "Presence:x",
        "tables:x",
        "presences:x",
        "room:table:users",
        "room:*",
        "комната:лобби",
        "room:😀",
        'room:"quoted"',
        "my room:the lobby",
        "room:a}b{c",
    ],
)
def test_any_other_namespace_is_for_broadcasts_and_taken_as_it_is(name):
    assert parse_channel(name) == Channel(name, name)


@pytest.mark.parametrize("name", ["", "room", "table", "room:", ":lobby", ":", "::"])
def test_a_channel_has_a_namespace_and_a_topic(name):
    refusal(name)


# Characters


def test_a_channel_has_up_to_255_bytes_not_characters():
    longest = "room:" + "x" * (MAX_CHANNEL_BYTES - 5)
    assert parse_channel(longest).name == longest
    assert parse_channel("room:" + "é" * 125).name.endswith("é")
    assert "256" in refusal(longest + "x").message
    refusal("room:" + "é" * 126)
    assert len(refusal("x" * 1_000_000).message) < 200


@pytest.mark.parametrize(
    "name",
    [
        " room:a",
        "room:a ",
        "table:users ",
        "room:a\n",
        "room:a\0b",
        "room:a\tb",
        "room:a\x7f",
        "room:a\u0085b",
        "room:a\u00a0b",
        "room:a\u2028b",
        "room:a\u202eb",
        "room:a\ufeff",
        "room:a\ue000",
        'table:"a\nb"',
    ],
)
def test_only_printable_characters_and_no_spaces_at_the_ends_are_taken(name):
    assert "printable" in refusal(name).message


FAMILY, SCOTLAND = "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f3f4\U000e0067\U000e0062\U000e007f"


@pytest.mark.parametrize(
    "text",
    [
        FAMILY,
        SCOTLAND,
        "\u2764\ufe0f\u200d\U0001f525",  # a heart on fire, by a variation selector
        "\U0001f3f3\ufe0f\u200d\U0001f308",
        "1\ufe0f\u20e3",  # a keycap
        "\U0001f1eb\U0001f1ee",  # a flag by letters
        "\U0001f44d\U0001f3fd",  # a thumb with the colour of its skin
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, by a non-joiner
        "\u0915\u094d\u200d",  # a half letter of Devanagari
        "\u0dc1\u0dca\u200d\u0dbb\u0dd3",  # Sinhala
        "\u1820\u180e\u1820",  # Mongolian
        "\u0600\u0661",  # an Arabic sign above a number
        "\u8fbb\U000e0101",  # an ideograph in one of its forms
        "\U0001fae8",  # an emoji of Unicode 15
        "\U0001fac6",  # and of Unicode 16
        "\U000323b0",  # an ideograph that has no meaning yet
    ],
)
def test_what_emoji_and_scripts_need_is_taken(text):
    for name in (f"room:{text}", f"room:a{text}b", f"{text}:a", f"table:{text}", f"presence:room:{text}"):
        assert parse_channel(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "room:a\u200db",  # a joiner that joins nothing
        "room:\u200d",
        "\u200droom:a",
        "room:\u0915\u200d\u200d",
        "room:\u0915\u200c\u200d",
        "room:\U000e0067\U000e007f",  # tags without a flag
        "room:\U0001f3f4\U000e0067",  # and without their end
        "room:\U0001f3f4\U000e007f",
        "room:a\u200bb",  # a blank without width
        "room:a\u2060b",
        "room:a\u00adb",
        "room:\u0627\u200e",  # marks, embeddings, overrides and isolates of direction
        "room:\u0627\u200f",
        "room:\u0627\u061c",
        "room:\u0627\u202a",
        "room:\u0627\u202d",
        "room:\u0627\u2066",
        "room:\u0627\u2069",
        "room:\u2029",
        "room:\U000e0001",
        "room:\ufff9",
        "room:\U000f0000",  # private
        "room:\U0010fffd",
        "room:\u0378",  # unassigned
        "room:\ufdd0",  # no characters at all
        "room:\U0002fffe",
        "room:\uffff",
    ],
)
def test_what_is_not_seen_is_refused(name):
    assert "printable" in refusal(name).message


@pytest.mark.parametrize(
    ("table", "is_so"),
    [
        (Table("public", "users"), True),
        (Table("my.schema", "odd:name"), True),
        (Table("public", " users "), True),
        (Table("public", '"'), True),
        (Table("public", FAMILY), True),
        (Table("public", "a\tb"), False),
        (Table("a\nb", "users"), False),
        (Table("public", "a\u00a0b"), False),
        (Table("public", "a\u202eb"), False),
        (Table("public", '"' * 63), True),
        (Table("x" * 63, "y" * 63), True),
        (Table('"' * 63, '"' * 63), False),
        (Table("é." * 21, '".' * 31), True),
        (Table('".' * 31, '".' * 31), True),
    ],
)
def test_a_table_is_nameable_if_a_channel_spells_it(table, is_so):
    assert is_nameable(table) is is_so


def test_half_a_character_is_refused_and_the_answer_can_be_sent():
    assert refusal("room:\ud800").message.encode()


def test_a_refusal_repeats_the_name_without_raw_control_characters():
    assert "\x1b" not in refusal("room:\x1b[31m").message


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("table:users", "table:users"),
        ("table:public.users", "table:users"),
        ('table:"public"."users":INSERT', "table:users:INSERT"),
        ("table:audit.logins", "table:audit.logins"),
        ('table:public."odd.name"', 'table:"odd.name"'),
        ('table:"my.schema"."a""b"', 'table:"my.schema".a"b'),
        ("presence:table:public.users", "presence:table:public.users"),
        ("room:lobby", "room:lobby"),
        ("presence", "presence"),
    ],
)
def test_a_channel_has_one_canonical_spelling_which_means_the_same(name, canonical):
    channel = parse_channel(name)
    assert channel.canonical == canonical
    again = parse_channel(canonical)
    assert (again.topic, again.event, again.canonical) == (channel.topic, channel.event, canonical)
