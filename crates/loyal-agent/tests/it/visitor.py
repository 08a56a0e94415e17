"""The real Python client of the Model Context Protocol, over streamable HTTP: it tells on standard output what it saw."""
import asyncio
import json
import sys

from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def main():
    async with streamable_http_client(sys.argv[1]) as (read, write):
        async with ClientSession(read, write) as session:
            hello = await session.initialize()
            tools = (await session.list_tools()).tools
            await session.send_ping()
            seen = {"name": hello.server_info.name, "version": hello.protocol_version}
            seen["tools"] = {tool.name: [tool.description, tool.input_schema] for tool in tools}
            seen["calls"] = []
            for name, arguments in json.loads(sys.argv[2]):
                result = await session.call_tool(name, arguments)
                seen["calls"].append([result.is_error, result.content[0].text])
            print(json.dumps(seen))


asyncio.run(main())
