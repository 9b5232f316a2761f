-- The tables of the project `demo`, made once; what is in them stays.
create table if not exists users (
    id bigint generated always as identity primary key,
    name text not null,
    email text,
    created_at timestamptz not null default now()
);
create table if not exists orders (
    id bigint generated always as identity primary key,
    user_id bigint references users on delete cascade,
    item text not null,
    amount numeric not null default 0,
    status text not null default 'new',
    created_at timestamptz not null default now()
);
create table if not exists sessions (
    id uuid primary key default gen_random_uuid(),
    user_id bigint references users on delete cascade,
    created_at timestamptz not null default now()
);
