#!/usr/bin/python3
"""The `baleen` binary as a user meets it: help, exit codes, JSON, and the verbs that need no daemon.

Usage: cli_test.py BALEEN TOKENIZER_JSON
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

BALEEN, TOKENIZER = sys.argv[1:3]


def run(*arguments, text=None):
    return subprocess.run([BALEEN, *map(str, arguments)], input=text, capture_output=True, text=True)


class Cli(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.scratch.name)
        cls.model = cls.folder / "model"
        made = run("make-tiny", cls.model, "--tokenizer", TOKENIZER)
        assert made.returncode == 0, made.stderr

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def test_every_command_has_help(self):
        text = run("--help").stdout
        self.assertIn("Exit codes", text)
        for command in ("serve", "config", "token", "doctor", "chat", "run", "sessions", "approvals", "generate", "logits", "tokenize",
                        "detokenize", "render", "parse", "inspect", "make-tiny", "train", "bench", "lua"):
            self.assertIn(command, text)
            self.assertEqual(run(command, "--help").returncode, 0, command)

    def test_version(self):
        self.assertRegex(run("--version").stdout, r"^baleen \d+\.\d+\.\d+")

    def test_usage_errors_exit_with_2(self):
        self.assertEqual(run("no-such-command").returncode, 2)
        self.assertEqual(run("logits").returncode, 2)
        self.assertEqual(run("generate", "--model", self.model, "--mode", "wrong").returncode, 2)
        for words in ("", " ", "git |status", "x" * 5000):
            wrong = run("chat", "--ask-command", words)
            self.assertEqual(wrong.returncode, 2, words)
            self.assertIn("--ask-command", wrong.stderr)

    def test_failures_exit_with_1_and_name_the_thing(self):
        failed = run("inspect", self.folder / "nothing")
        self.assertEqual(failed.returncode, 1)
        self.assertIn("nothing", failed.stderr)
        failed = run("inspect", self.folder / "nothing", "--json")
        self.assertIn("NOT_FOUND", json.loads(failed.stderr)["error"]["code"])

    def test_no_daemon_is_not_available(self):
        failed = run("sessions", "list", "--server", f"unix:{self.folder}/nobody.sock")
        self.assertEqual(failed.returncode, 3, failed.stderr)

    def test_inspect_json(self):
        shown = json.loads(run("inspect", self.model, "--json").stdout)
        self.assertIn("fingerprint", shown)
        self.assertEqual(len(shown["fingerprint"]), 64)

    def training_config(self, name, **changes):
        model = json.loads((self.model / "config.json").read_text())
        model.update(vocab_size=128, hidden_size=32, q_lora_rank=16, moe_intermediate_size=32)
        config = {
            "model": model,
            "schedule": {"warmup_steps": 1},
            "stages": [{"steps": 4, "length": 64, "sources": [{"kind": "synthetic"}]}],
        }
        config.update(changes)
        path = self.folder / name
        path.write_text(json.dumps(config))
        return path

    def test_train_stops_resumes_and_leaves_a_model(self):
        config, out = self.training_config("train.json"), self.folder / "trained"
        begun = run("train", config, "--out", out, "--steps", 1, "--json", "--threads", 1)
        self.assertEqual(begun.returncode, 0, begun.stderr)
        self.assertEqual([json.loads(line)["step"] for line in begun.stdout.splitlines()], [1])
        self.assertEqual(run("train", config, "--out", out).returncode, 1)
        ended = run("train", config, "--out", out, "--resume")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertIn("4 of 4 steps done", ended.stdout)
        self.assertEqual(ended.stderr, "")  # Progress is for terminals.
        self.assertEqual(len((out / "curves.csv").read_text().splitlines()), 5)
        self.assertEqual(run("inspect", out / "official").returncode, 0)

    def test_train_plans(self):
        plan = run("train", self.training_config("plan.json"), "--plan", "--json")
        self.assertEqual(plan.returncode, 0, plan.stderr)
        plan = json.loads(plan.stdout)
        self.assertEqual(plan["tokens"], 4 * 64)
        self.assertGreater(plan["stages"][0]["tokens_per_second"], 0)

    def test_train_refuses_by_field(self):
        failed = run("train", self.training_config("bad.json", stage=[]), "--out", self.folder / "x")
        self.assertEqual(failed.returncode, 1)
        self.assertIn("stage: expected one of the fields", failed.stderr)

    def test_logits_do_not_depend_on_chunk_or_threads(self):
        ids = self.folder / "ids.json"
        ids.write_text(json.dumps([0] + [100 + 7 * i for i in range(160)]))
        outputs = []
        for i, (chunk, threads) in enumerate([(512, 1), (1, 2), (37, 2)]):
            out = self.folder / f"logits{i}.npy"
            done = run("logits", "--model", self.model, "--tokens", ids, "--out", out, "--chunk",
                       chunk, "--threads", threads)
            self.assertEqual(done.returncode, 0, done.stderr)
            outputs.append(out.read_bytes())
        self.assertTrue(outputs[0].startswith(b"\x93NUMPY"))
        header = outputs[0][10:].split(b"\n")[0]
        self.assertIn(b"'shape': (161, 129280)", header)
        self.assertEqual(len(outputs[0]), 10 + len(header) + 1 + 161 * 129280 * 4)
        self.assertEqual(outputs[0], outputs[1])
        self.assertEqual(outputs[0], outputs[2])

    def test_native_and_pure_differ(self):
        ids = self.folder / "few.json"
        ids.write_text("[0, 5, 6, 7, 8, 9, 10, 11, 12]")
        outputs = []
        for mode in ("native", "pure"):
            out = self.folder / f"{mode}.npy"
            self.assertEqual(run("logits", "--model", self.model, "--tokens", ids, "--out", out,
                                 "--mode", mode).returncode, 0)
            outputs.append(out.read_bytes())
        self.assertNotEqual(outputs[0], outputs[1])

    def test_bad_token_ids_are_refused(self):
        ids = self.folder / "bad.json"
        for text, word in (("[1, -2]", "element 1"), ("{}", "array"), ("[999999]", "129280")):
            ids.write_text(text)
            failed = run("logits", "--model", self.model, "--tokens", ids, "--out",
                         self.folder / "x.npy")
            self.assertEqual(failed.returncode, 1)
            self.assertIn(word, failed.stderr)

    def test_generate_is_deterministic_by_seed(self):
        def generate(seed):
            out = run("generate", "--model", self.model, "--prompt", "Hello", "--max-tokens", 12,
                      "--seed", seed, "--json")
            return json.loads(out.stdout)["ids"]
        self.assertEqual(generate(1), generate(1))
        self.assertNotEqual(generate(1), generate(2))

    def test_generate_keeps_to_a_schema(self):
        schema = self.folder / "answer.json"
        schema.write_text(json.dumps({
            "type": "object", "properties": {"kind": {"enum": ["a", "b"]}, "n": {
                "type": "integer", "minimum": -3, "maximum": 40}},
            "required": ["kind", "n"], "additionalProperties": False}))
        for seed in (1, 2):
            out = run("generate", "--model", self.model, "--prompt", "Hello", "--max-tokens", 200,
                      "--answer-schema", schema, "--seed", seed, "--json")
            self.assertEqual(out.returncode, 0, out.stderr)
            text = json.loads(out.stdout)["text"].removesuffix("<｜end▁of▁sentence｜>")
            answer = json.loads(text)
            self.assertIn(answer["kind"], ("a", "b"))
            self.assertTrue(-3 <= answer["n"] <= 40)
        schema.write_text("false")
        out = run("generate", "--model", self.model, "--answer-schema", schema, "--prompt", "x")
        self.assertEqual(out.returncode, 1)
        self.assertIn("no value can satisfy it", out.stderr)

    def test_tokenize_and_back(self):
        texts = ["Hello world", "日本語 123456", "def f(x):\n  return x", ""]
        lines = "".join(json.dumps(text) + "\n" for text in texts)
        ids = run("tokenize", "--tokenizer", TOKENIZER, "--jsonl", text=lines)
        back = run("detokenize", "--tokenizer", TOKENIZER, "--jsonl", text=ids.stdout)
        self.assertEqual([json.loads(line) for line in back.stdout.splitlines()], texts)

    def test_a_session_survives_between_processes(self):
        store = ("--data-dir", self.folder / "sessions", "--model", self.model)
        script = self.folder / "twice.lua"
        script.write_text('return function(m) return baleen.generate{user=m, max_tokens=4}.content end')
        for expected_turns in (1, 2):
            done = run("run", script, *store, "--session", "one", "--input", "Hi", "--seed", 3,
                       "--allow-command", "git status|diff", "--deny", "write", "--deny-command", "rm|dd")
            self.assertEqual(done.returncode, 0, done.stderr)
            view = json.loads(run("sessions", "show", "one", *store, "--json").stdout)
            self.assertEqual(view["turns"], expected_turns)
            rules = [(rule["tool"], rule["decision"], rule.get("argv")) for rule in view["settings"]["policy"]["rules"]]
            self.assertEqual(rules, [("write", "deny", None), ("bash", "allow", [["git"], ["status", "diff"]]),
                                     ("bash", "deny", [["rm", "dd"]])])
        self.check_dry_run(script, store)
        report = json.loads(run("sessions", "verify", *store, "--json").stdout)
        self.assertEqual(report["problems"], [])
        self.assertIn("one", run("sessions", "list", *store).stdout)
        failed = run("sessions", "show", "two", *store)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("two", failed.stderr)
        self.assertEqual(json.loads(run("approvals", "list", *store, "--json").stdout), [])
        self.assertEqual(json.loads(run("approvals", "grants", *store, "--json").stdout), [])
        failed = run("approvals", "revoke", "one", "t1-a1", *store, "--json")
        self.assertEqual(json.loads(failed.stderr)["error"]["reason"], "ITEM_UNKNOWN")
        failed = run("approvals", "grant", "one", "t1-a1", *store, "--json")
        self.assertEqual(json.loads(failed.stderr)["error"]["reason"], "ITEM_UNKNOWN")
        self.assertEqual(run("approvals", "grant", "one", "t1-a1", "--scope", "ever", *store).returncode, 2)
        self.check_history(store)

    def check_dry_run(self, script, store):
        done = run("lua", "dry-run", script, "one", *store)
        self.assertEqual((done.returncode, done.stdout),
                         (0, "0 calls in 2 turns: 0 denied, 0 asked about, 0 changed\n"), done.stderr)
        other = self.folder / "other.lua"
        other.write_text('return function(m) return "no" end')
        done = json.loads(run("lua", "dry-run", other, "one", "--turn", "t2", "--json", *store).stdout)
        self.assertEqual(done, {"turns": 1, "calls": [], "notes": [
            {"turn": "t2", "message": "it ends before the last 1 of the model's recorded answers", "failed": False}]})
        other.write_text('return function(m) error("broken") end')
        done = run("lua", "dry-run", other, "one", *store)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(f"t1: failed: {other}:1: broken", done.stdout)
        done = run("lua", "dry-run", other, "one", "--turn", "t9", "--json", *store)
        self.assertEqual(json.loads(done.stderr)["error"]["reason"], "ITEM_UNKNOWN")

    def test_a_flow_reads_what_the_flags_name(self):
        script = self.folder / "named.lua"
        script.write_text('flow("named", function(f, input) return type(input) .. " " .. tostring(input.a) end)')
        named = ("run", script, "--data-dir", self.folder / "named", "--model", self.model)
        self.assertTrue(run(*named, "--arg", 'a=1 = "x"', "--arg", "b=").stdout.startswith('table 1 = "x"\n'))
        self.assertTrue(run(*named, "--input", '{"a": "in full"}').stdout.startswith("table in full\n"))
        self.assertTrue(run(*named, "--input", "a").stdout.startswith("string nil\n"))
        for wrong, why in ((["a"], "--arg 'a': expected NAME=VALUE"), (["=b"], "expected a name before the '='"),
                           (["a=1", "a=2"], "--arg 'a=2': 'a' is given twice")):
            failed = run(*named, *(word for text in wrong for word in ("--arg", text)))
            self.assertNotEqual(failed.returncode, 0)
            self.assertIn(why, failed.stderr)
        self.assertEqual(run(*named, "--arg", "a=1", "--input", "b").returncode, 2)
        self.assertEqual(run(*named, "--arg", "a=1", "--input-file", script).returncode, 2)

    def test_lua_check_fails_for_what_is_wrong_and_notes_what_may_be(self):
        script = self.folder / "rules.lua"
        script.write_text('policy {\n  allow { tool = "nosuch_*" },\n}\n')
        out = run("lua", "check", script)
        self.assertEqual((out.returncode, out.stderr), (0, ""))
        self.assertIn(f"{script}:2: note: this allow is about no tool", out.stdout)
        script.write_text('policy {\n  allow { tool = "raed" },\n}\n\ntool "bash" {\n'
                          '  about = "x", run = function() return "" end }\n')
        out = run("lua", "check", script, "--json")
        self.assertEqual(out.returncode, 1)
        found = [(one["line"], one["sure"]) for one in json.loads(out.stdout)[0]["findings"]]
        self.assertEqual(found, [(2, True), (5, True)])
        self.assertIn("did you mean 'read'?", out.stdout)
        script.write_text('return function(m) return m end')
        self.assertEqual(run("lua", "check", script).stdout, "1 script checked, nothing found\n")
        store = ("--data-dir", self.folder / "ruled", "--model", self.model)
        done = run("run", script, *store, "--session", "ruled", "--input", "Hi", "--allow", "wirte",
                   "--deny", "read")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("[policy, rule 1: this allow is about no tool of this session: none is called "
                      "'wirte'; did you mean 'write'?]", done.stderr)
        self.assertNotIn("rule 2", done.stderr)
        self.assertNotIn("rule 1", run("run", script, *store, "--session", "ruled", "--input",
                                       "Hi").stderr)

    def check_history(self, store):
        """Session "one" has two turns."""
        def sessions(*arguments, code=0):
            done = run("sessions", *arguments, *store, "--json")
            self.assertEqual(done.returncode, code, done.stderr)
            return json.loads(done.stdout or done.stderr)

        fork = sessions("fork", "one", "--turn", "t1", "--id", "kid", "--title", "A kid")
        self.assertEqual((fork["session"], fork["parent"], fork["turns"], fork["settings"]["title"]),
                         ("kid", "one", 1, "A kid"))
        planned = sessions("rewind", "one", "--tokens", 5, "--dry-run")
        self.assertEqual((planned["session"]["tokens"], planned["left_turns"]), (5, 2))
        self.assertEqual(planned["files"], [])
        self.assertEqual(sessions("rewind", "one", "--tokens", 5, "--both", code=1)["error"]["reason"],
                         "NO_WORKSPACE")
        self.assertEqual(sessions("show", "one")["turns"], 2)
        self.assertEqual(sessions("rewind", "one", "--turn", "t1")["session"]["timeline"], 2)
        self.assertEqual(sessions("show", "one")["turns"], 1)
        self.assertEqual(sessions("undo", "one")["session"]["timeline"], 1)
        refused = sessions("undo", "one", code=1)
        self.assertEqual(refused["error"]["reason"], "NOTHING_TO_UNDO")
        self.assertEqual(sessions("rewind", "one", "--turn", "t9", code=1)["error"]["reason"],
                         "POINT_UNKNOWN")
        self.assertEqual(run("sessions", "rewind", "one", *store).returncode, 2)
        self.assertEqual(
            run("sessions", "fork", "one", "--turn", "t1", "--tokens", 1, *store).returncode, 2)
        changed = sessions("update", "one", "--title", "Renamed", "--note", "a", "--note", "b",
                           "--max-tokens", 9, "--top-k", 3, "--deny", "bash", "--total-budget-tokens", 5000)
        settings = changed["settings"]
        self.assertEqual((settings["title"], settings["notes"], settings["tokens_max"]),
                         ("Renamed", ["a", "b"], 9))
        self.assertEqual((settings["sampling"]["top_k"], settings["budget"]["tokens"]), (3, 5000))
        self.assertEqual(settings["policy"]["rules"][0]["decision"], "deny")
        changed = sessions("update", "one", "--ask-command", "make", "--allow", "read")["settings"]["policy"]["rules"]
        self.assertEqual([(rule["decision"], rule.get("argv")) for rule in changed],
                         [("ask", [["make"]]), ("allow", None)])
        cleared = sessions("update", "one", "--no-notes", "--no-rules")["settings"]
        self.assertEqual((cleared["notes"], cleared["policy"]["rules"], cleared["title"]), ([], [], "Renamed"))
        self.assertEqual(run("sessions", "update", "one", *store).returncode, 2)
        self.assertEqual(sessions("update", "one", "--max-tokens", 0, code=1)["error"]["reason"], "BAD_FIELD")
        self.assertEqual(sessions("update", "one", "--title", "x", "--expected-head", "one:1",
                                  code=1)["error"]["reason"], "HEAD_MOVED")
        self.assertEqual(sessions("stats", "--tenant", "nobody"), {"sessions": 0, "stored_bytes": 0})
        self.assertTrue(sessions("pin", "one")["pinned"])
        self.assertEqual(sessions("delete", "one", "--yes", code=1)["error"]["reason"],
                         "SESSION_PINNED")
        self.assertFalse(sessions("unpin", "one")["pinned"])
        self.assertEqual(sessions("delete", "one", "--dry-run")["forks"], 1)
        self.assertEqual(run("sessions", "delete", "one", *store).returncode, 2)  # nobody to ask
        self.assertEqual(sessions("delete", "one", "--yes")["turns"], 2)
        self.assertEqual([view["session"] for view in sessions("list")], ["kid"])
        archive = self.folder / "kid.baleen"
        exported = sessions("export", "kid", archive)
        self.assertEqual(exported["path"], str(archive))
        self.assertEqual(sessions("export", "kid", archive, code=1)["error"]["code"],
                         "ALREADY_EXISTS")
        imported = sessions("import", archive, "--as", "twin")
        self.assertEqual(imported["session"]["tokens"], sessions("show", "kid")["tokens"])
        self.assertEqual(sessions("import", self.folder / "nothing", code=1)["error"]["code"],
                         "NOT_FOUND")
        self.assertEqual(sessions("verify")["problems"], [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
