#!/usr/bin/python3
"""baleen.toml: where it is found, what overrides it, and what it says about mistakes.

Usage: config_test.py BALEEN EXAMPLE_TOML
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

BALEEN, EXAMPLE = sys.argv[1:3]


class Config(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.path = self.folder / "some.toml"

    def run_baleen(self, *arguments):
        home = {"XDG_CONFIG_HOME": str(self.folder / "config"),
                "XDG_DATA_HOME": str(self.folder / "share"),
                "XDG_RUNTIME_DIR": str(self.folder / "run")}
        return subprocess.run([BALEEN, *map(str, arguments)], env={**os.environ, **home},
                              capture_output=True, text=True, timeout=60)

    def settings(self, *arguments):
        shown = self.run_baleen("config", "--json", *arguments)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        shown = json.loads(shown.stdout)
        return shown["file"], {entry["key"]: (entry["value"], entry["from"])
                               for entry in shown["settings"]}

    def refused(self, text, *arguments):
        """The message about a file with this text."""
        self.path.write_text(text)
        done = self.run_baleen("config", "--config", self.path, *arguments)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        return done.stderr

    def test_engines_elsewhere_have_sections_of_their_own_and_their_keys_are_never_shown(self):
        good = '[engines.there]\nurl = "https://example.org/v1"\nmodel = "m"\n'
        self.path.write_text(good + 'key_env = "SOME_KEY"\nidle_ms = 5\npass_reasoning = false\n')
        with unittest.mock.patch.dict(os.environ, {"SOME_KEY": "sk-very-secret"}):
            shown = self.run_baleen("config", "--json", "--config", self.path)
            text = self.run_baleen("config", "--config", self.path)
        self.assertEqual(json.loads(shown.stdout)["engines"],
                         [{"name": "there", "url": "https://example.org/v1", "model": "m"}])
        self.assertIn("[engines.there]", text.stdout)
        self.assertNotIn("-secret", shown.stdout + shown.stderr + text.stdout + text.stderr)
        self.assertIn("the name of a variable", self.refused(good + 'key_env = ""\n'))
        self.assertIn("expected one key", self.refused(good + 'key_env = "NOT_SET"\nkey_file = "k"\n'))
        self.assertIn("unknown key 'engines.there.urls'", self.refused(good + 'urls = "x"\n'))
        self.assertIn("expected a whole number", self.refused(good + 'idle_ms = "x"\n'))
        self.assertIn("http://", self.refused('[engines.there]\nurl = "x"\nmodel = "m"\n'))
        self.assertIn("[engines.NAME]", self.refused("engines = 3\n"))
        self.assertIn("in clear", self.refused(
            '[engines.x]\nurl = "http://example.org/v1"\nmodel = "m"\nkey_file = "k"\n'))

    def test_a_key_that_is_not_set_fails_where_it_is_used_and_nowhere_else(self):
        self.path.write_text('[engines.there]\nurl = "https://example.org/v1"\nmodel = "m"\n'
                             'key_env = "NOT_SET_ANYWHERE"\n')
        self.assertEqual(self.settings("--config", self.path)[0], str(self.path))
        engines = self.doctor("--config", self.path)["engines"]
        self.assertEqual(engines["verdict"], "warn")
        self.assertIn("there", engines["found"])
        self.assertIn("NOT_SET_ANYWHERE", engines["fix"])
        self.assertEqual(self.doctor()["engines"]["verdict"], "ok")
        script = self.folder / "ask.lua"
        script.write_text("return function(message)\n"
                          "  if message == 'think' then return baleen.generate { user = message }.content end\n"
                          "  return message\nend\n")
        run = ("run", script, "--config", self.path, "--data-dir", self.folder / "data", "--engine", "remote:there")
        here = self.run_baleen(*run, "--session", "a", "--input", "fine")
        self.assertEqual(here.returncode, 0, here.stderr)
        there = self.run_baleen(*run, "--session", "b", "--input", "think")
        self.assertEqual(there.returncode, 3, there.stderr)  # the turn failed
        self.assertIn("NOT_SET_ANYWHERE", there.stderr)

    def test_flags_win_over_the_file_and_the_file_over_defaults(self):
        self.path.write_text('[runtime]\nthreads = 3\nkv_ram_bytes = "1GiB"\nlazy = false\n'
                             '\n[log]\nlevel = "debug"\n\n[retention]\nbytes = "2GiB"\n')
        file, settings = self.settings("--config", self.path, "--threads", 5)
        self.assertEqual(file, str(self.path))
        self.assertEqual(settings["runtime.threads"], (5, "--threads"))
        self.assertEqual(settings["runtime.kv_ram_bytes"], (1 << 30, f"{self.path}:3"))
        self.assertEqual(settings["runtime.lazy"], (False, f"{self.path}:4"))
        self.assertEqual(settings["log.level"], ("debug", f"{self.path}:7"))
        self.assertEqual(settings["retention.bytes"], (2 << 30, f"{self.path}:10"))
        self.assertEqual(settings["runtime.mmap"], (True, "default"))
        self.assertEqual(settings["retention.days"][0], 0)
        self.assertEqual(settings["runtime.data_dir"], (f"{self.folder}/share/baleen", "default"))
        self.assertEqual(settings["server.listen"],
                         ([f"unix:{self.folder}/run/baleen.sock"], "default"))

    def test_mcp_servers_have_sections_of_their_own_and_their_secrets_are_never_shown(self):
        good = '[mcp.files]\ncommand = ["files", "/srv"]\n'
        self.path.write_text(good + 'pass_env = ["SOME_KEY"]\nenvironment = ["A=also-secret"]\n'
                             '[mcp.there]\nurl = "https://example.org/mcp"\nkey_env = "SOME_KEY"\n'
                             'tools = ["one"]\noptional = true\ncall_ms = 5\n')
        with unittest.mock.patch.dict(os.environ, {"SOME_KEY": "sk-very-secret"}):
            shown = self.run_baleen("config", "--json", "--config", self.path)
            text = self.run_baleen("config", "--config", self.path)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertEqual(json.loads(shown.stdout)["mcp"],
                         [{"name": "files", "command": ["files", "/srv"]},
                          {"name": "there", "url": "https://example.org/mcp"}])
        self.assertIn("[mcp.files]", text.stdout)
        self.assertNotIn("-secret", shown.stdout + shown.stderr + text.stdout + text.stderr)
        self.path.write_text(good + 'pass_env = ["NOT_SET_ANYWHERE"]\n')  # it isn't passed; the server may say so
        self.assertEqual(self.run_baleen("config", "--config", self.path).returncode, 0)
        self.assertIn("unknown key 'mcp.files.tool'", self.refused(good + 'tool = ["x"]\n'))
        self.assertIn("a list of strings", self.refused(good + 'tools = "x"\n'))
        self.assertIn("either a command or a url", self.refused(good + 'url = "https://x"\n'))
        self.assertIn("in clear", self.refused('[mcp.x]\nurl = "http://example.org"\nkey_file = "k"\n'))
        self.assertIn("a-z", self.refused('[mcp.Under_score]\ncommand = ["x"]\n'))

    def test_http_tools_and_secrets_have_sections_of_their_own_and_values_are_never_shown(self):
        secret = '[secrets.API]\nkey_env = "SOME_KEY"\nhosts = ["*.example.org"]\n'
        good = '[http_tools.look]\nurl = "https://a.example.org/{id}"\nsecret = "API"\neffect = "pure"\n'
        self.path.write_text(secret + good + 'whole_ms = 5\nheaders = ["Accept: application/json"]\n')
        with unittest.mock.patch.dict(os.environ, {"SOME_KEY": "sk-very-secret"}):
            shown = self.run_baleen("config", "--json", "--config", self.path)
            text = self.run_baleen("config", "--config", self.path)
            tools = self.run_baleen("tools", "list", "--json", "--config", self.path)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertEqual(json.loads(shown.stdout)["http_tools"],
                         [{"name": "look", "method": "GET", "url": "https://a.example.org/{id}"}])
        self.assertEqual(json.loads(shown.stdout)["secrets"], [{"name": "API", "hosts": ["*.example.org"]}])
        self.assertIn("[http_tools.look]", text.stdout)
        self.assertNotIn("sk-very", shown.stdout + shown.stderr + text.stdout + text.stderr + tools.stdout)
        look = json.loads(tools.stdout.splitlines()[-1])
        self.assertEqual((look["name"], look["origin"], look["effect"]),
                         ("look", "HTTP, GET a.example.org:443", "PURE"))
        self.assertEqual(look["parameters"]["required"], ["id"])
        self.assertIn("unknown key 'http_tools.look.key_env'", self.refused(good + 'key_env = "K"\n'))
        table = good + 'parameters = { id = "Its number" }\n'
        self.path.write_text(table.replace('"Its number"', '{ type = "integer", about = "Its number" }')
                             .replace("{id}", "{id}?kind={kind}")
                             .replace(" }\n", ', kind = { one_of = ["a", "b"], optional = true } }\n')
                             .replace('secret = "API"\n', ""))
        tools = self.run_baleen("tools", "list", "--json", "--config", self.path)
        self.assertEqual(json.loads(tools.stdout.splitlines()[-1])["parameters"], {
            "type": "object", "required": ["id"], "additionalProperties": False,
            "properties": {"id": {"type": "integer", "description": "Its number"},
                           "kind": {"type": "string", "enum": ["a", "b"]}}})
        self.assertIn("is none of its parameters", self.refused(table.replace("id =", "ID =")))
        for wrong in ('{ type = "list" }', "7", "{ note = \"x\" }", '{ type = "integer", one_of = ["1"] }',
                      "{ one_of = [1] }", "{ optional = 1 }"):
            self.assertIn("'id': ", self.refused(table.replace('"Its number"', wrong)))
        self.assertIn("or a table", self.refused(good + "parameters = 7\n"))
        self.assertIn("no places", self.refused('[http_tools.x]\nurl = "https://{host}/"\n'))
        self.assertIn("key_env or key_file", self.refused('[secrets.x]\nhosts = ["a"]\n'))
        self.assertIn("expected the hosts", self.refused('[secrets.x]\nkey_file = "k"\n'))
        self.assertIn("true or false", self.refused(secret + "scripts = 1\n"))

    def test_scripts_ask_no_host_by_default(self):
        self.assertEqual(self.settings()[1]["web.script_http_hosts"], ([], "default"))
        self.path.write_text('[web]\nscript_http_hosts = ["a.example.org", "*.b.example:8443"]\n')
        settings = self.settings("--config", self.path)[1]
        self.assertEqual(settings["web.script_http_hosts"],
                         (["a.example.org", "*.b.example:8443"], f"{self.path}:2"))

    def test_plugins_are_lists_whose_default_is_none(self):
        self.assertEqual(self.settings()[1]["plugins.plugin"], ([], "default"))
        self.path.write_text('[plugins]\nplugin = ["/a.so", "/b.so"]\nplugin_in_process = []\n')
        settings = self.settings("--config", self.path)[1]
        self.assertEqual(settings["plugins.plugin"], (["/a.so", "/b.so"], f"{self.path}:2"))
        self.assertEqual(settings["plugins.plugin_in_process"][0], [])
        settings = self.settings("--config", self.path, "--plugin", "/c.so", "--plugin", "/d.so")[1]
        self.assertEqual(settings["plugins.plugin"], (["/c.so", "/d.so"], "--plugin"))

    def test_the_default_location(self):
        self.assertNotEqual(self.settings()[0], str(self.folder / "config/baleen/baleen.toml"))
        own = self.folder / "config/baleen/baleen.toml"
        own.parent.mkdir(parents=True)
        own.write_text("[runtime]\nthreads = 2\n")
        file, settings = self.settings()
        self.assertEqual(file, str(own))
        self.assertEqual(settings["runtime.threads"], (2, f"{own}:2"))

    def test_what_config_prints_is_a_config_that_changes_nothing(self):
        self.path.write_text('[runtime]\nmodel = "/a \\"b\\" # c"\nlazy = false\n')
        printed = self.run_baleen("config", "--config", self.path, "--threads", 7)
        again = self.folder / "again.toml"
        again.write_text(printed.stdout)
        values = [{key: value for key, (value, _) in self.settings(*arguments)[1].items()}
                  for arguments in (["--config", self.path, "--threads", 7], ["--config", again])]
        self.assertEqual(*values)

    def test_the_example_is_good(self):
        self.assertEqual(self.settings("--config", EXAMPLE)[1]["runtime.kv_ram_bytes"][0], 16 << 30)

    def test_mistakes_name_file_line_and_the_nearest_key(self):
        for text, line, words in [
                ("[runtime]\n\nthread = 3\n", 3, "did you mean 'runtime.threads'?"),
                ("[server]\nkv_ram_bytes = 3\n", 2, "did you mean 'runtime.kv_ram_bytes'?"),
                ("[log]\nlevle = 'info'\n", 2, "did you mean 'log.level'?"),
                ("\n[engine]\nx = 1\n", 2, "unknown section or key 'engine'"),
                ("threads = 3\n", 1, "unknown section or key 'threads'"),
                ("runtime = 3\n", 1, "write [runtime]"),
                ("[log]\nlevel = 'loud'\n", 2, "log.level"),
                ("[runtime]\nthreads = 'x'\n", 2, "runtime.threads"),
                ("[runtime]\nthreads = true\n", 2, "true and false"),
                ("[runtime]\nlazy = 1\n", 2, "true or false"),
                ("[runtime]\nmodel = 1\n", 2, "expected a string"),
                ("[runtime]\nmodel = ['a', 'b']\n", 2, "got a list"),
                ("[runtime]\nthreads = 2000-01-01\n", 2, "expected a string, a number"),
                ("[runtime]\nthreads = {a = 1}\n", 2, "expected a string, a number"),
                ("[runtime]\naccept_earlier_journal = true\n", 2, "unknown key"),
                ("[runtime]\nthreads = 1\nthreads = 2\n", 3, ""),
                ("[runtime\n", 1, "")]:
            with self.subTest(text):
                message = self.refused(text)
                self.assertIn(f"{self.path}:{line}", message)
                self.assertIn(words, message)

    def test_a_file_that_is_not_there_is_refused(self):
        done = self.run_baleen("sessions", "list", "--config", self.folder / "none.toml")
        self.assertEqual(done.returncode, 2)
        self.assertIn("none.toml", done.stderr)

    def test_random_bytes_are_refused_or_read(self):
        seed = random.randrange(1 << 32)
        source = random.Random(seed)
        for _ in range(60):
            text = bytearray(pathlib.Path(EXAMPLE).read_bytes())
            for _ in range(source.randrange(1, 8)):
                text[source.randrange(len(text))] = source.randrange(256)
            self.path.write_bytes(text)
            done = self.run_baleen("config", "--config", self.path)
            self.assertIn(done.returncode, (0, 2), (seed, bytes(text), done.stderr))

    def doctor(self, *arguments):
        """Exit code, and the findings by name."""
        done = self.run_baleen("doctor", "--json", "--data-dir", self.folder / "data", *arguments)
        report = json.loads(done.stdout)
        for check in report["checks"]:
            self.assertEqual(check["verdict"] == "ok", check["fix"] == "", check)
        worst = max(report["checks"], key=lambda check: ("ok", "warn", "fail").index(check["verdict"]))
        self.assertEqual(report["verdict"], worst["verdict"])
        self.assertEqual(done.returncode, 1 if report["verdict"] == "fail" else 0)
        return {check["check"]: check for check in report["checks"]}

    def test_the_doctor_looks_at_everything(self):
        found = self.doctor()
        for name in ("versions", "cpu", "memory", "model", "data", "space", "sync", "journal",
                     "files", "sandbox", "search", "socket", "access"):
            self.assertIn(name, found)
        self.assertRegex(found["versions"]["found"], r"baleen \d.*SQLite \d.*RocksDB \d")
        self.assertEqual(found["model"]["verdict"], "ok")
        self.assertIn("krill", found["model"]["found"])
        self.assertEqual(found["data"]["verdict"], "ok")
        text = self.run_baleen("doctor").stdout
        self.assertRegex(text, r"(?m)^ok +model .*krill")

    def test_the_doctor_finds_what_would_fail(self):
        self.assertEqual(self.doctor("--model", "/nothing")["model"]["verdict"], "fail")
        self.assertEqual(self.doctor("--clients", "/nothing")["access"]["verdict"], "fail")
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        (data / "journal.db").write_bytes(b"nonsense" * 1000)
        self.assertEqual(self.doctor()["journal"]["verdict"], "fail")
        data.chmod(0o777)
        self.assertEqual(self.doctor()["data"]["verdict"], "fail")
        self.assertEqual(self.doctor("--listen", f"unix:{data}/s")["socket"]["verdict"], "fail")

    def test_serve_takes_its_model_from_the_file(self):
        self.path.write_text("[runtime]\nmodel = '/nothing/here'\n[log]\nformat = 'json'\n")
        done = self.run_baleen("serve", "--config", self.path)
        self.assertEqual(done.returncode, 1)
        first = json.loads(done.stderr.splitlines()[0])
        self.assertEqual((first["level"], first["message"]), ("info", f"settings of {self.path}"))
        self.assertIn("/nothing/here", done.stderr)
        with unittest.mock.patch.dict(os.environ, {"BALEEN_MODEL": "/nothing/there"}):
            self.assertIn("/nothing/there", self.run_baleen("serve").stderr)
        self.path.write_text("[runtime]\nmodel = '/nothing/here'\n[log]\nlevel = 'error'\n")
        quiet = self.run_baleen("serve", "--config", self.path)
        self.assertNotIn("settings of", quiet.stderr)

    def test_a_server_in_the_file_is_asked(self):
        self.path.write_text(f"[client]\nserver = 'unix:{self.folder}/nobody.sock'\n")
        done = self.run_baleen("sessions", "list", "--config", self.path)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("nobody.sock", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
