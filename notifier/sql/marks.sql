-- The mark of each topic.
select distinct on (topic) topic, mark from realtime.mark order by topic, id desc
