"""The tables into which single rows are inserted, all of one form, and the row trigger that notifies."""

from __future__ import annotations

GIVEN, GENERATED = "bigint", "bigint generated always as identity"  # who chooses a row's id

# What is often written first: it carries the row itself to whoever listens.
ROW_TRIGGER = """
create function notify_row() returns trigger language plpgsql as $$
begin
    perform pg_notify('rows',
        json_build_object('event', TG_OP, 'table', TG_TABLE_NAME, 'data', to_jsonb(new))::text);
    return null;
end
$$;
create trigger notify after insert on {table} for each row execute function notify_row()
"""


def create_table(name: str, ids: str) -> str:
    """Return the statement that makes a table, with ids that are GIVEN or GENERATED."""
    return (
        f"create table {name} (id {ids} primary key, customer integer, amount numeric, note text,"
        " created_at timestamptz default now())"
    )


def row_trigger(name: str) -> str:
    """Return the statements that let each row inserted into a table be notified on the channel `rows`."""
    return ROW_TRIGGER.format(table=name)
