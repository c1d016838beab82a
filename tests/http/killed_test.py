#!/usr/bin/python3
"""An HTTP tool's call whose process dies by SIGKILL while the server has the request.

One that may run twice is sent again under the same Idempotency-Key; of any other nobody can know, so it
isn't, and the outcome is UNKNOWN.

Usage: killed_test.py BALEEN
"""
import http.server
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest

BALEEN = sys.argv.pop(1)
ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_S = 60
SCRIPT = """
return function(message)
  local content, outcome = baleen.call("pay", { euros = 5 })
  return outcome .. ": " .. content
end
"""


class Bank(http.server.BaseHTTPRequestHandler):
    """Answers no first request; has a key for each."""
    keys = []
    asked, over = threading.Event(), threading.Event()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Bank.keys.append(self.headers["Idempotency-Key"])
        if len(Bank.keys) == 1:
            Bank.asked.set()
            Bank.over.wait(PATIENCE_S)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"paid")

    def log_message(self, *_):
        pass


class Killed(unittest.TestCase):
    def pay(self, effect):
        """What the turn says that is killed in its call and then goes on, and the keys that were sent."""
        Bank.keys = []
        Bank.asked.clear()
        Bank.over.clear()
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bank)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "pay.lua").write_text(SCRIPT)
            (folder / "baleen.toml").write_text(
                f'[http_tools.pay]\nmethod = "POST"\nurl = "http://127.0.0.1:{server.server_port}/"\n'
                f'effect = "{effect}"\ndescription = "Pays."\n'
                'parameters = \'{"type":"object","properties":{"euros":{"type":"integer"}}}\'\n')
            command = [BALEEN, "run", folder / "pay.lua", "--config", folder / "baleen.toml", "--data-dir",
                       folder / "data", "--model", ROOT / "model/krill", "--threads", "1", "--session", "s",
                       "--allow", "pay"]
            first = subprocess.Popen([*map(str, command), "--input", "go"], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
            self.assertTrue(Bank.asked.wait(PATIENCE_S))
            first.kill()
            first.wait(PATIENCE_S)
            Bank.over.set()
            second = subprocess.run(list(map(str, command)), capture_output=True, text=True,
                                    timeout=PATIENCE_S, check=False)
            self.assertEqual(second.returncode, 0, second.stderr)
            return second.stdout, list(Bank.keys)

    def test_what_may_run_twice_is_sent_again_under_its_key(self):
        said, keys = self.pay("idempotent")
        self.assertIn("OK: ", said)
        self.assertIn("paid", said)
        self.assertEqual(len(keys), 2)
        self.assertTrue(keys[0])
        self.assertEqual(keys[0], keys[1])

    def test_of_what_may_not_nobody_knows(self):
        said, keys = self.pay("effect")
        self.assertIn("UNKNOWN: ", said)
        self.assertEqual(len(keys), 1)


unittest.main()
