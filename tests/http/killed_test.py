#!/usr/bin/python3
"""An HTTP tool's call, or a script's request, whose process dies by SIGKILL while the server has the request.

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
ASKS = """
local http = require "baleen.http"
return function(message)
  local reply, why, outcome = http.request { method = "%s", url = "http://127.0.0.1:%d/x" }
  return reply and "OK: " .. reply.body or outcome .. ": " .. why
end
"""

ASKS_AT_ONCE = """
local http = require "baleen.http"
tool "ask" {
  about = "Asks.", args = { method = str(), path = str() },
  traits = { idempotent = true, parallel = true, network = { "127.0.0.1" } },
  run = function(a)
    local reply, why, outcome = http.request { method = a.method, url = "http://127.0.0.1:%d/" .. a.path }
    return reply and "OK: " .. reply.body or outcome
  end,
}
return function(message)
  local out = {}
  for i, result in ipairs(baleen.call_tools {
    { name = "ask", arguments = { method = "GET", path = "1" } },
    { name = "ask", arguments = { method = "POST", path = "2" } },
    { name = "ask", arguments = { method = "GET", path = "3" } },
  }) do out[i] = result.content end
  return table.concat(out, ", ")
end
"""


class Bank(http.server.BaseHTTPRequestHandler):
    """Answers no first requests; has a key for each, and the path."""
    firsts = 1
    keys, paths = [], []
    asked, over, lock = threading.Event(), threading.Event(), threading.Lock()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with Bank.lock:
            Bank.keys.append(self.headers.get("Idempotency-Key"))
            Bank.paths.append(self.path)
            count = len(Bank.keys)
        if count <= Bank.firsts:
            if count == Bank.firsts:
                Bank.asked.set()
            Bank.over.wait(PATIENCE_S)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"paid")

    def do_GET(self):
        self.do_POST()

    def log_message(self, *_):
        pass


class Killed(unittest.TestCase):
    def begin(self, firsts=1):
        """An empty folder, and the bank that nobody has asked yet."""
        Bank.firsts = firsts
        Bank.keys, Bank.paths = [], []
        Bank.asked.clear()
        Bank.over.clear()
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bank)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return pathlib.Path(folder.name), server

    def killed_once(self, folder, script, tool):
        """What the turn says that is killed in its call and then goes on, and the keys that were sent."""
        command = [BALEEN, "run", folder / script, "--config", folder / "baleen.toml", "--data-dir",
                   folder / "data", "--model", ROOT / "model/krill", "--threads", "1", "--session", "s",
                   "--allow", tool]
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

    def pay(self, effect):
        folder, server = self.begin()
        (folder / "pay.lua").write_text(SCRIPT)
        (folder / "baleen.toml").write_text(
            f'[http_tools.pay]\nmethod = "POST"\nurl = "http://127.0.0.1:{server.server_port}/"\n'
            f'effect = "{effect}"\ndescription = "Pays."\n'
            'parameters = \'{"type":"object","properties":{"euros":{"type":"integer"}}}\'\n')
        return self.killed_once(folder, "pay.lua", "pay")

    def test_what_may_run_twice_is_sent_again_under_its_key(self):
        said, keys = self.pay("idempotent")
        self.assertIn("OK: ", said)
        self.assertIn("paid", said)
        self.assertEqual(len(keys), 2)
        self.assertTrue(keys[0])
        self.assertEqual(keys[0], keys[1])

    def ask(self, method):
        """The same of a script's own request."""
        folder, server = self.begin()
        (folder / "ask.lua").write_text(ASKS % (method, server.server_port))
        (folder / "baleen.toml").write_text('[web]\nscript_http_hosts = ["127.0.0.1"]\n')
        return self.killed_once(folder, "ask.lua", "http_request")

    def test_of_what_may_not_nobody_knows(self):
        said, keys = self.pay("effect")
        self.assertIn("UNKNOWN: ", said)
        self.assertEqual(len(keys), 1)

    def test_a_scripts_get_is_sent_again(self):
        said, keys = self.ask("GET")
        self.assertIn("OK: paid", said)
        self.assertEqual(keys, [None, None])

    def test_of_a_scripts_post_nobody_knows(self):
        said, keys = self.ask("POST")
        self.assertIn("UNKNOWN: ", said)
        self.assertEqual(len(keys), 1)
        self.assertTrue(keys[0])

    def test_of_bodies_that_run_at_once_each_request_is_on_its_own(self):
        folder, server = self.begin(firsts=3)
        (folder / "ask.lua").write_text(ASKS_AT_ONCE % server.server_port)
        (folder / "baleen.toml").write_text('[web]\nscript_http_hosts = ["127.0.0.1"]\n')
        said, _ = self.killed_once(folder, "ask.lua", "*")
        self.assertIn("OK: paid, UNKNOWN, OK: paid", said)
        self.assertEqual(sorted(Bank.paths[:3]), ["/1", "/2", "/3"])
        self.assertEqual(sorted(Bank.paths[3:]), ["/1", "/3"])


unittest.main()
