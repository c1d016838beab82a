#!/usr/bin/python3
"""The sample scripts of the specification beside this repository, word for word: ticket.lua, bisect.lua, guard.lua.

Only the tracker's place is another one. The model is a server of the test; the tracker, the forks, their copies of the
workspace, the sandbox, the questions and the kill -9 are real. Exits with 77 where the specification isn't there.

Usage: agent_samples_test.py BALEEN [unittest's arguments].
"""
import http.server
import json
import os
import pathlib
import re
import shutil
import sys
import threading
import unittest

from script_case import BALEEN, PATIENCE_S, ROOT, Sample
from scripted_model import last_user
from terminal import Terminal

SPECIFICATION = ROOT.parent / "shared/spec/agent-runtime.md"
TOKEN = "tk-abcdef0123456789"


def sample(name):
    """The block of Lua that begins with the file's name."""
    blocks = re.findall(r"^```lua\n(-- (\S+\.lua): .*?)^```$", SPECIFICATION.read_text(), re.MULTILINE | re.DOTALL)
    return dict((file, text) for text, file in blocks)[name]


class OfSpecification(Sample):
    NAME = ""

    def setUp(self):
        super().setUp()
        self.script = self.folder / self.NAME
        self.script.write_text(self.changed(sample(self.NAME)))

    def changed(self, text):
        return text


class Tracker(http.server.BaseHTTPRequestHandler):
    seen = []

    def do_GET(self):
        Tracker.seen.append((self.path, self.headers.get("Authorization")))
        known = self.path == "/api/ABC-123"
        body = json.dumps({"summary": "The pump drips"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Ticket(OfSpecification):
    NAME = "ticket.lua"
    STEPS = [[("lookup_ticket", {"id": "ABC-123"})],
             [("lookup_ticket", {"id": "ABC-404"}), ("lookup_ticket", {"id": "../admin"})],
             [("read", {"path": "deploy/.env.local"}), ("read", {"path": "go.mod"})],
             [("bash", {"command": "git push"})],
             [("write", {"path": "pump/main.go", "content": "package  main\n"})]]

    def setUp(self):
        Tracker.seen = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tracker)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.place = f"127.0.0.1:{self.server.server_port}"
        super().setUp()
        (self.workspace / "deploy").mkdir()
        (self.workspace / "deploy/.env.local").write_text("PASSWORD=1\n")
        (self.workspace / "go.mod").write_text("module pump\n")
        key = self.folder / "key"
        key.write_text(TOKEN)
        key.chmod(0o600)
        self.config.write_text(
            self.model.toml("test") + f'[web]\nscript_http_hosts = ["{self.place}"]\n'
            f'[secrets.TRACKER_TOKEN]\nkey_file = "{key}"\nhosts = ["{self.place}"]\nscripts = true\n')
        self.answers = []

    def changed(self, text):
        return text.replace("https://tracker.internal/", f"http://{self.place}/").replace(
            '"tracker.internal"', f'"{self.place}"')

    def decide(self, body):
        self.answers = self.told(body)
        said = 0
        for step in self.STEPS:
            if said == len(self.answers):
                return step
            said += len(step)
        return "Done."

    def run_on_terminal(self, *flags):
        """All that it shows; every question is answered with yes, but for what pushes."""
        terminal = Terminal([BALEEN, *map(str, ["run", self.script, "--input", "What of ABC-123?", "--tools",
                                                "write,bash", *self.flags(), *flags, *self.here()])])
        shown = ""
        while True:
            try:
                asked = terminal.wait_for("[n]o: ")
            except AssertionError:
                break
            shown += asked
            os.write(terminal.main, b"n\n" if "git push" in asked else b"y\n")
        status, rest = terminal.end()
        self.assertEqual(status, 0, shown + rest)
        return shown + rest

    def test_its_tool_its_policy_and_its_hook(self):
        shown = self.run_on_terminal()
        first, missing, unfit, hidden, module, push, write = self.answers
        self.assertEqual(first.split("\n")[1:], ["The pump drips", "[End of content of lookup_ticket]"])
        self.assertEqual(missing, "ERROR: no such ticket: ABC-404")
        self.assertIn("does not match", unfit)
        self.assertEqual([path for path, _ in Tracker.seen], ["/api/ABC-123", "/api/ABC-404"])
        self.assertEqual({auth for _, auth in Tracker.seen}, {f"Bearer {TOKEN}"})
        self.assertNotIn(TOKEN, shown + json.dumps(self.model.requests))
        self.assertIn("secrets stay out of the context", hidden)
        self.assertIn("module pump", module)
        self.assertTrue(push.startswith("DENIED"), push)
        self.assertEqual((self.workspace / "pump/main.go").read_text(), "package  main\n")
        if shutil.which("gofmt", path="/usr/bin:/bin"):
            self.assertIn("[note: gofmt wants changes in pump/main.go]", write)
        else:  # The sample takes it for granted; whoever reads the answer learns what is missing.
            self.assertRegex(write, r"\[note: a hook failed: .*gofmt.*\]")


CAUSES = {"the factor is upside down": "    return celsius * 5 / 9 + 32\n",
          "the offset is missing twice over": "    warmer = celsius * 9 / 5\n    return warmer + 32\n",
          "the offset is missing": "    return celsius * 9 / 5 + 32\n"}
WRONG = "    return celsius * 9 / 5\n"
HEAT = f"def fahrenheit(celsius):\n{WRONG}"
HEAT_TEST = '''import unittest

from heat import fahrenheit


class Heat(unittest.TestCase):
    def test_water(self):
        self.assertEqual(fahrenheit(100), 212)
        self.assertEqual(fahrenheit(0), 32)
'''


@unittest.skipUnless(os.access("/usr/bin/bwrap", os.X_OK), "no sandbox for commands here")
class Bisect(OfSpecification):
    NAME = "bisect.lua"
    TEST = "python3 -B -m unittest -q heat_test"
    FLAGS = ["--tools", "edit,bash", "--allow", "edit", "--allow", "bash"]

    def setUp(self):
        super().setUp()
        (self.workspace / "heat.py").write_text(HEAT)
        (self.workspace / "heat_test.py").write_text(HEAT_TEST)
        self.reading, self.go_on = threading.Barrier(len(CAUSES) + 1), threading.Event()
        self.passing = True
        self.addCleanup(self.go_on.set)

    def decide(self, body):
        text, since = last_user(body)
        if "List three different likely causes" in text:
            schema = body["response_format"]["json_schema"]["schema"]
            self.assertEqual((schema["type"], schema["maxItems"]), ("array", 3))
            return json.dumps(list(CAUSES))
        cause = text.split("Fix it assuming: ")[1]
        steps = [("read", {"path": "heat.py"}),
                 ("edit", {"path": "heat.py", "old_string": WRONG,
                           "new_string": CAUSES[cause] if self.passing else "    return 0\n"})]
        done = len([message for message in since if message["role"] == "tool"])
        if done == 1 and not self.go_on.is_set():
            self.reading.wait(PATIENCE_S)
            self.go_on.wait(PATIENCE_S)
        return "Done." if done == 2 else [steps[done]]

    def test_killed_twice_it_applies_the_shortest_fix_that_passes(self):
        run = self.start(self.script, "--arg", f"test={self.TEST}", *self.FLAGS)
        self.reading.wait(PATIENCE_S)
        run.kill()  # all forks are at work, and no call of theirs is
        run.wait()
        self.go_on.set()
        approval = self.waiting(self.script)  # goes on, and is killed at the question
        self.assertEqual(approval["title"], "Apply the fix for: the offset is missing")
        self.assertIn("+" + CAUSES["the offset is missing"], approval["description"])
        self.assertNotIn("pycache", approval["description"])
        self.assertEqual((self.workspace / "heat.py").read_text(), HEAT)
        self.grant(approval)
        done = self.baleen("run", self.script, *self.flags(), *self.here())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("the offset is missing", done.stdout)
        self.assertEqual((self.workspace / "heat.py").read_text(),
                         HEAT.replace(WRONG, CAUSES["the offset is missing"]))
        self.assertEqual(self.model.problems, [])
        plans = [body for body in self.model.requests if "List three" in last_user(body)[0]]
        self.assertEqual(len(plans), 1)
        left = self.folder / "data/worktrees"
        self.assertEqual(list(left.iterdir()) if left.exists() else [], [])

    def test_where_nothing_passes_nothing_is_asked_or_changed(self):
        self.go_on.set()
        self.passing = False
        done = self.baleen("run", self.script, "--arg", f"test={self.TEST}", *self.flags(), *self.FLAGS, *self.here())
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no attempt passed the test", done.stderr)
        self.assertEqual((self.workspace / "heat.py").read_text(), HEAT)


class Guard(OfSpecification):
    NAME = "guard.lua"

    def setUp(self):
        super().setUp()
        (self.workspace / "a.txt").write_text("a\n")
        (self.workspace / "pantry.json").write_text('{"flour": 2}')
        self.config.write_text(
            self.model.toml("test") + f'[mcp.pantry]\ncommand = ["{sys.executable}", "{ROOT}/examples/mcp/pantry.py"]\n'
            f'folder = "{self.workspace}"\n')
        self.call = ("read", {"path": "a.txt"})
        self.answers = []

    def decide(self, body):
        self.answers = self.told(body)
        return "Done." if len(self.answers) == 7 else [self.call]

    def test_the_third_time_it_notes_and_from_the_sixth_on_it_denies(self):
        self.run_script(self.script, "--input", "Read it again and again.")
        noted = ["Same call, same arguments, third time." in answer for answer in self.answers]
        self.assertEqual(noted, [False, False, True, False, False, False, False])
        denied = [answer.startswith("DENIED") and "repeated call" in answer for answer in self.answers]
        self.assertEqual(denied, [False] * 5 + [True] * 2)
        self.assertNotIn("not trusted", str(self.answers))

    def test_what_an_mcp_server_says_is_framed(self):
        self.call = ("pantry_stock", {"item": "flour"})
        self.run_script(self.script, "--input", "How much flour?", "--allow", "pantry_*")
        for answer in self.answers[:5]:
            self.assertIn("[Content of what pantry_stock gave.", answer)
            self.assertIn("2 of flour", answer)


if __name__ == "__main__":
    if not SPECIFICATION.exists():
        print(f"SKIPPED: there is no {pathlib.Path(os.path.relpath(SPECIFICATION, ROOT))} here")
        sys.exit(77)
    unittest.main()
