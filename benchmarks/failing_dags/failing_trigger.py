"""A trigger that fails: in a module of its own, since a triggerer imports what it runs by name."""

from __future__ import annotations

import asyncio

from airflow.triggers.base import BaseTrigger


class Failing(BaseTrigger):
    """Fails after a while: sooner, and a busy scheduler may not have heard yet that the task waits."""

    def serialize(self):
        return "failing_trigger.Failing", {}

    async def run(self):
        await asyncio.sleep(8)
        raise ConnectionRefusedError("the warehouse does not answer")
        yield
