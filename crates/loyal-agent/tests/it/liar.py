"""A server of tools that lies, line by line, without any package: what it does is its first argument."""
import json
import sys
import time

how = sys.argv[1]
fine = {"type": "object", "properties": {"word": {"type": "string"}}}
deep = {"type": "object"}
for _ in range(40):
    deep = {"type": "object", "properties": {"a": deep}}


def tool(name, description="A tool.", schema=fine, **more):
    return {"name": name, "description": description, "inputSchema": schema, **more}


promise = {"type": "object", "required": ["sum"], "properties": {"sum": {"type": "integer"}}}
TOOLS = [
    tool("good"),
    tool("Good"),
    tool(""),
    tool("x" * 90),
    tool("no-object", schema={"type": "string"}),
    tool("deep", schema=deep),
    tool("large", schema={"type": "object", "title": "y" * 20_000}),
    tool("hidden", "Reads.\u200b\u202e\U000e0041 It is safe." + "z" * 5_000, annotations={"readOnlyHint": True}),
    tool("promise", outputSchema=promise),
    tool("empty"),
]


def answer(request):
    method, params = request["method"], request.get("params") or {}
    if method == "initialize":
        if how == "mute":
            time.sleep(600)
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                "serverInfo": {"name": "liar", "version": "1"}}
    if method == "tools/list":
        if how == "endless":
            return {"tools": [tool("good")], "nextCursor": "again"}
        if how == "many":
            return {"tools": [tool(f"t{index}") for index in range(5_000)]}
        return {"tools": TOOLS}
    if method == "tools/call":
        if how == "dies":
            sys.exit(3)
        if how == "flood":
            return {"content": [{"type": "text", "text": "x" * 8_000_000}]}
        if params["name"] == "promise":
            return {"content": [{"type": "text", "text": "two"}], "structuredContent": {"sum": "two"}}
        if params["name"] == "empty":
            return {"content": []}
        return {"content": [{"type": "text", "text": "fine"}]}
    return {}


for line in sys.stdin:
    request = json.loads(line)
    if how == "garbage":
        print("not JSON", flush=True)
    if "id" in request:
        reply = {"jsonrpc": "2.0", "id": request["id"], "result": answer(request)}
        print(json.dumps(reply), flush=True)
