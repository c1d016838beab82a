"""What tests of scripts share: a workspace, a model that is a server of the test, and the baleen that runs them.

Used by script_samples_test.py and agent_samples_test.py, whose first argument is BALEEN.
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

from scripted_model import Model, last_user
from terminal import PATIENCE_S

BALEEN = sys.argv.pop(1)
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Sample(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.workspace = self.folder / "work"
        self.workspace.mkdir()
        self.model = Model(self.decide)
        self.addCleanup(self.model.close)
        self.config = self.folder / "baleen.toml"
        self.config.write_text(self.model.toml("test"))

    def decide(self, body):
        raise NotImplementedError

    def baleen(self, *words):
        return subprocess.run([BALEEN, *map(str, words)], capture_output=True, text=True, timeout=PATIENCE_S,
                              check=False)

    def here(self):
        return ["--config", self.config, "--data-dir", self.folder / "data", "--model", ROOT / "model/krill",
                "--threads", "1"]

    def run_script(self, script, *flags):
        """What the turn says last."""
        check = self.baleen("lua", "check", script)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        done = self.baleen("run", script, *self.flags(), *flags, *self.here())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.model.problems, [])
        return done.stdout

    def flags(self):
        return ["--engine", "remote:test", "--session", "main", "--workspace", self.workspace]

    def start(self, script, *flags):
        words = ["run", script, *self.flags(), *flags, *self.here()]
        run = subprocess.Popen([BALEEN, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, stdin=subprocess.DEVNULL)
        self.addCleanup(run.communicate)
        self.addCleanup(run.kill)
        return run

    def waiting(self, script, *flags):
        """The approval that the script waits for; its process has been killed."""
        run = self.start(script, *flags)
        next(line for line in run.stderr if "baleen approvals grant" in line)
        run.kill()
        run.wait()
        waiting = json.loads(self.baleen("approvals", "list", "--json", *self.here()).stdout)
        self.assertEqual(len(waiting), 1)
        return waiting[0]

    def grant(self, approval):
        granted = self.baleen("approvals", "grant", approval["session"], approval["approval"], *self.here())
        self.assertEqual(granted.returncode, 0, granted.stderr)

    def told(self, body):
        """Contents of the tools' answers since the user last spoke."""
        return [message["content"] for message in last_user(body)[1] if message["role"] == "tool"]
