"""What this service uses of redis-py beyond its interface: each private name, and that redis-py has it."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path

import redis as redis_py
from redis import asyncio as redis
from redis.asyncio.connection import Connection, SSLConnection

from realtime.redis import client, connections
from realtime.redis.connections import PlainConnection, Pool, TlsConnection
from realtime.redis.timings import DEFAULTS, RedisTimings

ROOM = Path(connections.__file__).parent
SETUP = ROOM.parents[1] / "setup.cfg"

# Of redis-py, and of nobody else: for each what it is for.
PRIVATE = {
    "_connection_arguments": "to bound the time in which a server must speak TLS",
    "_condition": "to let the next one try when a caller is cancelled just when it is its turn",
    "_writer": "to take the transport of an open connection over",
    "_parser": "for the exceptions of the errors that servers send",
}
# Called by redis-py and overridden: a name that it calls no more would be without effect.
OVERRIDDEN = {
    Connection: ["connect_check_health", "send_packed_command", "_connection_arguments"],
    redis.BlockingConnectionPool: ["make_connection", "get_connection", "ensure_connection", "aclose"],
}


def private_names(path: Path) -> set[str]:
    """Names with an underscore that a file uses of an object, and defines nowhere itself."""
    tree = ast.parse(path.read_text())
    own: set[str] = set()
    used: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if not _calls_super(node, name):
                    own.add(name)
            case ast.Attribute(attr=name, ctx=ast.Store()):
                own.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                own.add(name)
        if isinstance(node, ast.Attribute) and re.fullmatch(r"_[a-z]\w*", node.attr):
            used.add(node.attr)
    return used - own


def _calls_super(function: ast.AST, name: str) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr == name and ast.unparse(node.value) == "super()"
        for node in ast.walk(function)
    )


def test_every_private_name_of_redis_py_is_known() -> None:
    used = set().union(*(private_names(path) for path in sorted(ROOM.glob("*.py"))))
    assert used == PRIVATE.keys()


async def test_redis_py_has_the_private_names() -> None:
    assert callable(SSLConnection._connection_arguments)
    pool = Pool(timings=DEFAULTS, connection_class=PlainConnection)
    assert isinstance(pool._condition, asyncio.Condition)
    connection = pool.make_connection()
    assert connection._writer is None
    assert callable(connection._parser.parse_error)


def test_redis_py_calls_what_is_overridden() -> None:
    source = inspect.getsource(inspect.getmodule(Connection))  # type: ignore[arg-type]
    source += inspect.getsource(redis.Redis)
    for owner, overridden in OVERRIDDEN.items():
        for name in overridden:
            assert callable(getattr(owner, name)), name
            assert f".{name}(" in source, f"redis-py calls {name} no more"


def test_the_bound_in_setup_cfg_is_about_the_version_that_these_tests_saw() -> None:
    """A newer minor version may call other private names."""
    bounds = re.search(r"redis\[hiredis\] >= (\d+)\.(\d+), < (\d+)\.(\d+)", SETUP.read_text())
    assert bounds is not None
    oldest, beyond = tuple(map(int, bounds.groups()[:2])), tuple(map(int, bounds.groups()[2:]))
    assert beyond == (oldest[0], oldest[1] + 1)
    assert oldest <= tuple(map(int, redis_py.__version__.split(".")[:2])) < beyond


def test_redis_py_converts_no_answer_of_the_commands_that_go_without_it() -> None:
    callbacks = redis.Redis().response_callbacks
    assert not [command for command in client._UNCONVERTED if command in callbacks]


async def test_a_pool_forgets_connections_that_nobody_has_any_more() -> None:
    pool = Pool(timings=DEFAULTS, connection_class=PlainConnection)
    connection = pool.make_connection()
    assert list(pool._made) == [connection]
    del connection
    assert len(pool._made) == 0


def test_a_tls_connection_bounds_the_handshake() -> None:
    pool = Pool(
        timings=RedisTimings(tls_answer_seconds=1.5), connection_class=TlsConnection, host="127.0.0.1", port=1
    )
    assert pool.make_connection()._connection_arguments()["ssl_handshake_timeout"] == 1.5
