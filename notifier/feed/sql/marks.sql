-- The checkpoint of each topic. Of each text, no more is read than this program may have written.
select distinct on (topic) left(topic, 1100) as topic_text, left(mark, 300) as mark_text from realtime.mark order by topic, id desc
