#!/usr/bin/python3
"""Talks to `baleen serve` by the package beside it: starts a turn, serves one tool, watches.

  baleen_client.py --address unix:/run/user/1000/baleen.sock chat "What is 20 + 22? Use add."
  baleen_client.py --address HOST:7411 --ca ca.pem --token-file token watch SESSION [--after CURSOR]
  baleen_client.py --address ... list
  baleen_client.py --address ... fork SESSION [--turn t3 | --tokens 1000]
  baleen_client.py --address ... rewind SESSION (--turn t3 | --tokens 1000 | --undo)
"""
import argparse
import asyncio
import json
import os
import sys


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--address", default=f"unix:{os.environ.get('XDG_RUNTIME_DIR', '')}/baleen.sock")
    parser.add_argument("--ca", default="", help="PEM file: authorities of the server's certificate")
    parser.add_argument("--token-file", default="", help="file with a bearer token (HOST:PORT)")
    parser.add_argument("--cache", help="folder for the stubs; default: ~/.cache/baleen/python-stubs")
    commands = parser.add_subparsers(dest="command", required=True)
    chat = commands.add_parser("chat", help="start a turn and show it")
    chat.add_argument("text")
    chat.add_argument("--session", help="id of an existing session; default: a new one")
    watch = commands.add_parser("watch", help="show the events of a session")
    watch.add_argument("session")
    watch.add_argument("--after", default="", help="cursor; default: from the first event")
    commands.add_parser("list", help="list the sessions")
    for name, about in (("fork", "new session that shares another one's history up to a point"),
                        ("rewind", "go back to a point; nothing is lost")):
        command = commands.add_parser(name, help=about)
        command.add_argument("session")
        point = command.add_mutually_exclusive_group(required=name == "rewind")
        point.add_argument("--turn", default="", help="right after this turn")
        point.add_argument("--tokens", type=int, help="exactly so many tokens of the context")
        if name == "rewind":
            point.add_argument("--undo", action="store_true", help="return to what was left")
    return parser.parse_args()


arguments = parse()
if arguments.cache:
    os.environ["BALEEN_STUBS"] = arguments.cache
import grpc  # noqa: E402  (its stubs' folder is known now)
import baleen  # noqa: E402


@baleen.tool(effect="pure")
def add(a: float, b: float) -> float:
    """Adds two numbers."""
    return a + b


async def chat(client):
    session = await (client.get(arguments.session) if arguments.session
                     else client.create(title=arguments.text[:40], tools=[add]))
    async with session.host(add):  # later would do too: a call waits for its host
        turn = await session.start(arguments.text)
        async for event in turn.events():
            payload = json.dumps(event.payload, separators=(",", ":"))
            print(f"{event.seq or 'live':>6} {event.kind} {payload}", file=sys.stderr)
        print((await turn.result()).text)


async def main():
    async with baleen.connect(arguments.address, ca=arguments.ca,
                              token_file=arguments.token_file) as client:
        client.on_reconnect = lambda after, why: print(
            f"reconnecting after {after or 'the start'}: {why}", file=sys.stderr)
        if arguments.command == "chat":
            return await chat(client)
        if arguments.command == "list":
            async for session in client.list():
                print(session.name, f"{session.message.tokens} tokens", session.message.settings.title)
            return
        session = await client.get(arguments.session)
        if arguments.command == "watch":
            async for event in session.events(arguments.after):
                print(event.cursor, event.kind, json.dumps(event.payload, separators=(",", ":")), flush=True)
        elif arguments.command == "fork":
            session = await session.fork(turn=arguments.turn, tokens=arguments.tokens)
        else:
            await session.rewind(turn=arguments.turn, tokens=arguments.tokens, undo=arguments.undo)
        print(session.name, f"{session.message.tokens} tokens", session.message.head_cursor)


try:
    asyncio.run(main())
except grpc.aio.AioRpcError as failure:
    sys.exit(f"{failure.code().name}: {failure.details()}")
except baleen.Error as failure:
    sys.exit(str(failure))
