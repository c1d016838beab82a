#!/usr/bin/python3
"""A daemon as its keeper meets it: what SIGTERM waits for.

Usage: daemon_test.py BALEEN TOKENIZER_JSON
"""
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

BALEEN, TOKENIZER = sys.argv[1:3]
SCRIPT = """return function(message)
  return baleen.generate { user = message, max_tokens = tonumber(message) }.content
end
"""


class Daemon(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.address = f"unix:{self.folder}/run/s"
        self.script = self.folder / "write.lua"
        self.script.write_text(SCRIPT)
        subprocess.run([BALEEN, "make-tiny", self.folder / "model", "--tokenizer", TOKENIZER],
                       check=True, capture_output=True)

    def serve(self, drain_ms):
        daemon = subprocess.Popen(
            [BALEEN, "serve", "--model", self.folder / "model", "--data-dir", self.folder / "data",
             "--listen", self.address, "--threads", "1", "--drain-ms", str(drain_ms),
             "--log-format", "json"], stderr=subprocess.PIPE, text=True)
        self.addCleanup(daemon.wait)
        self.addCleanup(daemon.kill)  # first: cleanups run backwards
        for line in daemon.stderr:
            if json.loads(line)["message"].startswith("listening"):
                return daemon
        self.fail("the daemon ended")

    def write(self, tokens):
        """A turn of so many tokens, once the first of them is there."""
        client = subprocess.Popen(
            [BALEEN, "run", self.script, "--server", self.address, "--session", "one", "--json",
             "--input", str(tokens)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(client.communicate)
        self.addCleanup(client.kill)
        for line in client.stdout:
            if json.loads(line).get("kind") == "delta":
                return client
        self.fail(client.stderr.read())

    def stop(self, daemon):
        daemon.send_signal(signal.SIGTERM)
        _, log = daemon.communicate(timeout=240)
        self.assertEqual(daemon.returncode, 0, log)
        return [json.loads(line) for line in log.splitlines()]

    def test_a_running_turn_ends_first_and_its_watcher_sees_it(self):
        daemon = self.serve(drain_ms=200_000)
        client = self.write(tokens=200)
        log = self.stop(daemon)
        out, err = client.communicate(timeout=60)
        self.assertEqual(client.returncode, 0, err)
        self.assertIn("turn_finished", out)
        self.assertNotIn("cut off", str(log))

    def test_a_turn_that_takes_too_long_is_named_and_cut(self):
        daemon = self.serve(drain_ms=300)
        client = self.write(tokens=1_000_000)
        log = {line["message"]: line for line in self.stop(daemon)}
        self.assertEqual(log["waiting for running turns"]["sessions"], ["one"])
        self.assertEqual(log["cut off; these turns go on at the next start"]["sessions"], ["one"])
        client.communicate(timeout=60)
        self.assertNotEqual(client.returncode, 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
