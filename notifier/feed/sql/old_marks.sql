-- Deletes the marks that newer ones of their topics have replaced.
delete from realtime.mark
where id not in (select max(id) from realtime.mark group by topic)
