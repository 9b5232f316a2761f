"""SIGHUP to real processes: a changed file is in force without a restart, and a wrong one changes nothing."""

from __future__ import annotations

import os
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

from realtime.auth.tokens import issue
from tests.acceptance.conftest import Stage
from tests.acceptance.programs import Program, client_of, command_of, descendants, psql, running
from tests.acceptance.served import LOCAL, get, is_ready, served
from tests.gateway_fixture import SECRET, Client, token_for
from tests.ports import free_port
from tests.servers import fresh_database

NEW_SECRET = "a newer secret of more than 32 bytes"


def put(config: Path, text: str) -> None:
    """Replace the file in one step, as the manual says."""
    draft = config.with_suffix(".new")
    draft.write_text(text)
    draft.replace(config)


def with_project(text: str, name: str, database_url: str, secret: str = SECRET) -> str:
    return text + f'[projects.{name}]\ndatabase_url = "{database_url}"\njwt_secret = "{secret}"\n'


async def reload(*programs: Program, outcome: str = "settings_reloaded", **facts: object) -> None:
    """Ask each for it, and wait until all have told how it went."""
    counts = [len([one for one in program.log if one["event"] == outcome]) for program in programs]
    for program in programs:
        program.send(signal.SIGHUP)
    for program, count in zip(programs, counts, strict=True):
        told = await program.tells(outcome, count + 1)
        assert told[-1].items() >= facts.items(), told


async def hears_a_change(stage: Stage, client: Client, body: str) -> None:
    await psql(stage.database_url, f"insert into messages (body) values ('{body}')")
    assert (await client.hear())["data"]["body"] == body


async def be_refused(messages: Stage, alone: str, shop_url: str, *programs: Program) -> None:
    """Ask for what cannot be taken: a wrong secret, a setting that is read at the start, no file at all."""
    put(messages.config, with_project(alone, "shop", shop_url, "short"))
    setting = "projects.shop.jwt_secret"
    await reload(*programs, outcome="settings_refused", setting=setting, level="warning")
    put(messages.config, "drain_seconds = 7\n" + alone.replace("drain_seconds", "#"))
    await reload(*programs, outcome="settings_refused", setting="drain_seconds")
    messages.config.unlink()
    await reload(*programs, outcome="settings_refused", setting="--config")


async def test_projects_come_change_and_go_while_others_are_served(
    messages: Stage, postgres_url: str
) -> None:
    alone = messages.config.read_text()
    async with (
        served(messages) as parts,
        fresh_database(postgres_url) as shop_url,
        client_of(parts.url, token_for()) as alice,
    ):
        await alice.subscribe("table:messages")
        both = parts.gateway, parts.notifier
        put(messages.config, with_project(alone, "shop", shop_url))
        await reload(*both, added=["shop"], removed=[], changed=[])
        await parts.notifier.tells("feed_state_changed", project="shop")
        await hears_a_change(messages, alice, "added")
        shopper = issue(SECRET, "shop", "bob", "authenticated", 3_600, time.time())
        async with AsyncExitStack() as stack:
            bob = await stack.enter_async_context(client_of(parts.url, shopper, "shop"))
            put(messages.config, with_project(alone, "shop", shop_url, NEW_SECRET))
            await reload(*both, changed=["shop"])
            assert (await bob.ask(type="ping"))["type"] == "pong"
            newer = issue(NEW_SECRET, "shop", "bob", "authenticated", 3_600, time.time())
            assert (await bob.ask(type="auth", token=newer))["type"] == "authenticated"
            assert (await bob.ask(type="auth", token=shopper))["code"] == "unauthorized"
            await hears_a_change(messages, alice, "changed")
            await be_refused(messages, alone, shop_url, *both)
            assert (await bob.ask(type="ping"))["type"] == "pong"
            await hears_a_change(messages, alice, "refused")
            put(messages.config, alone)
            for program in both:
                program.send(signal.SIGHUP)
            assert await bob.is_refused() == ("not_found", 4404)
        for program in both:
            await program.tells("settings_reloaded", removed=["shop"])
        assert (await get(f"{parts.url}/projects/shop/realtime/status"))[0] == 404
        await hears_a_change(messages, alice, "removed")
        for program in both:
            assert SECRET not in program.errors
            assert NEW_SECRET not in program.errors
            assert "postgresql://" not in program.errors


async def test_workers_hear_it_from_who_started_them(messages: Stage, postgres_url: str) -> None:
    alone = messages.config.read_text()
    async with served(messages, "--workers", 2) as parts:
        await parts.gateway.tells("process_started", times=2)
        put(messages.config, with_project(alone, "shop", postgres_url))
        parts.gateway.send(signal.SIGHUP)
        told = await parts.gateway.tells("settings_reloaded", times=2, added=["shop"])
        assert len({one["node"] for one in told}) == 2
        token = issue(SECRET, "shop", "bob", "authenticated", 3_600, time.time())
        async with client_of(parts.url, token, "shop"):
            assert len(descendants(parts.gateway.pid)) == 2


async def test_a_worker_that_is_not_ready_to_hear_it_does_not_die_of_it(messages: Stage) -> None:
    port = free_port()
    words = ("gateway", "--port", port, "--workers", 2, *LOCAL, "--config", messages.config)
    async with running(*words, directory=messages.directory) as gateway:
        hit: set[int] = set()

        async def ready_at_last() -> bool:
            for pid in descendants(gateway.pid):
                command = command_of(pid)
                # Its own command, and no longer the wrapper's, which is about to see to it.
                if "--reuse-port" in command and "child.py" not in command:
                    os.kill(pid, signal.SIGHUP)
                    hit.add(pid)
            return len(hit) >= 2 and await is_ready(f"http://127.0.0.1:{port}")

        await gateway.does(ready_at_last)
        assert hit == set(descendants(gateway.pid)), gateway
        assert not [one for one in gateway.log if one["event"] == "child_restarted"]
