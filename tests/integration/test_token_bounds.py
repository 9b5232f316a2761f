"""How long a token may be good, at every door; and projects with one key, which are told of at the start."""

from __future__ import annotations

from msgspec.structs import replace

from realtime.settings.config import Settings
from tests.clean_log import logged
from tests.gateway_fixture import SECRET, eventually, running_gateway, token_for
from tests.reload_fixture import Live

LONG = ("unauthorized", 4401)


def bounded(settings: Settings, **more) -> Settings:
    projects = {name: replace(project, **more) for name, project in settings.projects.items()}
    return replace(settings, projects=projects)


async def test_a_token_for_too_long_opens_no_door(settings):
    async with running_gateway(bounded(settings, max_token_seconds=3_600)) as gateway:
        long, short = token_for(ttl=7_200), token_for(ttl=60)
        async with gateway.socket(token=long) as client:
            assert await client.is_refused() == LONG
        status, answer, _ = await gateway.rest("GET", "/status", long)
        assert (status, answer["error"]["code"]) == (401, "unauthorized")
        async with gateway.client(short) as client:
            assert (await client.ask(type="auth", token=long))["code"] == "unauthorized"
            assert (await client.ask(type="auth", token=token_for(ttl=600)))["type"] == "authenticated"


async def test_a_bound_is_in_force_after_a_reload_for_who_comes_next(settings, caplog):
    live, long = Live(settings, caplog), token_for(ttl=7_200)
    async with running_gateway(settings, reloads=live.reloads) as gateway, gateway.client(long) as client:
        await live.change("demo", max_token_seconds=3_600)
        assert (await gateway.rest("GET", "/status", long))[0] == 401
        assert (await client.ask(type="ping"))["type"] == "pong"


async def test_projects_with_one_key_are_told_of_at_the_start_and_after_a_reload(settings, caplog):
    live = Live(settings, caplog)
    async with running_gateway(settings, reloads=live.reloads):
        assert logged(caplog, "keys_shared")[0]["projects"] == ["demo", "other"]
        another = replace(settings.projects["other"], jwt_secret=SECRET[::-1])
        await live.become(other=another, third=another)
        await eventually(lambda: len(logged(caplog, "keys_shared")) == 2)
        assert logged(caplog, "keys_shared")[1]["projects"] == ["other", "third"]
    assert SECRET not in caplog.text
    assert SECRET[::-1] not in caplog.text
