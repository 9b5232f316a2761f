"""Who is present, as clients of two nodes and `GET /presence` are told it."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

import pytest

from tests.fleet_fixture import Crowd, crowd, hear_text, present
from tests.gateway_fixture import eventually, token_for

LOBBY = "room:lobby"
WATCHED = f"presence:{LOBBY}"


def id_of(client) -> str:
    return client.connected["connection_id"]


async def test_who_is_there_learns_that_nobody_else_is(here):
    async with here.client() as client:
        await client.subscribe("presence")
        assert await client.hear() == {
            "type": "presence",
            "channel": "presence",
            "event": "sync",
            "presences": [],
            "more": False,
        }


async def test_a_join_an_update_and_a_leave_are_told_on_the_other_node(here, there):
    async with here.client() as alice, there.client(token_for(sub="bob")) as bob:
        watched = await crowd(bob)
        assert await alice.ask(type="presence", state={"on": 1}, ref=1) == {"type": "ack", "ref": 1}
        join = await bob.hear()
        (joined,) = join["presences"]
        assert (join["type"], join["channel"], join["event"]) == ("presence", "presence", "join")
        assert joined["joined_at"] == joined["updated_at"]
        assert joined | {"joined_at": "", "updated_at": ""} == {
            "connection_id": id_of(alice),
            "user_id": "alice",
            "state": {"on": 1},
            "joined_at": "",
            "updated_at": "",
        }
        watched.hear(join)
        await alice.say(type="presence", state={"on": 2})
        update = await bob.hear()
        (updated,) = update["presences"]
        assert (update["event"], updated["state"]) == ("update", {"on": 2})
        assert updated["joined_at"] == joined["joined_at"] < updated["updated_at"]
        await alice.ask(type="presence", state=None, ref=2)
        leave = await bob.hear()
        assert (leave["event"], leave["presences"]) == ("leave", [updated])
        assert await present(there) == []


async def test_presence_ends_with_the_connection(here, there):
    async with there.client() as bob:
        watched = await crowd(bob)
        async with here.client() as alice:
            await alice.say(type="presence", state={})
            await watched.becomes(lambda: watched.ids == {id_of(alice)})
        await watched.becomes(lambda: watched.ids == set())
        assert [event for event, _ in watched.told] == ["join", "leave"]
        await eventually(lambda: _nobody(there))


async def _nobody(gateway) -> bool:
    return await present(gateway) == []


async def test_whoever_joins_again_after_a_leave_has_a_new_beginning(here):
    async with here.client() as alice, here.client() as bob:
        watched = await crowd(bob)
        await alice.ask(type="presence", state={}, ref=1)
        (before,) = await present(here)
        await alice.ask(type="presence", state=None, ref=1)
        await alice.ask(type="presence", state={}, ref=1)
        await watched.becomes(lambda: len(watched.told) == 3)
        assert [event for event, _ in watched.told] == ["join", "leave", "join"]
        assert watched.entries[id_of(alice)]["joined_at"] > before["joined_at"]


async def test_leaving_without_being_there_is_answered_and_told_to_nobody(here):
    async with here.client() as alice:
        watched = await crowd(alice)
        assert (await alice.ask(type="presence", state=None, ref=1))["type"] == "ack"
        await watched.is_up_to_date()
        assert watched.told == []


async def test_presence_in_the_project_and_in_a_channel_are_apart(here, there):
    async with here.client() as alice, there.client() as bob, here.client() as carol, there.client() as dan:
        project, lobby = await crowd(bob), await crowd(carol, WATCHED)
        other = await crowd(dan, "presence:room:other")
        await alice.say(type="presence", state={"in": "project"})
        await alice.say(type="presence", channel=LOBBY, state={"in": "lobby"})
        for watched, place in [(project, "project"), (lobby, "lobby")]:
            await watched.becomes(lambda watched=watched: bool(watched.ids))
            assert watched.entries[id_of(alice)]["state"] == {"in": place}
        await alice.ask(type="presence", state=None, ref=1)
        await project.becomes(lambda: not project.ids)
        await lobby.is_up_to_date()
        await other.is_up_to_date()
        assert (lobby.ids, other.told) == ({id_of(alice)}, [])
        assert [entry["state"] for entry in await present(there, LOBBY)] == [{"in": "lobby"}]


async def test_a_user_is_there_once_for_each_connection(here, there):
    async with here.client() as phone, there.client() as laptop, there.client() as bob:
        await phone.ask(type="presence", state={"on": "phone"}, ref=1)
        await laptop.ask(type="presence", state={"on": "laptop"}, ref=1)
        watched = await crowd(bob)
        assert watched.ids == {id_of(phone), id_of(laptop)}
        assert {entry["user_id"] for entry in await present(here)} == {"alice"}
        await phone.say(type="presence", state=None)
        await watched.becomes(lambda: watched.ids == {id_of(laptop)})


async def test_who_subscribes_later_gets_the_same_list_and_no_old_news(here, there):
    async with here.client() as alice, there.client() as bob, there.client() as late:
        early = await crowd(bob)
        await alice.say(type="presence", state={"n": 1})
        await alice.ask(type="presence", state={"n": 2}, ref=1)
        watched = await crowd(late)
        await early.becomes(lambda: bool(early.ids))
        assert watched.entries == early.entries
        await alice.say(type="presence", state={"n": 3})
        await watched.becomes(lambda: bool(watched.told))
        assert watched.told == [("update", id_of(alice))]


async def test_a_client_hears_of_itself_like_everybody_else(here):
    """Listen until it is told that it is there."""
    async with here.client() as alice:
        watched = await crowd(alice)
        await alice.say(type="presence", state={})
        await watched.becomes(lambda: watched.ids == {id_of(alice)})


async def test_subscribing_again_brings_the_list_again(here):
    async with here.client() as alice:
        await alice.ask(type="presence", state={}, ref=1)
        for _ in range(2):
            assert (await crowd(alice)).ids == {id_of(alice)}
        await alice.say(type="presence", state=None)
        watched = Crowd(alice, "presence", {id_of(alice): {}})
        await watched.becomes(lambda: not watched.ids)
        await watched.is_up_to_date()
        assert watched.messages == 1


async def test_after_unsubscribe_nothing_is_told(here, there):
    async with here.client() as alice, there.client() as bob, there.client() as carol:
        await crowd(bob)
        watched = await crowd(carol)
        await bob.ask(type="unsubscribe", channel="presence")
        await alice.say(type="presence", state={})
        await watched.becomes(lambda: bool(watched.ids))
        assert (await bob.ask(type="ping"))["type"] == "pong"


async def test_a_long_list_comes_in_parts(here, there):
    async with AsyncExitStack() as stack, there.client() as bob:
        clients = [await stack.enter_async_context(here.client()) for _ in range(30)]
        for client in clients:
            await client.ask(type="presence", channel=LOBBY, state={"pad": "x" * 3_900}, ref=1)
        watched = await crowd(bob, WATCHED)
        assert watched.ids == {id_of(client) for client in clients}
        assert watched.messages > 1
        assert len(await present(there, LOBBY)) == len(clients)


STATES = [
    '{"n":1E400,"m":12345678901234567890.10,"z":-0.0}',
    '{"b":1,"a":2,"b":3}',
    '{ "u" : "\\ud83d\\ude00 😀 \u2028" , "n" : "\\n" }',
    '{\n\t"pretty": [\n1,\n2\n]\n}',
    "{}",
]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state[:12])
async def test_a_state_comes_out_as_it_went_in(here, there, state):
    expected = f'"state":{state},"joined_at":'.replace("\n", " ")
    async with here.client() as alice, there.client() as bob, there.client() as late:
        await crowd(bob, WATCHED)
        await alice.ask_raw(f'{{"type":"presence","channel":"{LOBBY}","state":{state},"ref":1}}')
        assert expected in await hear_text(bob)
        await late.subscribe(WATCHED)
        assert expected in await hear_text(late)
        url = f"{there.url}/projects/demo/realtime/presence"
        headers = {"Authorization": f"Bearer {token_for()}"}
        async with there.http.get(url, params={"channel": LOBBY}, headers=headers) as answer:
            assert expected in await answer.text()
        await alice.ask(type="presence", channel=LOBBY, state=None, ref=2)
        assert expected in await hear_text(bob)


async def test_a_state_that_is_too_big_or_no_object_changes_nothing(here):
    async with here.client() as alice:
        await alice.ask(type="presence", state={"kept": True}, ref=1)
        biggest = json.dumps({"x": "y" * (4_096 - len('{"x": ""}'))})
        assert len(biggest) == 4_096
        for wrong, code in [
            (biggest.replace("y", "yy", 1), "message_too_big"),
            ("[]", "invalid_message"),
            ("1", "invalid_message"),
            ('"null"', "invalid_message"),
        ]:
            answer = await alice.ask_raw(f'{{"type":"presence","state":{wrong},"ref":"r"}}')
            assert (answer["type"], answer["code"], answer["ref"]) == ("error", code, "r")
        assert (await alice.ask(type="presence"))["code"] == "invalid_message"
        assert [entry["state"] for entry in await present(here)] == [{"kept": True}]
        assert (await alice.ask_raw(f'{{"type":"presence","state":{biggest},"ref":2}}'))["type"] == "ack"


async def test_presence_needs_a_channel_that_can_be_watched(here):
    async with here.client() as alice:
        for channel in ["", "lobby", "presence", "presence:room:a", "room:", "x" * 250]:
            answer = await alice.ask(type="presence", channel=channel, state={}, ref=1)
            assert (answer["code"], answer["ref"]) == ("invalid_channel", 1), channel
            status, body, _ = await here.rest("GET", "/presence", token_for(), params={"channel": channel})
            assert (status, body["error"]["code"]) == (400, "invalid_request")
            assert "channel" in body["error"]["message"]


async def test_presence_is_rebuilt_when_redis_lost_everything(here, there, store):
    async with (
        here.client() as alice,
        here.client() as gone,
        there.client() as bob,
        there.client() as carol,
    ):
        await alice.ask(type="presence", state={"n": 1}, ref=1)
        await bob.ask(type="presence", state={"n": 2}, ref=1)
        await gone.ask(type="presence", state={}, ref=1)
        await gone.ask(type="presence", channel=LOBBY, state={}, ref=1)
        before = {entry["connection_id"]: entry for entry in await present(there)}
        watched, lobby = await crowd(bob), await crowd(carol, WATCHED)
        assert lobby.ids == {id_of(gone)}
        await store.everywhere("FLUSHALL")
        await gone.web_socket.close()
        del before[id_of(gone)]

        async def rebuilt() -> bool:
            now = await present(there)
            return {entry["connection_id"]: entry for entry in now} == before and len(now) == len(before)

        await eventually(rebuilt)
        await watched.becomes(lambda: watched.entries == before)
        await lobby.becomes(lambda: not lobby.ids)
        await alice.ask(type="presence", state=None, ref=1)
        await watched.becomes(lambda: watched.ids == {id_of(bob)})
        assert [entry["connection_id"] for entry in await present(here)] == [id_of(bob)]
