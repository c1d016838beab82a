#!/usr/bin/python3
"""Talks to `baleen serve`: starts a turn, serves one tool, and watches with reconnects.

  baleen_client.py --address unix:/run/user/1000/baleen.sock chat "What is 20 + 22? Use add."
  baleen_client.py --address HOST:7411 --ca ca.pem --token-file token watch SESSION [--after CURSOR]
  baleen_client.py --address ... list
  baleen_client.py --address ... fork SESSION [--turn t3 | --tokens 1000]
  baleen_client.py --address ... rewind SESSION (--turn t3 | --tokens 1000 | --undo)
Needs Debian's python3-grpcio, protobuf-compiler and protobuf-compiler-grpc: the first run makes the
stubs from proto/ into a cache folder.
"""
import argparse
import hashlib
import json
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import threading
import time
import uuid

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"


def make_stubs(cache):
    """Runs protoc unless the cache holds stubs of exactly these files; puts them on sys.path."""
    protos = sorted(PROTO.glob("baleen/v1/*.proto"))
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in protos)).hexdigest()[:16]
    folder = pathlib.Path(cache) / digest
    if not folder.exists():
        fresh = folder.with_suffix(f".{uuid.uuid4().hex}")
        fresh.mkdir(parents=True)
        subprocess.run(["protoc", "-I", PROTO, f"--python_out={fresh}", f"--grpc_out={fresh}",
                        f"--plugin=protoc-gen-grpc={shutil.which('grpc_python_plugin')}", *protos],
                       check=True)
        fresh.rename(folder)
    sys.path.insert(0, str(folder))


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--address", default=f"unix:{os.environ.get('XDG_RUNTIME_DIR', '')}/baleen.sock")
parser.add_argument("--ca", help="PEM file: authorities of the server's certificate (HOST:PORT)")
parser.add_argument("--token-file", help="file with a bearer token (HOST:PORT)")
parser.add_argument("--cache", default=os.path.expanduser("~/.cache/baleen/python-stubs"))
commands = parser.add_subparsers(dest="command", required=True)
chat = commands.add_parser("chat", help="start a turn and show it")
chat.add_argument("text")
chat.add_argument("--session", help="id of an existing session; default: a new one")
watch = commands.add_parser("watch", help="show the events of a session")
watch.add_argument("session")
watch.add_argument("--after", default="", help="cursor; default: from the first event")
commands.add_parser("list", help="list the first 1,000 sessions")
for name, about in (("fork", "new session that shares another one's history up to a point"),
                    ("rewind", "go back to a point; nothing is lost")):
    command = commands.add_parser(name, help=about)
    command.add_argument("session")
    point = command.add_mutually_exclusive_group(required=name == "rewind")
    point.add_argument("--turn", help="right after this turn")
    point.add_argument("--tokens", type=int, help="exactly so many tokens of the context")
    if name == "rewind":
        point.add_argument("--undo", action="store_true", help="return to what the last rewind left")
arguments = parser.parse_args()

make_stubs(arguments.cache)
import grpc  # noqa: E402  (after the stubs' path is known)
from baleen.v1 import (events_pb2, events_pb2_grpc, sessions_pb2, sessions_pb2_grpc,  # noqa: E402
                       tool_host_pb2, tool_host_pb2_grpc, turns_pb2, turns_pb2_grpc, types_pb2)
ADD = types_pb2.ToolSpec(
    name="add", description="Adds two numbers.", effect=types_pb2.EFFECT_CLASS_PURE,
    parameters=json.dumps({"type": "object", "required": ["a", "b"],
                           "properties": {"a": {"type": "number"}, "b": {"type": "number"}}}))


def events(channel, session, after):
    """Yields events for ever; after a broken connection it goes on behind the last cursor."""
    stub = events_pb2_grpc.EventsStub(channel)
    failures = 0
    while True:
        try:
            request = events_pb2.WatchEventsRequest(parent=session, after=after)
            for message in stub.WatchEvents(request, wait_for_ready=True):
                failures = 0
                if message.HasField("event"):
                    after = message.event.cursor
                    yield message.event
        except grpc.RpcError as error:
            # SLOW_CONSUMER is RESOURCE_EXHAUSTED: nothing is lost, go on from the cursor.
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
                raise
            print(f"reconnecting after {after or 'the start'}: {error.details()}", file=sys.stderr)
        time.sleep(min(5.0, 0.1 * 2 ** failures))
        failures += 1


def serve_add(channel, session, ready):
    """Serves the tool `add` of one session until the stream ends."""
    outgoing = queue.Queue()
    register = tool_host_pb2.Register(session=session, tools=[ADD.name])
    outgoing.put(tool_host_pb2.ServeRequest(register=register))
    try:
        for message in tool_host_pb2_grpc.ToolHostStub(channel).Serve(iter(outgoing.get, None)):
            if message.HasField("registered"):
                ready.set()
            if not message.HasField("call"):
                continue
            result = tool_host_pb2.Result(call_id=message.call.call_id)
            try:
                values = json.loads(message.call.arguments)
                result.content = str(values["a"] + values["b"])
            except (ValueError, KeyError, TypeError) as error:
                result.outcome = tool_host_pb2.OUTCOME_ERROR  # the model reads why
                result.content = f"add needs numbers a and b: {error!r}"
            outgoing.put(tool_host_pb2.ServeRequest(result=result))
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.CANCELLED:  # that is our own goodbye
            print(f"tool host: {error.code().name}: {error.details()}", file=sys.stderr)
    outgoing.put(None)


def run_chat(channel):
    sessions = sessions_pb2_grpc.SessionsStub(channel)
    if arguments.session:
        session = sessions.GetSession(
            sessions_pb2.GetSessionRequest(name=f"sessions/{arguments.session}"), timeout=30)
    else:
        settings = sessions_pb2.SessionSettings(title=arguments.text[:40], host_tools=[ADD])
        session = sessions.CreateSession(sessions_pb2.CreateSessionRequest(
            session=sessions_pb2.Session(settings=settings), request_id=str(uuid.uuid4())), timeout=30)
    ready = threading.Event()
    threading.Thread(target=serve_add, args=(channel, session.name, ready), daemon=True).start()
    ready.wait(30)  # later would do too: a call waits for its host
    turns = turns_pb2_grpc.TurnsStub(channel)
    turn = turns.StartTurn(turns_pb2.StartTurnRequest(
        parent=session.name, input=[arguments.text], request_id=str(uuid.uuid4())), timeout=30)
    for event in events(channel, session.name, session.head_cursor):
        print(f"{event.seq or 'live':>6} {event.kind} {event.payload}", file=sys.stderr)
        if event.kind == "turn_finished" and event.turn == turn.name:
            break
    turn = turns.GetTurn(turns_pb2.GetTurnRequest(name=turn.name), timeout=30)
    print(turn.text)
    if turn.state != turns_pb2.Turn.SUCCEEDED:
        sys.exit(f"{turns_pb2.Turn.State.Name(turn.state)}: {turn.error.message}")


def point_of(name):
    point = sessions_pb2.HistoryPoint()
    if arguments.turn:
        point.turn = f"{name}/turns/{arguments.turn}"
    elif arguments.tokens is not None:
        point.tokens = arguments.tokens
    return point


def run_history(channel):
    name = f"sessions/{arguments.session}"
    stub = sessions_pb2_grpc.SessionsStub(channel)
    if arguments.command == "fork":
        session = stub.ForkSession(sessions_pb2.ForkSessionRequest(
            name=name, at=point_of(name), request_id=str(uuid.uuid4())), timeout=30)
    else:
        session = stub.RewindSession(sessions_pb2.RewindSessionRequest(
            name=name, to=point_of(name), undo=arguments.undo, request_id=str(uuid.uuid4())),
            timeout=30).session
    print(session.name, f"{session.tokens} tokens", session.head_cursor)


# 64 MiB as the server: gRPC's own limit of 4 MiB is too small for long answers.
OPTIONS = [("grpc.max_receive_message_length", 64 << 20)]


def connect():
    """A Unix socket is its user's; a port has TLS and wants to know who calls."""
    if arguments.address.startswith("unix:"):
        return grpc.insecure_channel(arguments.address, options=OPTIONS)
    ca = pathlib.Path(arguments.ca).read_bytes() if arguments.ca else None
    credentials = grpc.ssl_channel_credentials(root_certificates=ca)
    if arguments.token_file:
        token = pathlib.Path(arguments.token_file).read_text().strip()
        credentials = grpc.composite_channel_credentials(
            credentials, grpc.access_token_call_credentials(token))
    return grpc.secure_channel(arguments.address, credentials, options=OPTIONS)


try:
    with connect() as channel:
        if arguments.command == "chat":
            run_chat(channel)
        elif arguments.command == "watch":
            for event in events(channel, f"sessions/{arguments.session}", arguments.after):
                print(event.cursor, event.kind, event.payload, flush=True)
        elif arguments.command in ("fork", "rewind"):
            run_history(channel)
        else:
            request = sessions_pb2.ListSessionsRequest(page_size=1000)
            stub = sessions_pb2_grpc.SessionsStub(channel)
            for session in stub.ListSessions(request, timeout=30).sessions:
                print(session.name, f"{session.tokens} tokens", session.settings.title)
except grpc.RpcError as failure:
    sys.exit(f"{failure.code().name}: {failure.details()}")
