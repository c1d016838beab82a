#!/usr/bin/python3
"""`baleen chat` on a terminal: text streams, reasoning is folded, calls and approvals are shown, usage is
told, a session is resumed by its name, and one key forks it.

Usage: chat_test.py BALEEN. The answers come from an HTTP server of the test, as an engine elsewhere.
"""
import http.server
import json
import os
import pathlib
import pty
import select
import subprocess
import sys
import tempfile
import threading
import time
import unittest

BALEEN = sys.argv.pop(1)
ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_S = 60
FORK, UNFOLD, END = b"\x06", b"\x14", b"\x04"


def chunk(delta, finish=None):
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta, 'finish_reason': finish}]})}\n\n"


class Engine(http.server.BaseHTTPRequestHandler):
    """Thinks, and then either calls the tool that the user names, or says how many messages it got.

    Asked to wait, it stops in its thoughts until `go_on` is set; `asked` tells that it was.
    """
    requests = []
    asked, go_on = threading.Event(), threading.Event()

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Engine.requests.append(body)
        last = body["messages"][-1]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        parts = [chunk({"reasoning_content": "deep "}), chunk({"reasoning_content": "thoughts"})]
        if last["content"] == "wait":
            Engine.asked.set()
            Engine.go_on.wait(PATIENCE_S)
        if last["role"] == "user" and last["content"].startswith("read "):
            call = {"index": 0, "id": "c", "function": {
                "name": "read", "arguments": json.dumps({"path": last["content"][5:]})}}
            parts += [chunk({"tool_calls": [call]}, "tool_calls")]
        else:
            parts += [chunk({"content": "got "}), chunk({"content": str(len(body["messages"]))}, "stop")]
        self.wfile.write(("".join(parts) + "data: [DONE]\n\n").encode())

    def log_message(self, *_):
        pass


class Terminal:
    """A program on a pty: what it shows, in order."""

    def __init__(self, *arguments):
        self.main, side = pty.openpty()
        self.program = subprocess.Popen([BALEEN, *map(str, arguments)], stdin=side, stdout=side,
                                        stderr=side, start_new_session=True)
        os.close(side)
        self.shown = ""

    def read_some(self, seconds):
        """What it shows within `seconds`, if it shows anything."""
        if not select.select([self.main], [], [], seconds)[0]:
            return False
        try:
            self.shown += os.read(self.main, 4096).decode(errors="replace")
        except OSError:
            raise AssertionError(f"ended; it showed {self.shown!r}") from None
        return True

    def wait_for(self, words):
        """Everything up to and with `words`, which it takes away."""
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.shown:
            left = deadline - time.monotonic()
            if left <= 0 or not self.read_some(left):
                raise AssertionError(f"never showed {words!r}; it shows {self.shown!r}")
        at = self.shown.index(words) + len(words)
        before, self.shown = self.shown[:at], self.shown[at:]
        return before

    def type(self, keys):
        os.write(self.main, keys)

    def end(self):
        self.type(END)
        status = self.program.wait(PATIENCE_S)
        os.close(self.main)
        return status


class Chat(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        Engine.requests = []
        folder = pathlib.Path(self.folder.name)
        (folder / "files").mkdir()
        (folder / "files" / "a.txt").write_text("some text")
        (folder / "baleen.toml").write_text(
            f'[engines.test]\nurl = "http://127.0.0.1:{server.server_port}/v1"\nmodel = "m"\n')
        self.common = ["chat", "--config", folder / "baleen.toml", "--data-dir", folder / "data",
                       "--model", ROOT / "model/krill", "--threads", "1", "--engine", "remote:test",
                       "--workspace", folder / "files", "--session", "talk"]

    def test_text_reasoning_usage_fork_and_resume(self):
        terminal = Terminal(*self.common)
        terminal.wait_for("session talk, 0 tokens")
        terminal.wait_for("> ")
        terminal.type(b"hello\n")
        shown = terminal.wait_for("generated, ")
        self.assertIn("[thought: 13 bytes]", shown)
        self.assertIn("got 1", shown)
        self.assertNotIn("deep thoughts", shown)
        terminal.wait_for("> ")
        terminal.type(UNFOLD)
        terminal.wait_for("deep thoughts")
        terminal.wait_for("> ")
        # The key forks, and what was typed before it is the fork's first turn.
        terminal.type(b"otherwise" + FORK)
        fork = terminal.wait_for("goes back]").split("[forked: now in ")[1].split(",")[0]
        self.assertNotEqual(fork, "talk")
        terminal.wait_for("got 3")
        terminal.wait_for("> ")
        # The same typed ahead, while an answer is awaited.
        terminal.type(b"wait\n")
        self.assertTrue(Engine.asked.wait(PATIENCE_S))
        terminal.type(b"once more" + FORK)
        terminal.wait_for("once more")
        Engine.go_on.set()
        again = terminal.wait_for("goes back]").split("[forked: now in ")[1].split(",")[0]
        self.assertNotIn(again, ("talk", fork))
        terminal.wait_for("got 7")
        terminal.wait_for("> ")
        self.assertEqual(terminal.end(), 0)
        # By its name, and where it was.
        terminal = Terminal(*self.common)
        self.assertNotIn(" 0 tokens", terminal.wait_for("> "))
        terminal.type(b"again\n")
        terminal.wait_for("got 3")
        terminal.wait_for("> ")
        self.assertEqual(terminal.end(), 0)

    def test_calls_and_approvals(self):
        terminal = Terminal(*self.common, "--ask", "read")
        terminal.wait_for("> ")
        terminal.type(b"read a.txt\n")
        terminal.wait_for('[read {"path": "a.txt"}]')
        terminal.wait_for("[n]o: ")
        terminal.type(b"y\n")
        terminal.wait_for("GRANTED by terminal")
        terminal.wait_for("got 3")
        self.assertIn("some text", Engine.requests[-1]["messages"][-1]["content"])
        terminal.wait_for("> ")
        terminal.type(b"read b.txt\n")
        terminal.wait_for("[n]o: ")
        terminal.type(b"n\n")
        terminal.wait_for("got 7")
        self.assertIn("DENIED", Engine.requests[-1]["messages"][-1]["content"])
        terminal.wait_for("> ")
        self.assertEqual(terminal.end(), 0)


    def test_a_running_command_is_told_of_on_a_terminal_alone(self):
        script = pathlib.Path(self.folder.name) / "slow.lua"
        script.write_text("""return function()
          return baleen.call("bash", { command = [[echo begun; printf 'now \\033[2J\\302\\233here'; sleep 2]] })
        end""")
        common = ["run", script, *self.common[1:-2], "--tools", "bash", "--allow", "bash"]
        piped = subprocess.run([BALEEN, *map(str, common)], capture_output=True, text=True, timeout=PATIENCE_S)
        if "no sandbox" in piped.stdout or "no command runs" in piped.stdout:
            self.skipTest(piped.stdout)
        self.assertEqual(piped.returncode, 0, piped.stderr)
        self.assertIn("now \x1b[2J", piped.stdout)  # what it answered, as the model reads it
        self.assertNotIn(" s: ", piped.stderr)
        self.assertNotIn("\r", piped.stderr)
        events = subprocess.run([BALEEN, *map(str, common), "--json"], capture_output=True, text=True,
                                timeout=PATIENCE_S)
        told = [event for event in map(json.loads, events.stdout.splitlines())
                if event.get("kind") == "tool_progress"]
        self.assertIn("begun", "".join(event["payload"]["text"] for event in told))
        self.assertEqual({event["payload"]["tool"] for event in told}, {"bash"})
        terminal = Terminal(*common)
        terminal.wait_for("[waiting for TOOL bash]")
        terminal.wait_for(" s: now ?[2J?here")
        terminal.wait_for("\r\x1b[K")
        terminal.wait_for("exit code: 0")
        self.assertEqual(terminal.program.wait(PATIENCE_S), 0)
        os.close(terminal.main)


unittest.main()
