"""Sessions and turns over gRPC: start, stream, come back behind the last cursor, answer approvals."""
from __future__ import annotations

import asyncio
import json
import pathlib
import typing
import uuid
from dataclasses import dataclass

import grpc

from baleen.v1 import (approvals_pb2, approvals_pb2_grpc, events_pb2, events_pb2_grpc, sessions_pb2,
                       sessions_pb2_grpc, turns_pb2, turns_pb2_grpc)

from .tools import Tool, ToolHost

#: Grants or denies: True, False, (granted, reason), or how far a grant goes: "turn", "session", "workspace".
ApprovalDecision = typing.Union[bool, str, "tuple[bool, str]"]
OnApproval = typing.Callable[["approvals_pb2.Approval"], typing.Awaitable[ApprovalDecision]]
_DEADLINE_S = 30.0
_COME_BACK = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


class Error(Exception):
    """A turn that did not succeed; `turn` says what became of it."""

    def __init__(self, turn: turns_pb2.Turn):
        super().__init__(f"{turns_pb2.Turn.State.Name(turn.state)}: {turn.error.message}")
        self.turn = turn


@dataclass(frozen=True)
class Event:
    """One event. `seq` is 0 for live ones (deltas, progress, tool_progress), which are not kept."""
    kind: str
    payload: dict
    turn: str
    cursor: str
    seq: int

    @property
    def content(self) -> str:
        """Text that a delta adds to the answer; else ""."""
        return self.payload.get("content", "") if self.kind == "delta" else ""

    @property
    def reasoning(self) -> str:
        return self.payload.get("reasoning", "") if self.kind == "delta" else ""

    @property
    def tool_output(self) -> str:
        """What a running call has written since it was last told of, or the end of that; else ""."""
        return self.payload.get("text", "") if self.kind == "tool_progress" else ""


class Turn:
    """A turn that was started; it goes on whether anybody watches or not."""

    def __init__(self, session: "Session", name: str, cursor: str):
        self.session, self.name, self._cursor = session, name, cursor

    async def events(self, on_approval: OnApproval | None = None) -> typing.AsyncIterator[Event]:
        """Its events from the begin to the end. Approvals are answered by `on_approval`; without one
        the turn waits for somebody else to answer."""
        async for event in self.session.events(self._cursor):
            if event.kind == "approval_requested" and on_approval is not None:
                await self.session.decide(event.payload["approval"], on_approval)
            yield event
            if event.kind == "turn_finished" and event.turn == self.name:
                return

    async def result(self) -> turns_pb2.Turn:
        """Waits for the end. Raises Error unless it succeeded."""
        turn = await self._get()
        if turn.state == turns_pb2.Turn.RUNNING:
            async for _ in self.events():
                pass
            turn = await self._get()
        if turn.state != turns_pb2.Turn.SUCCEEDED:
            raise Error(turn)
        return turn

    async def cancel(self) -> None:
        await self.session.client.turns.CancelTurn(turns_pb2.CancelTurnRequest(name=self.name),
                                                   timeout=_DEADLINE_S)

    async def steer(self, *text: str, after_turn: bool = False) -> None:
        """Says more: at its next step, or in a turn behind it."""
        delivery = turns_pb2.SteerTurnRequest
        await self.session.client.turns.SteerTurn(turns_pb2.SteerTurnRequest(
            name=self.name, input=text, request_id=str(uuid.uuid4()),
            delivery=delivery.AFTER_TURN if after_turn else delivery.NEXT_STEP), timeout=_DEADLINE_S)

    async def _get(self) -> turns_pb2.Turn:
        return await self.session.client.turns.GetTurn(turns_pb2.GetTurnRequest(name=self.name),
                                                       timeout=_DEADLINE_S)


class Session:
    """A conversation on the server. `message` is as it was when last asked for."""

    def __init__(self, client: "Client", message: sessions_pb2.Session):
        self.client, self.message = client, message

    @property
    def name(self) -> str:
        return self.message.name

    def host(self, *tools: Tool) -> ToolHost:
        """Serves `tools`, of which the session was told when it was made, while it is entered."""
        return ToolHost(self.client.channel, self.name, tools)

    async def start(self, *text: str, **options: typing.Any) -> Turn:
        """Starts a turn. options: further fields of StartTurnRequest."""
        self.message = (await self.client.get(self.name)).message
        turn = await self.client.turns.StartTurn(turns_pb2.StartTurnRequest(
            parent=self.name, input=text, request_id=str(uuid.uuid4()), **options), timeout=_DEADLINE_S)
        return Turn(self, turn.name, self.message.head_cursor)

    async def run(self, *text: str, on_approval: OnApproval | None = None,
                  **options: typing.Any) -> typing.AsyncIterator[Event]:
        """Starts a turn and gives its events. Raises Error at its end unless it succeeded."""
        turn = await self.start(*text, **options)
        async for event in turn.events(on_approval):
            yield event
        await turn.result()

    async def events(self, after: str = "") -> typing.AsyncIterator[Event]:
        """Events behind the cursor `after`, for ever; a broken connection misses and repeats nothing."""
        wait = 0.1
        while True:
            try:
                request = events_pb2.WatchEventsRequest(parent=self.name, after=after)
                async for message in self.client.events.WatchEvents(request):
                    wait = 0.1
                    if message.HasField("event"):
                        event = message.event
                        after = event.cursor or after
                        yield Event(event.kind, json.loads(event.payload or "{}"), event.turn,
                                    event.cursor, event.seq)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _COME_BACK:
                    raise
                if self.client.on_reconnect:
                    self.client.on_reconnect(after, error.details())
            await asyncio.sleep(wait)
            wait = min(5.0, 2 * wait)

    async def decide(self, approval: str, on_approval: OnApproval) -> None:
        """Asks `on_approval` about one approval (its id, or whole name) and answers it."""
        name = approval if "/" in approval else f"{self.name}/approvals/{approval}"
        asked = await self.client.approvals.GetApproval(approvals_pb2.GetApprovalRequest(name=name),
                                                        timeout=_DEADLINE_S)
        if asked.state != approvals_pb2.Approval.PENDING:
            return
        decision = await on_approval(asked)
        granted, reason = decision if isinstance(decision, tuple) else (decision, "")
        request = approvals_pb2.ResolveApprovalRequest(name=name, reason=reason,
                                                       request_id=str(uuid.uuid4()))
        if granted:
            scope = decision if isinstance(decision, str) else "once"
            request.grant.scope = approvals_pb2.GrantScope.Value(f"GRANT_SCOPE_{scope.upper()}")
        else:
            request.deny.SetInParent()
        await self.client.approvals.ResolveApproval(request, timeout=_DEADLINE_S)

    async def grants(self) -> "list[approvals_pb2.Grant]":
        """What calls of its tools needs no leave any more."""
        found, token = [], ""
        while True:
            page = await self.client.approvals.ListGrants(approvals_pb2.ListGrantsRequest(
                parent=self.name, page_token=token), timeout=_DEADLINE_S)
            found += page.grants
            token = page.next_page_token
            if not token:
                return found

    async def revoke(self, grant: str, reason: str = "") -> None:
        """Takes a grant back, by its name: its tools are asked about again."""
        await self.client.approvals.RevokeGrant(approvals_pb2.RevokeGrantRequest(
            name=grant, reason=reason, request_id=str(uuid.uuid4())), timeout=_DEADLINE_S)

    async def update(self, **settings: typing.Any) -> None:
        """Changes settings of the idle session from its next turn on: title, goal, notes, tokens_max, sampling,
        policy, budget, turn_budget, prices, compact_at_percent; each whole."""
        changed = sessions_pb2.Session(name=self.name, settings=sessions_pb2.SessionSettings(**settings))
        self.message = await self.client.sessions.UpdateSession(sessions_pb2.UpdateSessionRequest(
            session=changed, update_mask={"paths": [f"settings.{name}" for name in settings]},
            request_id=str(uuid.uuid4())), timeout=_DEADLINE_S)

    async def fork(self, *, turn: str = "", tokens: int | None = None, session: str = "") -> "Session":
        """A new session that shares this one's history up to a point; default: all of it."""
        request = sessions_pb2.ForkSessionRequest(name=self.name, request_id=str(uuid.uuid4()),
                                                  at=self._point(turn, tokens), session_id=session)
        return Session(self.client, await self.client.sessions.ForkSession(request, timeout=_DEADLINE_S))

    async def rewind(self, *, turn: str = "", tokens: int | None = None, undo: bool = False,
                     scope: str = "conversation", dry_run: bool = False
                     ) -> sessions_pb2.RewindSessionResponse:
        """Goes back to a point, or undoes that; nothing is lost. `scope`: "conversation", "files" (those
        that the session's write and edit changed) or "both". The answer says what happened, or would
        happen, to each file."""
        answer = await self.client.sessions.RewindSession(sessions_pb2.RewindSessionRequest(
            name=self.name, to=self._point(turn, tokens), undo=undo, request_id=str(uuid.uuid4()),
            scope=sessions_pb2.RewindScope.Value(scope.upper()), validate_only=dry_run),
            timeout=_DEADLINE_S)
        if not dry_run:
            self.message = answer.session
        return answer

    def _point(self, turn: str, tokens: int | None) -> sessions_pb2.HistoryPoint:
        point = sessions_pb2.HistoryPoint()
        if turn:
            point.turn = turn if "/" in turn else f"{self.name}/turns/{turn}"
        elif tokens is not None:
            point.tokens = tokens
        return point


class Client:
    """A connection. Use it as an asynchronous context. `on_reconnect`, if set, hears of each return to
    an event stream: the cursor behind which it goes on, and why it broke."""

    def __init__(self, channel: grpc.aio.Channel):
        self.channel = channel
        self.on_reconnect: typing.Callable[[str, str], None] | None = None
        self.sessions = sessions_pb2_grpc.SessionsStub(channel)
        self.turns = turns_pb2_grpc.TurnsStub(channel)
        self.events = events_pb2_grpc.EventsStub(channel)
        self.approvals = approvals_pb2_grpc.ApprovalsStub(channel)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    async def create(self, session: str = "", *, tools: typing.Sequence[Tool] = (),
                     **settings: typing.Any) -> Session:
        """A new session. settings: further fields of SessionSettings (title, workspace, engine, ...)."""
        message = sessions_pb2.Session(settings=sessions_pb2.SessionSettings(
            host_tools=[one.spec for one in tools], **settings))
        return Session(self, await self.sessions.CreateSession(sessions_pb2.CreateSessionRequest(
            session_id=session, session=message, request_id=str(uuid.uuid4())), timeout=_DEADLINE_S))

    async def get(self, session: str) -> Session:
        """By its id, or whole name."""
        name = session if session.startswith("sessions/") else f"sessions/{session}"
        return Session(self, await self.sessions.GetSession(
            sessions_pb2.GetSessionRequest(name=name), timeout=_DEADLINE_S))

    async def list(self) -> typing.AsyncIterator[Session]:
        """All sessions, oldest first."""
        token = ""
        while True:
            page = await self.sessions.ListSessions(sessions_pb2.ListSessionsRequest(
                page_size=1000, page_token=token), timeout=_DEADLINE_S)
            for message in page.sessions:
                yield Session(self, message)
            token = page.next_page_token
            if not token:
                return


def connect(address: str, *, ca: str = "", token_file: str = "") -> Client:
    """unix:PATH, or HOST:PORT with TLS; ca: authorities, PEM; token_file: a bearer token."""
    # 64 MiB as the server: gRPC's own limit of 4 MiB is too small for long answers.
    options = [("grpc.max_receive_message_length", 64 << 20)]
    if address.startswith("unix:"):
        return Client(grpc.aio.insecure_channel(address, options=options))
    credentials = grpc.ssl_channel_credentials(pathlib.Path(ca).read_bytes() if ca else None)
    if token_file:
        credentials = grpc.composite_channel_credentials(
            credentials, grpc.access_token_call_credentials(pathlib.Path(token_file).read_text().strip()))
    return Client(grpc.aio.secure_channel(address, credentials, options=options))
