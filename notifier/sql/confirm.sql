-- Notes that the current batch has been published whole, before a pause in which no next one says so.
--
-- $1  number of that batch
update realtime.feed set s1 = s2 where batch = $1 and s1::text <> s2::text
