-- Before anything else: one at a time. Who installs it for the first time is alone by the names that it makes.
-- In the mode that goes with all that a session without rights here can hold: by nextval() and the like anybody
-- may lock any relation as a writer does.
do $$
begin
    if to_regclass('realtime.version') is not null then
        lock table realtime.version in share update exclusive mode;
    end if;
end
$$;
