"""What newer settings change, what they may not, and that nothing of a wrong file is taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from realtime.errors import SettingError
from realtime.process.reload import Changes, Reloads, compare
from realtime.settings.config import Settings, load
from tests.clean_log import logged
from tests.gateway_fixture import eventually

SECRET = "a secret of more than thirty-two bytes"


def project(name: str, *lines: str) -> str:
    keys = f'jwt_secret = "{SECRET}"', 'database_url = "postgresql://who:sesame@127.0.0.1/app"'
    return "\n".join((f"[projects.{name}]", *keys, *lines)) + "\n"


BEFORE = project("a") + project("b") + project("c")


def changes(text: str, before: str = BEFORE) -> Changes:
    return compare(load(before, {}), load(text, {}))


def test_projects_are_added_removed_or_changed() -> None:
    after = project("b", "history_entries = 5") + project("c") + project("e") + project("d")
    assert changes(after) == Changes(added=["d", "e"], removed=["a"], changed=["b"])
    assert changes(BEFORE) == Changes([], [], [])


def test_the_common_limits_change_the_projects_that_go_by_them() -> None:
    limit = "max_message_bytes = 2048"
    own = project("a") + project("b") + f"[projects.b.limits]\n{limit}\n"
    assert changes(own + f"[limits]\n{limit}\n", before=own).changed == ["a"]


@pytest.mark.parametrize(
    ("line", "setting"),
    [
        ('redis_url = "redis://:sesame@127.0.0.1:6380/0"', "redis_url"),
        ("heartbeat_seconds = 7", "heartbeat_seconds"),
        ("presence_ttl_seconds = 7", "presence_ttl_seconds"),
        ("drain_seconds = 7", "drain_seconds"),
        ("poll_seconds = 7", "poll_seconds"),
        ("history_entries = 7", "history_entries"),
        ("history_seconds = 7", "history_seconds"),
        ("connection_history_entries = 7", "connection_history_entries"),
        ("connection_history_seconds = 7", "connection_history_seconds"),
        ('trusted_proxies = ["10.0.0.0/8"]', "trusted_proxies"),
        ("queue_budget_bytes = 33554432", "queue_budget_bytes"),
        ("gather_ms = 7", "gather_ms"),
        ("dashboard = false", "dashboard"),
        ("demo_page = true", "demo_page"),
    ],
)
def test_what_a_process_was_built_around_needs_a_restart(line: str, setting: str) -> None:
    with pytest.raises(SettingError) as caught:
        changes(f"{line}\n{project('a')}")
    assert (caught.value.setting, caught.value.reason) == (setting, "needs a restart to change")


def test_every_setting_is_reloaded_or_needs_a_restart() -> None:
    """A new one at the top level needs a restart until somebody makes it follow."""
    assert set(Settings.__struct_fields__) - {
        "redis_url",
        "heartbeat_seconds",
        "presence_ttl_seconds",
        "drain_seconds",
        "poll_seconds",
        "history_entries",
        "history_seconds",
        "connection_history_entries",
        "connection_history_seconds",
        "trusted_proxies",
        "queue_budget_bytes",
        "gather_ms",
        "dashboard",
        "demo_page",
    } == {"limits", "projects"}


class File:
    """Settings that are read again and again, and what came of it."""

    def __init__(self) -> None:
        self.text = BEFORE
        self.readings = 0
        self.taken: list[Changes] = []
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.reloads = Reloads(self.read)

    def read(self) -> Settings:
        self.readings += 1
        return load(self.text, {})

    async def take(self, settings: Settings, changes: Changes) -> None:
        self.taken.append(changes)
        await self.may_take.wait()

    async def reload(self, text: str, until: Callable[[], bool]) -> None:
        self.text = text
        self.reloads.ask()
        await eventually(until)


@asynccontextmanager
async def followed() -> AsyncIterator[File]:
    file = File()
    task = asyncio.create_task(file.reloads.follow(file.read(), file.take), name="reloads")
    try:
        yield file
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_each_reload_is_compared_with_what_was_taken_last(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with followed() as file:
        await file.reload(BEFORE + project("d"), lambda: len(file.taken) == 1)
        await file.reload(BEFORE + project("d") + project("e"), lambda: len(file.taken) == 2)
        assert [one.added for one in file.taken] == [["d"], ["e"]]
        await eventually(lambda: len(logged(caplog, "settings_reloaded")) == 2)
    facts = logged(caplog, "settings_reloaded")[0]
    assert (facts["added"], facts["removed"], facts["changed"]) == (["d"], [], [])
    assert SECRET not in caplog.text
    assert "sesame" not in caplog.text


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("a = ", "configuration file"),
        ("a = " + 100_000 * "[", "configuration file"),
        (BEFORE + project("d", "jwt_issuers = 5"), "projects.d.jwt_issuers"),
        (BEFORE + project("d").replace(SECRET, "short sesame"), "projects.d.jwt_secret"),
        ('redis_url = "redis://:sesame@127.0.0.1:6380/0"\n' + BEFORE + project("d"), "redis_url"),
    ],
)
async def test_settings_that_cannot_be_taken_are_named_and_change_nothing(
    caplog: pytest.LogCaptureFixture, text: str, setting: str
) -> None:
    async with followed() as file:
        await file.reload(text, lambda: bool(logged(caplog, "settings_refused")))
        (refusal,) = logged(caplog, "settings_refused")
        assert refusal["setting"] == setting
        assert "sesame" not in caplog.text
        assert file.taken == []
        await file.reload(BEFORE + project("d"), lambda: len(file.taken) == 1)
        assert file.taken[0].added == ["d"], "compared with what is in force"


async def test_reloads_that_are_asked_for_during_one_are_one_more(caplog: pytest.LogCaptureFixture) -> None:
    async with followed() as file:
        file.may_take.clear()
        await file.reload(project("a"), lambda: len(file.taken) == 1)
        file.text = BEFORE
        for _ in range(5):
            file.reloads.ask()
        file.may_take.set()
        await eventually(lambda: len(file.taken) == 2)
        await file.reload(BEFORE, lambda: len(file.taken) == 3)
        assert file.readings == 4
