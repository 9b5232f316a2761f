-- Runs before all other scripts: one migration runs at a time. Of two first installations one fails, since both create
-- the same names. A session without rights in this schema may still lock any relation as a writer does, for
-- example by nextval(): the mode of this lock does not conflict with such a lock.
do $$
begin
    if to_regclass('realtime.version') is not null then
        lock table realtime.version in share update exclusive mode;
    end if;
end
$$;
