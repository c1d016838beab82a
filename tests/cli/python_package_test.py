#!/usr/bin/python3
"""examples/python/baleen against a real daemon: turns, streamed events, host tools, approvals, forks,
and coming back behind a cursor while the daemon is killed and started again.

Usage: python_package_test.py BALEEN. Exit status 77: no grpc for Python, or no protoc.
"""
import asyncio
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BALEEN = sys.argv.pop(1)
SCRATCH = tempfile.TemporaryDirectory()
os.environ.setdefault("BALEEN_STUBS", SCRATCH.name + "/stubs")
sys.path.insert(0, str(ROOT / "examples/python"))
try:
    import baleen
except ImportError as missing:
    print(f"SKIPPED: {missing}", file=sys.stderr)
    sys.exit(77)

CALLS = """
return function(message)
  local results = baleen.call_tools { { name = "add", arguments = { a = 20, b = 22 } } }
  return message .. " " .. results[1].outcome .. " " .. results[1].content
end
"""
PATIENCE_S = 60


@baleen.tool(effect="pure")
def add(a: float, b: float = 0) -> float:
    """Adds two numbers."""
    return a + b


@baleen.tool(name="add")
async def broken(a: int, b: int) -> str:
    raise ValueError("no sums today")


class Package(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.address = f"unix:{self.folder.name}/sock"
        self.daemon = None
        self.addCleanup(self.stop_daemon)
        self.start_daemon()

    def start_daemon(self):
        self.daemon = subprocess.Popen(
            [BALEEN, "serve", "--data-dir", self.folder.name + "/data", "--model", ROOT / "model/krill",
             "--listen", self.address, "--threads", "1", "--log-level", "error"])
        deadline = time.monotonic() + PATIENCE_S
        while not self.answers():
            self.assertIsNone(self.daemon.poll())
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def answers(self):
        """Whether somebody listens: the socket's file is there a moment before."""
        with socket.socket(socket.AF_UNIX) as knock:
            return knock.connect_ex(self.folder.name + "/sock") == 0

    def stop_daemon(self, how=signal.SIGTERM):
        if self.daemon is None:
            return
        self.daemon.send_signal(how)
        try:
            self.daemon.wait(PATIENCE_S)
        finally:
            self.daemon.kill()

    async def asyncSetUp(self):
        self.client = await baleen.connect(self.address).__aenter__()
        self.addAsyncCleanup(self.client.__aexit__)

    async def test_the_schema_of_a_tool_comes_from_its_hints(self):
        self.assertEqual(add.spec.description, "Adds two numbers.")
        self.assertIn('"required": ["a"]', add.spec.parameters)
        self.assertIn('"a": {"type": "number"}', add.spec.parameters)

    async def test_a_turn_streams_its_text(self):
        session = await self.client.create("talk", title="talk", tokens_max=24)
        text, kinds = "", []
        async for event in session.run("What is the port in notes/server.md?"):
            text += event.content
            kinds.append(event.kind)
        self.assertEqual(kinds[0], "turn_started")
        self.assertEqual(kinds[-1], "turn_finished")
        self.assertTrue(text)
        self.assertEqual([s.name async for s in self.client.list()], ["sessions/talk"])

    async def test_a_host_tool_is_called_and_its_failure_told(self):
        session = await self.client.create(tools=[add], script=CALLS)
        async with session.host(add):
            self.assertEqual((await (await session.start("sum")).result()).text, "sum OK 42")
        async with session.host(broken):
            self.assertEqual((await (await session.start("sum")).result()).text,
                             "sum ERROR ValueError: no sums today")

    async def test_an_approval_is_asked_granted_and_denied(self):
        settings = {"policy": {"rules": [{"tool": "add", "decision": "ask", "why": "sums"}]}}
        session = await self.client.create(tools=[add], script=CALLS, **settings)
        asked = []

        async def answer(approval):
            asked.append(approval.calls[0].tool)
            return len(asked) == 1 or (False, "once is enough")

        texts = []
        async with session.host(add):
            for _ in range(2):
                async for event in session.run("sum", on_approval=answer):
                    if event.kind == "turn_finished":
                        texts.append(event.payload["text"])
        self.assertEqual(asked, ["add", "add"])
        self.assertEqual(texts[0], "sum OK 42")
        self.assertIn("DENIED", texts[1])
        self.assertIn("once is enough", texts[1])

    async def test_a_grant_holds_until_it_is_revoked(self):
        settings = {"policy": {"rules": [{"tool": "add", "decision": "ask", "why": "sums"}]}}
        session = await self.client.create(tools=[add], script=CALLS, **settings)
        asked = []

        async def answer(approval):
            asked.append(approval.name)
            return "session"

        async def turn():
            async for _ in session.run("sum", on_approval=answer):
                pass

        async with session.host(add):
            await turn()
            await turn()
            self.assertEqual(len(asked), 1)
            [grant] = await session.grants()
            self.assertEqual(list(grant.tools), ["add"])
            await session.revoke(grant.name, "enough")
            self.assertEqual(await session.grants(), [])
            await turn()
            self.assertEqual(len(asked), 2)

    async def test_a_watcher_misses_and_repeats_nothing_while_the_daemon_is_killed(self):
        session = await self.client.create("s", tools=[add], script=CALLS)
        seen = []

        async def watch():
            async for event in session.events():
                if event.seq:
                    seen.append((event.seq, event.kind))
                if event.kind == "turn_finished" and event.payload["turn"] == "t2":
                    return

        watching = asyncio.create_task(watch())
        host = session.host(add)
        async with host:
            await (await session.start("one")).result()
            self.stop_daemon(signal.SIGKILL)
            os.unlink(self.folder.name + "/sock")
            self.start_daemon()
            await (await self.patient(session.start, "two")).result()
            await asyncio.wait_for(watching, PATIENCE_S)
        self.assertEqual([seq for seq, _ in seen], list(range(1, len(seen) + 1)))
        self.assertEqual([kind for _, kind in seen].count("turn_finished"), 2)

    async def test_a_call_that_outlasts_its_stream_runs_once_and_is_told_on_the_next(self):
        begun, go_on = asyncio.Event(), asyncio.Event()
        ran = []

        @baleen.tool(name="add", effect="pure")
        async def slow(a: int, b: int) -> int:
            ran.append((a, b))
            begun.set()
            await go_on.wait()
            return a + b

        session = await self.client.create("s", tools=[slow], script=CALLS)
        async with session.host(slow):
            turn = await session.start("sum")
            await asyncio.wait_for(begun.wait(), PATIENCE_S)
            self.stop_daemon(signal.SIGKILL)
            os.unlink(self.folder.name + "/sock")
            go_on.set()
            self.start_daemon()
            ended = await asyncio.wait_for(self.patient(turn.result), PATIENCE_S)
        self.assertEqual(ended.text, "sum OK 42")
        self.assertEqual(ran, [(20, 22)])

    async def patient(self, ask, *arguments):
        """The channel may need a moment to notice that the daemon is back."""
        import grpc
        while True:
            try:
                return await ask(*arguments)
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(0.1)

    async def test_forks_and_rewinds(self):
        session = await self.client.create("a", tools=[add], script=CALLS)
        async with session.host(add):
            await (await session.start("one")).result()
            await (await session.start("two")).result()
        await session.update(title="renamed", sampling={"seed": 4})
        self.assertEqual((session.message.settings.title, session.message.settings.sampling.seed), ("renamed", 4))
        fork = await session.fork(turn="t1", session="b")
        self.assertEqual(fork.message.settings.title, "renamed")
        self.assertEqual(fork.message.turns, 1)
        planned = await session.rewind(turn="t1", dry_run=True)
        self.assertEqual((session.message.turns, len(planned.files)), (2, 0))
        await session.rewind(turn="t1")
        self.assertEqual(session.message.turns, 1)
        await session.rewind(undo=True)
        self.assertEqual(session.message.turns, 2)

    async def test_what_fails_says_so(self):
        session = await self.client.create(script="return function() error('no luck') end")
        with self.assertRaises(baleen.Error) as caught:
            await (await session.start("x")).result()
        self.assertIn("no luck", str(caught.exception))


unittest.main()
