-- Notes that the current batch has been published whole, before a pause in which no next batch is stored.
--
-- $1, $2  ctid of the feed's row, and the token of that batch
-- $3, $4  topics of its changes, and the checkpoint of each
with confirmed as (
  update realtime.feed set s1 = s2 where ctid = $1 and token = $2 returning ctid
), noted as (
  insert into realtime.mark (topic, mark)
  select topic, mark from unnest($3::text[], $4::text[]) as move (topic, mark), confirmed
)
select
  (select ctid from confirmed) as moved_to,
  (select left(token, 300) from realtime.feed where ctid = $1) as found
