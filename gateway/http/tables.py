"""REST: lists the tables, and turns realtime on or off for a table."""

from __future__ import annotations

from gateway.http.bodies import (
    DisabledResponse,
    DisableRequest,
    EnabledResponse,
    EnableRequest,
    SqlResponse,
    TableColumn,
    TableEntry,
    TablesResponse,
)
from gateway.http.context import Call
from realtime.errors import ClientError, Code
from realtime.postgres.catalogue import EnabledTable, TableInfo


async def enable(call: Call) -> EnabledResponse:
    """Turn realtime on for a table."""
    body: EnableRequest = call.body
    _refuse_access(body)
    catalogue = call.tenant.catalogue  # the same database to the end, even if a reload changes it
    table = await catalogue.resolve(body.table_name, body.schema)
    enabled = await catalogue.enable(table, body.events, body.columns, call.tenant.limits.max_change_bytes)
    return EnabledResponse(
        schema=table.schema,
        table_name=table.name,
        events=list(enabled.events),
        columns=column_list(enabled),
    )


async def preview_enable(call: Call) -> SqlResponse:
    """Tell the SQL that `POST /enable` would run for this body, and run nothing."""
    body: EnableRequest = call.body
    _refuse_access(body)
    catalogue = call.tenant.catalogue
    table = await catalogue.resolve(body.table_name, body.schema)
    limit = call.tenant.limits.max_change_bytes
    return SqlResponse(sql=await catalogue.enable_text(table, body.events, body.columns, limit))


def _refuse_access(body: EnableRequest) -> None:
    if bytes(body.access) != b"null":
        raise ClientError(Code.INVALID_REQUEST, "access: not supported yet")


async def disable(call: Call) -> DisabledResponse:
    """Turn realtime off for a table."""
    body: DisableRequest = call.body
    catalogue = call.tenant.catalogue
    table = await catalogue.resolve(body.table_name, body.schema)
    await catalogue.disable(table)
    return DisabledResponse(schema=table.schema, table_name=table.name)


async def preview_disable(call: Call) -> SqlResponse:
    """Tell the SQL that `POST /disable` would run for this body, and run nothing."""
    body: DisableRequest = call.body
    catalogue = call.tenant.catalogue
    return SqlResponse(
        sql=await catalogue.disable_text(await catalogue.resolve(body.table_name, body.schema))
    )


async def list_tables(call: Call) -> TablesResponse:
    """List the tables that the project may use."""
    return TablesResponse(tables=[_table_entry(info) for info in await call.tenant.catalogue.tables()])


def _table_entry(info: TableInfo) -> TableEntry:
    return TableEntry(
        schema=info.table.schema,
        table_name=info.table.name,
        enabled=info.enabled is not None,
        events=list(info.enabled.events) if info.enabled else [],
        columns=[TableColumn(name=column.name, type=column.type) for column in info.columns],
        primary_key=list(info.primary_key),
    )


def column_list(enabled: EnabledTable) -> list[str] | None:
    """Return the columns that leave the database; None stands for all columns."""
    return None if enabled.columns is None else list(enabled.columns)
