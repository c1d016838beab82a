"""Baleen for Python: sessions, turns, events, host tools and approvals over gRPC, with asyncio.

    import baleen

    @baleen.tool(effect="pure")
    def add(a: float, b: float) -> float:
        "Adds two numbers."
        return a + b

    async with baleen.connect("unix:/run/user/1000/baleen.sock") as client:
        session = await client.create(title="sums", tools=[add])
        async with session.host(add):
            async for event in session.run("What is 20 + 22? Use add."):
                print(event.content, end="")

The messages of proto/baleen/v1 are `baleen.v1.*_pb2`, made from the protos at the first import.
"""
from ._stubs import stubs_folder

__path__.append(str(stubs_folder() / "baleen"))

from .client import (ApprovalDecision, Client, Error, Event, Session, Turn, connect)  # noqa: E402
from .tools import Tool, ToolHost, tool  # noqa: E402

__all__ = ["ApprovalDecision", "Client", "Error", "Event", "Session", "Tool", "ToolHost", "Turn", "connect",
           "tool"]
