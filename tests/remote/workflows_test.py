#!/usr/bin/python3
"""The example workflows as their users run them: forks, copies of a workspace, sandboxed tests that fail, an
approval over the command line or a terminal, kill -9 in the middle, and what is left in the workspace.

Usage: workflows_test.py BALEEN [unittest's arguments]. Only the model isn't real: an endpoint of the test, which
says what fits the conversation. Flags are those that each script's head recommends.
"""
import json
import os
import pathlib
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from scripted_model import Model, last_user
from terminal import PATIENCE_S, Terminal

BALEEN = sys.argv.pop(1)
ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "examples/scripts"


def flags_of(script, **values):
    """The command that the script's head recommends, with values of our own."""
    text = re.sub(r" \\\n--\s+", " ", (SCRIPTS / script).read_text())
    words = shlex.split(re.search(r"^--   (baleen run .*)$", text, re.MULTILINE)[1])
    assert words[:3] == ["baleen", "run", f"examples/scripts/{script}"], words
    words = words[3:]
    for name, value in values.items():
        words[words.index("--" + name) + 1] = str(value)
    return ["run", str(SCRIPTS / script), *words]


def wait_for(what, found):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {PATIENCE_S} s")


def files_in(folder):
    """Contents of the files by path, but for what Python keeps beside sources."""
    return {str(path.relative_to(folder)): path.read_text()
            for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


class Workflow(unittest.TestCase):
    """A workspace, a model, and the sessions of one data directory, over a daemon or without."""

    FILES = {}

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.data, self.workspace = self.folder / "data", self.folder / "work"
        for path, text in self.FILES.items():
            file = self.workspace / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            os.utime(file, (1, 1))  # Python's caches tell sources apart by size and second
        self.model = Model(self.decide)
        self.addCleanup(self.model.close)
        self.config = self.folder / "baleen.toml"
        self.config.write_text(self.model.toml("test"))
        self.address = f"unix:{self.folder}/s"
        self.daemon = None

    def serve(self):
        log = self.folder / "log"
        with log.open("w") as stderr:
            self.daemon = subprocess.Popen(
                [BALEEN, "serve", *self.here(), "--listen", self.address, "--drain-ms", "0"], stderr=stderr)
        self.addCleanup(self.daemon.wait)
        self.addCleanup(self.daemon.kill)  # first: cleanups run backwards
        wait_for("a daemon that listens", lambda: "listening" in log.read_text())

    def kill_daemon(self):
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()

    def here(self):
        return ["--config", str(self.config), "--data-dir", str(self.data), "--model",
                str(ROOT / "model/krill"), "--threads", "1"]

    def where(self):
        return self.here() if self.daemon is None else ["--server", self.address]

    def command(self, *words):
        done = subprocess.run([BALEEN, *map(str, words), *self.where()], capture_output=True, text=True,
                              timeout=PATIENCE_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def begin(self, script, *more, **values):
        """The script runs as a process of ours does; its words, for a pipe or a terminal."""
        return [BALEEN, *flags_of(script, workspace=self.workspace, **values), "--engine", "remote:test",
                "--session", "main", *more, *self.where()]

    def start(self, words):
        client = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(client.communicate)
        self.addCleanup(client.kill)
        return client

    def run_to_end(self, client):
        """What the script gave, which the last line but for the usage is."""
        out, err = client.communicate(timeout=PATIENCE_S)
        self.assertEqual(client.returncode, 0, err)
        return json.loads(out.splitlines()[-1])

    def approvals(self, *words):
        return json.loads(self.command("approvals", "list", "--json", *words))

    def events(self, kind):
        """Payloads of all events of a kind, of all sessions, each with its timeline."""
        with sqlite3.connect(f"file:{self.data}/journal.db?mode=ro", uri=True) as journal:
            rows = journal.execute("SELECT timeline, payload FROM events WHERE kind = ? ORDER BY key", (kind,))
            return [(timeline, json.loads(payload)) for timeline, payload in rows]

    def calls(self):
        """Each call that was let through: its tool, arguments, and how often."""
        named = {}
        for timeline, payload in self.events("tool_calls"):
            for call in json.loads(payload["effect"])["calls"]:
                named[timeline, payload["turn"], call["id"]] = call
        begun = []
        for timeline, payload in self.events("tool_dispatched"):
            begun += [(timeline, payload["turn"], call) for call in payload["calls"]]
        self.assertEqual(len(begun), len(set(begun)), "a call was dispatched twice")
        return [named[key] for key in begun]

    def check_clean(self):
        """Nothing is left over, nothing was malformed, and the journal is sound."""
        self.assertEqual(self.model.problems, [])
        self.command("sessions", "compact")  # the upkeep has what a kill left of a removal
        left = list((self.data / "worktrees").iterdir()) if (self.data / "worktrees").exists() else []
        self.assertEqual(left, [])
        self.assertIn("clean", self.command("sessions", "verify"))


PRICES = '''"""What a basket costs."""


def total(prices, discount):
    return sum(prices) * (1 + discount)


def shown(amount):
    return f"{amount:.2f}"
'''
TESTS = '''import os
import time
import unittest

from shop import prices

with open("runs", "a") as runs:
    runs.write("run\\n")
while os.path.exists("hold"):  # The test of this test wants to be here when it all ends.
    open("held", "w").close()
    time.sleep(0.02)


class Total(unittest.TestCase):
    def test_none(self):
        self.assertEqual(prices.total([], 0.5), 0)

    def test_discount(self):
        self.assertAlmostEqual(prices.total([10, 20], 0.1), 27)
        self.assertAlmostEqual(prices.total([10], 0), 10)
'''
SUM = "    return sum(prices) * (1 + discount)\n"
# What the model believes, and what it changes then: only the last two pass, and the last one is smaller.
FIXES = {
    "the discount is an amount, not a share": "    return sum(prices) - discount\n",
    "the discount belongs to each price":
        "    whole = 0\n    for price in prices:\n        whole += price * (1 - discount)\n    return whole\n",
    "the discount has the wrong sign": "    return sum(prices) * (1 - discount)\n",
}


class Triage(Workflow):
    FILES = {"shop/__init__.py": "", "shop/prices.py": PRICES, "tests/__init__.py": "",
             "tests/test_prices.py": TESTS, ".gitignore": "runs\nhold\nheld\n"}
    COMMAND = "python3 -m unittest -q"
    SMALLEST = list(FIXES)[-1]

    def setUp(self):
        super().setUp()
        self.hold = False
        tried = subprocess.run([BALEEN, "tools", "call", "bash", '{"command": "true"}', "--workspace",
                                str(self.workspace)], capture_output=True, text=True, timeout=PATIENCE_S)
        if "no sandbox on this machine" in tried.stdout + tried.stderr:
            self.skipTest(tried.stdout + tried.stderr)

    def decide(self, body):
        text, since = last_user(body)
        if "List three different likely causes" in text:
            self.assertIn("FAILED", text)
            self.assertIn("response_format", body)
            return [("read", {"path": "shop/prices.py"})] if not since else json.dumps(list(FIXES))
        cause = text.split("assuming that the cause is: ")[1]
        if not since:
            return [("read", {"path": "shop/prices.py"})]
        if len(since) == 2:
            return [("edit", {"path": "shop/prices.py", "old_string": SUM, "new_string": FIXES[cause]})]
        if self.hold and cause == self.SMALLEST:
            for tree in self.trees():
                if FIXES[cause] in (tree / "shop/prices.py").read_text():
                    (tree / "hold").touch()
        return "Changed total()."

    def trees(self):
        return list((self.data / "worktrees").glob("*/tree"))

    def client(self):
        return self.start(self.begin("triage.lua", input=self.COMMAND))

    def answer_until(self, title):
        """Allows what crashed calls are asked about, until somebody is asked for `title`."""
        while True:
            waiting = wait_for("an approval", self.approvals)
            for approval in waiting:
                if approval["title"].startswith(title):
                    return approval
                self.assertTrue(approval["title"].startswith("Go on: nobody knows whether bash"), approval)
                self.command("approvals", "grant", approval["session"], approval["approval"])

    def grant(self, approval):
        self.assertEqual(approval["session"], "main")
        self.assertIn("wrong sign", approval["title"])
        self.assertIn("+" + FIXES[self.SMALLEST], approval["description"])
        shown = self.command("approvals", "show", approval["session"], approval["approval"])
        self.assertIn("\n  | +" + FIXES[self.SMALLEST], shown)  # a diff reads as one
        self.assertEqual(files_in(self.workspace)["shop/prices.py"], PRICES)  # nothing before that
        self.command("approvals", "grant", approval["session"], approval["approval"])

    def check(self, result, again=0):
        """`again`: runs of tests that were repeated since nobody knew how they ended."""
        self.assertEqual(result, {"cause": self.SMALLEST, "passes": True, "tries": 3})
        expected = {**self.FILES, "shop/prices.py": PRICES.replace(SUM, FIXES[self.SMALLEST]),
                    "runs": "run\n" * 2}
        self.assertEqual(files_in(self.workspace), expected)
        self.check_clean()
        answered = self.approvals("main", "--resolved")
        self.assertEqual([(one["state"], one["resolved_by"]) for one in answered], [("GRANTED", "cli")])
        sessions = json.loads(self.command("sessions", "list", "--json"))
        self.assertEqual(sorted(one["settings"]["title"] for one in sessions if one["session"] != "main"),
                         ["try 1", "try 2", "try 3"])
        tools = [call["name"] for call in self.calls()]
        self.assertEqual({name: tools.count(name) for name in set(tools)},
                         {"bash": 5 + again, "read": 4, "edit": 3, "apply_diff": 1})
        states = [end["state"] for _, end in self.events("turn_finished")]
        # A fork's line begins inside of a turn, which for it ends there.
        self.assertEqual((states.count("SUCCEEDED"), states.count("CANCELLED"), len(states)), (7 + again, 3, 10 + again))

    def test_the_smallest_patch_that_passes_is_applied_once_somebody_says_yes(self):
        self.serve()
        client = self.client()
        self.grant(self.answer_until("Apply the fix"))
        self.check(self.run_to_end(client))
        # And it can be taken back.
        self.command("sessions", "rewind", "main", "--tokens", "0", "--files")
        self.assertEqual(files_in(self.workspace)["shop/prices.py"], PRICES)

    def test_the_daemon_is_killed_while_it_waits_for_the_yes(self):
        self.serve()
        client = self.client()
        before = self.answer_until("Apply the fix")
        asked = len(self.model.requests)
        self.kill_daemon()
        client.communicate(timeout=PATIENCE_S)
        self.assertNotEqual(client.returncode, 0)
        self.serve()
        client = self.client()
        after = self.answer_until("Apply the fix")
        self.assertEqual(after, before)
        self.grant(after)
        self.check(self.run_to_end(client))
        self.assertEqual(len(self.model.requests), asked, "the model was asked again")

    def test_the_daemon_is_killed_inside_the_tests_of_a_fork(self):
        self.hold = True
        self.serve()
        client = self.client()
        held = wait_for("tests that run", lambda: [t for t in self.trees() if (t / "held").exists()])
        self.kill_daemon()
        self.hold = False
        client.communicate(timeout=PATIENCE_S)
        (held[0] / "hold").unlink()
        self.serve()
        client = self.client()
        self.grant(self.answer_until("Apply the fix"))
        unknown = [event for _, event in self.events("tool_result") + self.events("tool_results")
                   if '"UNKNOWN"' in json.dumps(event)]
        self.assertGreaterEqual(len(unknown), 1)
        self.check(self.run_to_end(client), again=len(unknown))


class Summary(Workflow):
    FILES = {f"notes/{name}.md": f"# {name}\nAll of it is about {name}.\n"
             for name in ("anchors", "buoys", "currents", "docks", "eddies")}

    def setUp(self):
        super().setUp()
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def decide(self, body):
        text, since = last_user(body)
        path = re.match(r"Read (\S+)\. What is it for", text)[1]
        if not since:
            return [("read", {"path": path})]
        topic = pathlib.Path(path).stem
        self.assertIn(f"All of it is about {topic}.", since[-1]["content"])
        if topic == "eddies" and not self.go_on.is_set():
            self.reached.set()
            self.go_on.wait(PATIENCE_S)
        return json.dumps({"purpose": f"It tells of {topic}.", "decides": [f"how {topic} are named"]})

    def check(self, result):
        self.assertEqual(result, {"files": 5, "remembered": 5, "unread": []})
        self.check_clean()
        notes = json.loads(self.command("notes", "list", "--json"))
        self.assertEqual(sorted(note["text"] for note in notes),
                         [f"{path}: It tells of {pathlib.Path(path).stem}. Decides: how "
                          f"{pathlib.Path(path).stem} are named" for path in sorted(self.FILES)])
        self.assertIn("notes/docks.md", self.command("sessions", "search", "docks"))
        # Another session of this workspace.
        script = self.folder / "recall.lua"
        script.write_text('return function(words) return (baleen.call("recall", { query = words })) end')
        told = self.command("run", script, "--workspace", self.workspace, "--tools", "recall", "--engine",
                            "remote:test", "--input", "currents")
        self.assertIn("notes/currents.md: It tells of currents.", told)

    def test_a_tree_is_read_once_though_it_is_killed_and_found_afterwards(self):
        self.go_on.clear()
        words = self.begin("summarise_tree.lua", input="notes/*.md")
        client = self.start(words)
        self.assertTrue(self.reached.wait(PATIENCE_S))
        client.kill()
        client.communicate(timeout=PATIENCE_S)
        self.go_on.set()
        client = self.start(words)
        self.check(self.run_to_end(client))
        self.assertEqual(sorted(call["name"] for call in self.calls()),
                         ["glob"] + ["read"] * 5 + ["recall"] + ["remember"] * 5)
        again = [body for body in self.model.requests if "eddies" in str(body["messages"][-2:])]
        self.assertEqual(len(again), 3)  # the read, the answer that the kill cut, the same again


class Audit(Workflow):
    FILES = {"requirements.txt": "requests==2.0\nflask==0.1\n", "CMakeLists.txt": "find_package(Lua 5.1)\n"}
    FINDINGS = [{"file": "requirements.txt", "problem": "requests is old", "change": "requests==2.32",
                 "risk": "low"},
                {"file": "CMakeLists.txt", "problem": "Lua is old", "change": "find_package(Lua 5.4)",
                 "risk": "high"}]

    def decide(self, body):
        text, since = last_user(body)
        if text.startswith("Audit this for old versions"):
            self.assertIn("requests==2.0", text)
            return json.dumps(self.FINDINGS)
        change, path = re.match(r"Make this change, and nothing else: (.*) in (\S+)$", text).groups()
        if not since:
            return [("read", {"path": path})]
        if len(since) == 2:
            old = {"requirements.txt": "requests==2.0", "CMakeLists.txt": "find_package(Lua 5.1)"}[path]
            # It also tries what nobody has approved.
            return [("edit", {"path": path, "old_string": old, "new_string": change}),
                    ("write", {"path": "setup.py", "content": "import os\n"})]
        return "Changed it."

    def test_on_a_terminal_what_is_approved_is_edited_over_a_kill_and_nothing_else(self):
        words = self.begin("nightly_audit.lua", input="old versions")
        first = Terminal(words)
        first.wait_for("Change requirements.txt")
        first.kill()
        self.assertEqual(files_in(self.workspace), self.FILES)
        second = Terminal(words)
        asked = second.answer("Change requirements.txt", b"y")
        self.assertIn("\r\n  | risk: low\r\n", asked)
        second.answer("Change CMakeLists.txt", b"n")
        status, shown = second.end()
        self.assertEqual(status, 0, shown)
        self.assertIn('"findings":2', shown)
        self.assertIn("was denied by terminal", shown)
        self.assertEqual(files_in(self.workspace),
                         {**self.FILES, "requirements.txt": "requests==2.32\nflask==0.1\n"})
        self.check_clean()
        tools = [call["name"] for call in self.calls()]
        self.assertEqual((tools.count("edit"), tools.count("write")), (1, 0))
        self.assertIn("nobody has approved", str(self.events("tool_results")))


class Question(Workflow):
    """A fork that needs leave asks whoever runs its script, also where nobody else could answer."""

    FILES = {"a.txt": "one\n"}

    def decide(self, body):
        _, since = last_user(body)
        return [("write", {"path": "new.txt", "content": "two\n"})] if not since else "Written."

    def test_a_forks_question_is_asked_on_the_terminal(self):
        script = self.folder / "fork.lua"
        script.write_text('return function() return session.current():fork { label = "kid" }:ask("Write.") end')
        terminal = Terminal([BALEEN, "run", str(script), "--workspace", str(self.workspace), "--tools", "write",
                             "--engine", "remote:test", "--session", "main", *self.where()])
        asked = terminal.wait_for("[n]o: ")
        self.assertIn("new.txt", asked)
        self.assertRegex(asked, r"asked by main/t1/\S+/t\d+")
        os.write(terminal.main, b"y\n")
        status, shown = terminal.end()
        self.assertEqual(status, 0, shown)
        self.assertEqual(files_in(self.workspace), {**self.FILES, "new.txt": "two\n"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
