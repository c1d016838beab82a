"""Host tools: functions that a session's model may call, served over one stream."""
from __future__ import annotations

import asyncio
import inspect
import json
import types
import typing
from dataclasses import dataclass

import grpc

from baleen.v1 import tool_host_pb2, tool_host_pb2_grpc, types_pb2

_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object",
               list: "array", type(None): "null"}
_EFFECTS = {"pure": types_pb2.EFFECT_CLASS_PURE, "idempotent": types_pb2.EFFECT_CLASS_IDEMPOTENT,
            "effect": types_pb2.EFFECT_CLASS_EFFECT}


def schema_of(hint: typing.Any) -> dict:
    """The JSON Schema of a type hint; {} (anything) for what has none."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [schema_of(one) for one in arguments]}
    if origin is list and arguments:
        return {"type": "array", "items": schema_of(arguments[0])}
    kind = _JSON_TYPES.get(origin or hint)
    return {"type": kind} if kind else {}


@dataclass(frozen=True)
class Tool:
    """A function, and what the model is told of it."""
    function: typing.Callable
    spec: types_pb2.ToolSpec

    @property
    def name(self) -> str:
        return self.spec.name

    async def call(self, arguments: str) -> str:
        """The result as text for the model."""
        value = self.function(**json.loads(arguments))
        if inspect.isawaitable(value):
            value = await value
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def tool(function: typing.Callable | None = None, *, name: str = "", effect: str = "effect",
         timeout_ms: int = 0) -> typing.Any:
    """Makes a Tool of a function: its name, doc string and type hints say what it takes.

    effect: what calling twice would do, which decides what a restart may repeat: "pure",
    "idempotent", or "effect", which never runs twice.
    """
    if function is None:
        return lambda f: tool(f, name=name, effect=effect, timeout_ms=timeout_ms)
    hints = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters
    schema = {"type": "object", "additionalProperties": False,
              "properties": {p: schema_of(hints.get(p)) for p in parameters},
              "required": [p for p, about in parameters.items() if about.default is about.empty]}
    spec = types_pb2.ToolSpec(name=name or function.__name__, description=inspect.getdoc(function) or "",
                              parameters=json.dumps(schema), effect=_EFFECTS[effect],
                              timeout_ms=timeout_ms)
    return Tool(function, spec)


# A daemon that is away, or a stream that was too slow for it.
_COME_BACK = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


class ToolHost:
    """Serves tools of one session while it is entered; comes back after a broken connection, when open
    calls are delivered again under the same id."""

    def __init__(self, channel: grpc.aio.Channel, session: str, tools: typing.Sequence[Tool]):
        self._stub = tool_host_pb2_grpc.ToolHostStub(channel)
        self._session = session
        self._tools = {one.name: one for one in tools}
        self._running: dict[str, asyncio.Task] = {}
        self._untold: dict[str, tool_host_pb2.Result] = {}  # of calls whose stream broke meanwhile

    async def __aenter__(self) -> "ToolHost":
        ready = asyncio.Event()
        self._serving = asyncio.create_task(self._serve(ready))
        waiting = asyncio.create_task(ready.wait())
        done, _ = await asyncio.wait({waiting, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        if waiting not in done:
            waiting.cancel()
            self._serving.result()  # says why it could not begin
        return self

    async def __aexit__(self, *_: object) -> None:
        self._serving.cancel()
        for call in self._running.values():
            call.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)

    async def _serve(self, ready: asyncio.Event) -> None:
        wait = 0.1
        while True:
            try:
                stream = self._stream = self._stub.Serve()
                await stream.write(tool_host_pb2.ServeRequest(register=tool_host_pb2.Register(
                    session=self._session, tools=list(self._tools))))
                async for message in stream:
                    wait = 0.1
                    if message.HasField("registered"):
                        ready.set()
                    elif message.HasField("call"):
                        call = message.call
                        if call.call_id in self._untold:
                            await self._tell(self._untold[call.call_id])
                        elif call.call_id not in self._running:
                            self._running[call.call_id] = asyncio.create_task(self._run(call))
                    elif message.HasField("cancel"):
                        if running := self._running.get(message.cancel.call_id):
                            running.cancel()
            except grpc.aio.AioRpcError as error:
                if error.code() not in _COME_BACK:
                    raise
            await asyncio.sleep(wait)
            wait = min(5.0, 2 * wait)

    async def _run(self, call: tool_host_pb2.Call) -> None:
        result = tool_host_pb2.Result(call_id=call.call_id, outcome=tool_host_pb2.OUTCOME_OK)
        try:
            result.content = await self._tools[call.tool].call(call.arguments)
        except Exception as error:  # the model reads why
            result.outcome, result.content = tool_host_pb2.OUTCOME_ERROR, f"{type(error).__name__}: {error}"
        finally:
            self._running.pop(call.call_id, None)
        self._untold[call.call_id] = result
        await self._tell(result)

    async def _tell(self, result: tool_host_pb2.Result) -> None:
        try:
            await self._stream.write(tool_host_pb2.ServeRequest(result=result))
            self._untold.pop(result.call_id, None)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the stream broke: the call is delivered again to the next one, and told there
