#!/usr/bin/python3
"""A daemon on a TLS port: tokens with scopes, from the command line, and what is refused.

Usage: transport_test.py BALEEN TOKENIZER_JSON
"""
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys
import tempfile
import unittest

BALEEN, TOKENIZER = sys.argv[1:3]


def run(*arguments):
    return subprocess.run([BALEEN, *map(str, arguments)], capture_output=True, text=True,
                          timeout=120)


class Transport(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.scratch.name)
        made = run("make-tiny", cls.folder / "model", "--tokenizer", TOKENIZER)
        assert made.returncode == 0, made.stderr
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", cls.folder / "key.pem",
                        "-out", cls.folder / "cert.pem"], check=True, capture_output=True)
        os.chmod(cls.folder / "key.pem", 0o600)
        cls.clients = cls.folder / "clients.toml"
        (cls.folder / "open").mkdir()
        for name, scopes in (("reader", ["sessions.read"]),
                             ("keeper", ["sessions.read", "sessions.write", "turns.run", "admin"])):
            done = run("token", name, "--clients", cls.clients, "--days", 3, "--workspace",
                       cls.folder / "open", "--requests-per-second", 5000, "--running-turns", 7, "--allow-host", "*.example.org",
                       "--allow-secret-file", "config/.env.*",
                       "--sessions-max", 8, "--stored-bytes-max", "2MiB",
                       *(word for scope in scopes for word in ("--scope", scope)))
            assert done.returncode == 0, done.stderr
            file = cls.folder / f"{name}.token"
            file.touch(0o600)
            file.write_text(done.stdout)
        cls.socket = f"unix:{cls.folder}/run/sock"
        cls.daemon = subprocess.Popen(
            [BALEEN, "serve", "--model", str(cls.folder / "model"), "--data-dir",
             str(cls.folder / "data"), "--listen", cls.socket, "127.0.0.1:0", "--tls-cert",
             str(cls.folder / "cert.pem"), "--tls-key", str(cls.folder / "key.pem"), "--clients",
             str(cls.clients), "--threads", "1"], stderr=subprocess.PIPE, text=True)
        cls.address = None
        for line in cls.daemon.stderr:
            if found := re.search(r"listening on (127\.0\.0\.1:\d+)", line):
                cls.address = found[1]
                break

    @classmethod
    def tearDownClass(cls):
        cls.daemon.send_signal(signal.SIGTERM)
        cls.daemon.communicate(timeout=60)
        cls.scratch.cleanup()

    def sessions(self, *arguments, token, code=0):
        done = run("sessions", *arguments, "--json", "--server", self.address, "--ca",
                   self.folder / "cert.pem", *(["--token-file", token] if token else []))
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout if code == 0 else done.stderr)

    def test_the_file_of_clients_is_private_and_holds_no_token(self):
        self.assertEqual(stat.S_IMODE(self.clients.stat().st_mode), 0o600)
        text = self.clients.read_text()
        self.assertNotIn((self.folder / "reader.token").read_text().strip(), text)
        for line in ("expires = ", f"workspaces = [ '{self.folder}/open' ]",
                     "network_hosts = [ '*.example.org' ]", "readable_secrets = [ 'config/.env.*' ]",
                     "requests_per_second = 5000", "running_turns = 7",
                     "sessions_max = 8", "stored_bytes_max = 2097152"):
            self.assertIn(line, text)

    def test_a_session_over_tls(self):
        keeper, reader = self.folder / "keeper.token", self.folder / "reader.token"
        script = self.folder / "answer.lua"
        script.write_text("return function(message) return message .. '!' end\n")
        done = run("run", script, "--server", self.address, "--ca", self.folder / "cert.pem",
                   "--token-file", keeper, "--session", "one", "--input", "hello")
        self.assertEqual((done.returncode, done.stdout), (0, "hello!\n"), done.stderr)
        self.assertEqual(self.sessions("show", "one", token=reader)["turns"], 1)
        refused = self.sessions("delete", "one", "--yes", token=reader, code=1)
        self.assertEqual(refused["error"]["reason"], "SCOPE_MISSING")
        self.assertEqual(self.sessions("delete", "one", "--yes", token=keeper)["turns"], 1)

    def test_a_client_names_the_folders_that_are_open_to_it(self):
        script = self.folder / "list.lua"
        script.write_text("return function() return baleen.call_tools({{name='list', "
                          "arguments={path='.'}}})[1].outcome end\n")
        for folder, code in ((self.folder / "open", 0), (self.folder, 1), ("/", 1)):
            done = run("run", script, "--server", self.address, "--ca", self.folder / "cert.pem",
                       "--token-file", self.folder / "keeper.token", "--session",
                       f"in-{code}-{len(str(folder))}", "--workspace", folder, "--input", "x")
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn("OK" if code == 0 else "may not name the workspace",
                          done.stdout + done.stderr)

    def test_scopes_hold(self):
        reader = self.folder / "reader.token"
        self.sessions("list", token=reader)
        self.assertEqual(self.sessions("stats", token=reader, code=1)["error"]["reason"],
                         "SCOPE_MISSING")
        self.assertIn("fingerprint", self.sessions("stats", token=self.folder / "keeper.token"))

    def test_nothing_and_nonsense_are_refused(self):
        self.assertEqual(self.sessions("list", token=None, code=1)["error"]["reason"],
                         "CREDENTIALS_MISSING")
        wrong = self.folder / "wrong.token"
        wrong.touch(0o600)
        wrong.write_text("baleen-0000")
        self.assertEqual(self.sessions("list", token=wrong, code=1)["error"]["reason"],
                         "TOKEN_INVALID")
        wrong.chmod(0o644)
        self.assertIn("chmod 600", self.sessions("list", token=wrong, code=1)["error"]["message"])

    def test_the_socket_is_its_owners(self):
        done = run("sessions", "stats", "--json", "--server", self.socket)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_port_without_tls_is_not_opened(self):
        done = run("serve", "--model", self.folder / "model", "--data-dir", self.folder / "other",
                   "--listen", "0.0.0.0:0")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--tls-cert", done.stderr)

    def test_the_file_of_clients_is_strict(self):
        path = self.folder / "strict.toml"
        path.touch(0o600)
        for text, words in (("[[client]]\nname = 'a'\ntokn = 'x'\n", ":3: unknown key 'tokn'"),
                            ("clients = 1\n", ":1: unknown key 'clients'"),
                            ("[[client]]\nname = 'a'\nscopes = ['all']\ncertificate = 'a'\n",
                             "sessions.read"),
                            ("[[client]]\nname = 'a'\nexpires = 'soon'\n", ":3: expires"),
                            ("[[client]]\nname = 'a'\nworkspaces = 'b'\n", ":3: workspaces"),
                            ("[[client]]\nname = 'a'\nrunning_turns = 'b'\n", ":3: running_turns"),
                            ("[[client]]\nname = 'a'\ncertificate = 'a'\nrunning_turns = -1\n",
                             "running_turns")):
            with self.subTest(text):
                path.write_text(text)
                done = run("serve", "--model", "m", "--clients", path)
                self.assertEqual(done.returncode, 1)
                self.assertIn(words, done.stderr)
        path.chmod(0o640)
        self.assertIn("chmod 600", run("serve", "--model", "m", "--clients", path).stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
