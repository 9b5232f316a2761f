-- Gives the current batch another token, so that Redis takes no part of it for what it took before, and
-- marks at which Redis has no topic, so that these begin anew.
--
-- $1, $2  where the feed's row is, and the token of the batch now
-- $3  its token from here on
-- $4, $5  topics, and the mark of each
with renamed as (
  update realtime.feed set token = $3 where ctid = $1 and token = $2 returning ctid
), noted as (
  insert into realtime.mark (topic, mark)
  select topic, mark from unnest($4::text[], $5::text[]) as move (topic, mark), renamed
)
select
  (select ctid from renamed) as moved_to,
  (select left(token, 300) from realtime.feed where ctid = $1) as found
