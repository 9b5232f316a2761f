-- The id of the newest change beyond the bound of the outbox, counted from the newest change; null for none.
--
-- $1  snapshot before the current batch: what it sees is published
-- $2  most rows that may be unpublished; 0 is no bound
-- $3  most bytes that may be unpublished; 0 is no bound
select max(id) from (
  select id from (
    select
      id,
      row_number() over newer as rows,
      sum(octet_length(data) + coalesce(octet_length(old), 0)) over newer as bytes
    from realtime.outbox
    where xid >= pg_snapshot_xmin($1::text::pg_snapshot) and not pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
    window newer as (order by id desc rows unbounded preceding)
  ) as waiting
  where ($2::bigint > 0 and rows > $2) or ($3::bigint > 0 and bytes > $3)
  order by id desc
  limit 1
) as excess
