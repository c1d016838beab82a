#!/usr/bin/python3
"""What a daemon says of its work: metrics over HTTP on this machine, and a line of the log for each turn.

Usage: metrics_test.py BALEEN TOKENIZER_JSON
"""
import http.client
import json
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

BALEEN, TOKENIZER = sys.argv[1:3]
SCRIPT = """return function(message)
  baleen.call_tools { { name = "list", arguments = { path = "." } } }
  return baleen.generate { user = message, max_tokens = 8 }.content
end
"""


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.scratch.name)
        subprocess.run([BALEEN, "make-tiny", cls.folder / "model", "--tokenizer", TOKENIZER],
                       check=True, capture_output=True)
        cls.script = cls.folder / "list.lua"
        cls.script.write_text(SCRIPT)
        cls.socket = f"unix:{cls.folder}/run/s"
        cls.daemon = cls.serve("127.0.0.1:0", stderr=subprocess.PIPE)
        for line in cls.daemon.stderr:
            message = json.loads(line)["message"]
            if found := re.fullmatch(r"metrics at http://127\.0\.0\.1:(\d+)/metrics", message):
                cls.port = int(found[1])
            if message.startswith("listening"):
                break

    @classmethod
    def tearDownClass(cls):
        cls.daemon.send_signal(signal.SIGTERM)
        cls.daemon.communicate(timeout=60)
        cls.scratch.cleanup()

    @classmethod
    def serve(cls, address, **options):
        return subprocess.Popen(
            [BALEEN, "serve", "--model", cls.folder / "model", "--data-dir", cls.folder / "data",
             "--listen", cls.socket, "--threads", "1", "--log-format", "json", "--metrics", address],
            text=True, **options)

    def get(self, path="/metrics"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def figures(self):
        status, text = self.get()
        self.assertEqual(status, 200)
        return {name: float(value) for name, value in
                (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))}

    def test_1_a_turn_is_counted_and_told(self):
        before = self.figures()
        self.assertEqual(before["baleen_sessions"], 0)
        self.assertNotIn('baleen_turns_total{state="succeeded"}', before)
        done = subprocess.run([BALEEN, "run", self.script, "--server", self.socket, "--session",
                               "one", "--workspace", self.folder / "model", "--input", "hi"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        line = next(line for line in map(json.loads, self.daemon.stderr)
                    if line["message"].startswith("turn "))
        self.assertEqual(line["message"], "turn succeeded")
        self.assertEqual(line["gen_ai.operation.name"], "invoke_agent")
        self.assertEqual(line["gen_ai.request.model"], "model")
        self.assertEqual(line["gen_ai.conversation.id"], "one")
        self.assertEqual(line["gen_ai.usage.output_tokens"], 8)
        self.assertEqual(line["gen_ai.usage.cache_read.input_tokens"], 0)
        self.assertNotIn("hi", [str(value) for value in line.values()])

        figures = self.figures()
        self.assertEqual(figures['baleen_turns_total{state="succeeded"}'], 1)
        self.assertEqual(figures['baleen_tool_calls_total{outcome="OK"}'], 1)
        self.assertEqual(figures["baleen_generated_tokens_total"], 8)
        self.assertEqual(figures['baleen_prompt_tokens_total{source="new"}'],
                         line["gen_ai.usage.input_tokens"])
        self.assertEqual(figures["baleen_decode_seconds_count"], 1)
        self.assertEqual(figures["baleen_prefill_seconds_count"], 1)
        self.assertEqual(figures["baleen_turn_seconds_count"], 1)
        self.assertGreater(figures["baleen_turn_seconds_sum"], 0)
        self.assertGreater(figures['baleen_commit_seconds_count{synced="true"}'], 2)
        self.assertGreater(figures['baleen_commit_seconds_count{synced="false"}'], 0)
        self.assertGreater(figures['baleen_requests_total{code="OK",reason=""}'], 2)
        for name in ("baleen_kv_ram_bytes", "baleen_kv_disk_bytes", "baleen_journal_bytes",
                     "baleen_kv_blocks_evicted_total", "baleen_turns_running"):
            self.assertIn(name, figures)

    def test_2_refusals_are_counted_by_code(self):
        refused = 'baleen_requests_total{code="NOT_FOUND",reason="SESSION_UNKNOWN"}'
        before = self.figures().get(refused, 0)
        for _ in range(3):
            subprocess.run([BALEEN, "sessions", "show", "nobody", "--server", self.socket],
                           capture_output=True, timeout=60)
        self.assertEqual(self.figures()[refused] - before, 3)

    def test_3_only_metrics_are_served_and_nonsense_does_no_harm(self):
        self.assertEqual(self.get("/")[0], 404)
        self.assertEqual(self.get("/metrics/../etc/passwd")[0], 404)
        seed = 5
        print(f"seed {seed}")
        draw = random.Random(seed)
        starts = [b"GET /metrics HTTP/1.1\r\n", b"POST /metrics HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n",
                  b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b""]
        for _ in range(100):
            with socket.create_connection(("127.0.0.1", self.port), timeout=30) as hostile:
                try:
                    hostile.sendall(draw.choice(starts) + draw.randbytes(draw.randrange(2000)))
                except OSError:
                    pass  # it has hung up already
        self.assertEqual(self.get()[0], 200)
        self.assertIsNone(self.daemon.poll())

    def test_4_it_listens_on_loopback_only(self):
        for address in ("0.0.0.0:0", "192.168.0.1:9464", "localhost:9464", "127.0.0.1", ":9464",
                        "127.0.0.1:9464,0.0.0.0:9465", "127.0.0.1:99999", "127.0.0.1:80s"):
            with self.subTest(address):
                done = subprocess.run(
                    [BALEEN, "serve", "--model", self.folder / "model", "--data-dir",
                     self.folder / "other", "--listen", f"unix:{self.folder}/run/o", "--threads",
                     "1", "--metrics", address], capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 1)
                self.assertIn("loopback", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
