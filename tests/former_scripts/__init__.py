"""Scripts of Redis as a version before this one carries them: old nodes run beside new ones in a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from realtime.redis.client import Command, Store


async def call_former(store: Store, names: Sequence[str], keys: Sequence[str], *arguments: Any) -> Any:
    """Call a script that is made of these files, as an old node does."""
    source = "\n".join(Path(__file__).with_name(f"{name}.lua").read_text() for name in names)
    (answer,) = await store.call_many([Command(keys[0], ("EVAL", source, len(keys), *keys, *arguments))])
    return answer
