-- Gives the current batch another token, so that Redis accepts all of it as new, and gives topics checkpoints
-- that Redis does not have, so that these topics begin a new epoch.
--
-- $1, $2  ctid of the feed's row, and the current token of the batch
-- $3  its new token
-- $4, $5  topics, and the checkpoint of each
with renamed as (
  update realtime.feed set token = $3 where ctid = $1 and token = $2 returning ctid
), noted as (
  insert into realtime.mark (topic, mark)
  select topic, mark from unnest($4::text[], $5::text[]) as move (topic, mark), renamed
)
select
  (select ctid from renamed) as moved_to,
  (select left(token, 300) from realtime.feed where ctid = $1) as found
