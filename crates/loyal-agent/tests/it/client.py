"""Asks an agent with the framework's own client, and prints each event as the framework understands it."""
import asyncio
import json
import sys

from sentient_agent_framework.interface.events import DoneEvent, ResponseEventAdapter
from simple_sse_client import async_stream


async def main(url, body):
    async for message in async_stream(url, "POST", json=json.loads(body), timeout=60):
        event = ResponseEventAdapter.validate_json(message.data)
        assert message.event == event.event_name, (message.event, event.event_name)
        print(json.dumps(event.model_dump(mode="json")))
        if isinstance(event, DoneEvent):
            break


asyncio.run(main(sys.argv[1], sys.argv[2]))
