#!/usr/bin/python3
"""An MCP server over stdio in plain Python: what is in a pantry, and a shopping list that it keeps.

The pantry is `pantry.json` in the current folder, {"flour": 2, ...}; the list is `shopping.txt`. With the SDK
(PyPI `mcp`) the same is shorter; this one shows what goes over the wire.
"""
import json
import pathlib
import sys

PANTRY, LIST = pathlib.Path("pantry.json"), pathlib.Path("shopping.txt")


def stock(item):
    """How much of an item there is."""
    return f"{json.loads(PANTRY.read_text()).get(item, 0)} of {item}"


def buy(item):
    """Puts an item on the shopping list, once."""
    wanted = LIST.read_text().splitlines() if LIST.exists() else []
    if item not in wanted:
        LIST.write_text("\n".join([*wanted, item]) + "\n")
    return f"{item} is on the list"


TOOLS = {"stock": stock, "buy": buy}
SCHEMA = {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]}


def answer(method, params):
    if method == "initialize":
        return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": "pantry", "version": "1.0"}}
    if method == "tools/list":
        return {"tools": [{"name": name, "description": tool.__doc__, "inputSchema": SCHEMA}
                          for name, tool in TOOLS.items()]}
    if method == "tools/call":
        try:
            text, failed = TOOLS[params["name"]](**params["arguments"]), False
        except (OSError, ValueError) as problem:
            text, failed = str(problem), True
        return {"content": [{"type": "text", "text": text}], "isError": failed}
    return None


for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue  # a notification
    result = answer(request["method"], request.get("params"))
    outcome = {"result": result} if result else {"error": {"code": -32601, "message": "Method not found"}}
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **outcome}), flush=True)
