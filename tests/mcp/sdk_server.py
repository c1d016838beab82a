"""A server made with the SDK that the protocol's authors publish (PyPI `mcp`), of either generation.

Usage: sdk_server.py [PORT]: over stdio, or over streamable HTTP on 127.0.0.1.
"""
import sys

try:
    from mcp.server.mcpserver import Context, MCPServer as Server
except ImportError:
    from mcp.server.fastmcp import Context, FastMCP as Server
from pydantic import BaseModel

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else None
OLD = "fastmcp" in Server.__module__
server = Server("sums", **({"port": PORT} if OLD and PORT else {}))


class Sum(BaseModel):
    total: int
    terms: list[int]


@server.tool()
def add(terms: list[int]) -> Sum:
    """Adds whole numbers."""
    return Sum(total=sum(terms), terms=terms)


@server.tool()
def fail() -> str:
    """Never works."""
    raise ValueError("out of order")


@server.tool()
async def count(to: int, context: Context) -> str:
    """Counts, and says how far it is."""
    for i in range(to):
        await context.report_progress(i, to)
    return f"counted to {to}"


if PORT is None:
    server.run()
elif OLD:
    server.run("streamable-http")
else:
    server.run("streamable-http", host="127.0.0.1", port=PORT)
