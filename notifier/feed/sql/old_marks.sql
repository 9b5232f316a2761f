-- Deletes the checkpoints that newer checkpoints of their topics have replaced.
delete from realtime.mark
where id not in (select max(id) from realtime.mark group by topic)
