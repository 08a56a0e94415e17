"""The real Python client of the Model Context Protocol, on the pipes it was started with: it tells on standard error what it saw."""
import asyncio
import json
import os
import sys

from mcp.client.session import ClientSession
from mcp.server.stdio import stdio_server


async def main():
    async with stdio_server() as (read, write):
        async with ClientSession(read, write) as session:
            hello = await session.initialize()
            tools = (await session.list_tools()).tools
            seen = {"name": hello.server_info.name, "instructions": hello.instructions}
            seen["tools"] = {tool.name: tool.input_schema for tool in tools}
            seen["reads"] = [tool.name for tool in tools if tool.annotations.read_only_hint]
            seen["calls"] = []
            for name, arguments in json.loads(sys.argv[1]):
                result = await session.call_tool(name, arguments)
                seen["calls"].append([result.is_error, result.content[0].text])
            pending = asyncio.create_task(session.call_tool("hang", {"word": "x"}))
            await asyncio.sleep(0.1)
            pending.cancel()
            seen["after"] = (await session.call_tool("upper", {"word": "b"})).content[0].text
            print("SEEN " + json.dumps(seen), file=sys.stderr, flush=True)
            # The package would wait for the end of standard input, which comes after ours.
            os._exit(0)


asyncio.run(main())
