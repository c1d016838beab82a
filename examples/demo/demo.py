#!/usr/bin/python3
"""The main job, end to end, on real input: run by `./dev demo`.

First Krill, the model that comes along, answers questions about the files of workspace/ through
ask.lua: which tools it calls, and with what, is its own decision.

Then the sessions, on a tiny seeded model whose words mean nothing but never end. Starts `baleen serve` twice: the one under test and a twin that is never stopped. Both get a session
whose workspace is the public headers of RocksDB and gRPC, are fed --tokens tokens of them, and run
demo.lua. The first daemon is killed with -9 in the middle of a generation, restarted, resumes and
finishes; the hashes of its logits are compared with the twin's. A third data directory, copied at the
kill, has one stored row altered with its checksum rewritten: its logits must differ.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HEADERS = ["/usr/include/rocksdb", "/usr/include/grpcpp", "/usr/include/grpc"]
QUESTIONS = [        # and what a right answer has in it
    ("What is the port in notes/server.md?", "8041"),
    ("What is the code in the file trip.txt in notes?", "tulip-593"),
    ("Find the file with quarry and tell me its port.", "8041"),
    ("Which file mentions hello?", "src/main.py"),
]
STEPS = 64           # logit vectors that are compared
KILL_AFTER = 24      # sampled tokens of the second generation after which the daemon is killed
TERMINAL = sys.stderr.isatty()


def say(text):
    print(f"\033[1m{text}\033[0m" if TERMINAL else text, file=sys.stderr, flush=True)


class Daemon:
    """One `baleen serve` with its own data directory."""

    def __init__(self, baleen, model, folder, threads, checkpoint_interval):
        self.baleen, self.folder = baleen, pathlib.Path(folder)
        # Unix socket paths are limited to 107 bytes; the folder of a checkout may be longer.
        self.sockets = tempfile.mkdtemp(prefix="baleen-demo-")
        self.address = f"unix:{self.sockets}/s"
        self.command = [baleen, "serve", "--data-dir", str(self.folder), "--model", str(model),
                        "--listen", self.address, "--threads", str(threads),
                        "--checkpoint-interval", str(checkpoint_interval)]
        self.process = None

    def start(self):
        log = open(f"{self.folder}.log", "ab")
        began = time.monotonic()
        self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        while True:
            if self.process.poll() is not None:
                sys.exit(f"baleen serve ended at once; see {self.folder}.log")
            try:
                return self.ask("sessions", "stats"), time.monotonic() - began
            except subprocess.CalledProcessError:
                time.sleep(0.05)

    def ask(self, *arguments):
        out = subprocess.run([self.baleen, *arguments, "--server", self.address, "--json"],
                             check=True, capture_output=True, text=True)
        return json.loads(out.stdout)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()
        shutil.rmtree(self.sockets, ignore_errors=True)


class Run(threading.Thread):
    """`baleen run` against a daemon, its events collected as they come."""

    def __init__(self, daemon, inputs, workspace, label):
        super().__init__(daemon=True)
        command = [daemon.baleen, "run", str(HERE / "demo.lua"), "--server", daemon.address,
                   "--session", "demo", "--workspace", str(workspace), "--trace", "--json",
                   "--seed", "7", "--temperature", "1", "--max-tokens", "192"]
        for path in inputs:
            command += ["--input-file", str(path)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        self.label, self.events = label, []
        self.changed = threading.Condition()
        self.start()

    def run(self):
        for line in self.process.stdout:
            event = json.loads(line)
            if event["kind"] == "progress" and self.label and TERMINAL:
                p = event["payload"]
                print(f"\r\033[K{self.label}: {p['done']}/{p['total']} tokens, "
                      f"{p['tokens_per_s']:.0f}/s, {p['eta_s']:.0f} s left", end="",
                      file=sys.stderr, flush=True)
            elif event["kind"] == "generated" and self.label and TERMINAL:
                print("\r\033[K", end="", file=sys.stderr)
            with self.changed:
                self.events.append(event)
                self.changed.notify_all()
        with self.changed:
            self.events.append({"kind": "end"})
            self.changed.notify_all()

    def wait_for(self, wanted):
        """Blocks until `wanted(events)` is true; what it returned."""
        with self.changed:
            while True:
                found = wanted(self.events)
                if found or any(e["kind"] == "end" for e in self.events):
                    return found
                self.changed.wait()

    def finish(self):
        self.join()
        self.process.wait()
        done = [e for e in self.events if e["kind"] == "turn_finished"]
        if not done or done[-1]["payload"]["state"] != "SUCCEEDED":
            sys.exit(f"{self.label or 'the run'} failed: "
                     f"{done[-1]['payload'] if done else self.process.stderr.read()}")
        return done[-1]["payload"]


def ask_krill(baleen, scratch):
    """Prints what Krill calls and answers; the number of right answers."""
    say("Krill, a DeepSeek-V4 of 7 MB, at work on the files of examples/demo/workspace:")
    right = 0
    for question, expected in QUESTIONS:
        out = subprocess.run(
            [baleen, "run", str(HERE / "ask.lua"), "--input", question, "--temperature", "0", "--json",
             "--workspace", str(HERE / "workspace"), "--data-dir", str(scratch / "krill")],
            capture_output=True, text=True)
        if out.returncode != 0:
            sys.exit(f"baleen run failed: {out.stderr}")
        print(f"> {question}")
        for line in out.stdout.splitlines():
            event = json.loads(line)
            payload = event["payload"]
            if event["kind"] == "generated":
                for call in payload["event"]["message"].get("tool_calls", []):
                    print(f"  [{call['name']} {call['arguments']}]")
            elif event["kind"] == "turn_finished":
                print(f"  {payload['text'].strip()}", flush=True)
                right += expected in payload["text"]
    return right


def collect_headers(baleen, tokenizer, workspace, tokens):
    """Copies the headers into the workspace; the files whose tokens add up to `tokens`."""
    paths = []
    for folder in HEADERS:
        target = workspace / pathlib.Path(folder).name
        if not pathlib.Path(folder).is_dir():
            sys.exit(f"{folder} is missing; ./dev demo installs the library that brings it")
        shutil.copytree(folder, target)
        paths += sorted(p for p in target.rglob("*.h") if p.is_file())
    texts = "".join(json.dumps(p.read_text(errors="replace")) + "\n" for p in paths)
    out = subprocess.run([baleen, "tokenize", "--tokenizer", tokenizer, "--jsonl"], input=texts,
                         check=True, capture_output=True, text=True)
    chosen, total = [], 0
    for path, line in zip(paths, out.stdout.splitlines()):
        if total >= tokens:
            break
        chosen.append(path)
        total += len(json.loads(line))
    if total < tokens:
        sys.exit(f"the headers have {total} tokens only; ask for fewer with --tokens")
    return chosen


def forget(folder):
    """Drops the files below `folder` from the page cache: what is read next comes from the disk."""
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fdatasync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def raw_read(folder):
    """Bytes below `folder`, and the seconds that reading them from the disk takes."""
    forget(folder)
    began, total = time.monotonic(), 0
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file():
            total += len(path.read_bytes())
    return total, time.monotonic() - began


def generated(events):
    return [e["payload"] for e in events if e["kind"] == "generated"]


def hashes(daemon, begin):
    trace = daemon.ask("sessions", "tokens", "demo", "--begin", str(begin), "--count", str(STEPS))
    return list(zip(trace["ids"], trace["logits_hashes"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--baleen", required=True)
    parser.add_argument("--alter-row", required=True)
    parser.add_argument("--tokens", type=int, default=200_000, help="tokens to feed")
    parser.add_argument("--model", help="checkpoint folder; default: a tiny seeded one")
    parser.add_argument("--keep", action="store_true", help="keep the data directories")
    parser.add_argument("--scratch", default=str(ROOT / "build" / "demo"), help="folder to work in; emptied")
    arguments = parser.parse_args()
    began = time.monotonic()
    baleen = str(pathlib.Path(arguments.baleen).resolve())
    scratch = pathlib.Path(arguments.scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "workspace").mkdir(parents=True)
    tokenizer = ROOT / "tests" / "data" / "tokenizer" / "tokenizer.json"
    model = arguments.model
    if model is None:
        model = scratch / "model"
        say("making a tiny seeded checkpoint: its words mean nothing, only the machinery is shown")
        subprocess.run([baleen, "make-tiny", str(model), "--tokenizer", str(tokenizer)], check=True,
                       stdout=subprocess.DEVNULL)
    else:
        tokenizer = pathlib.Path(model) / "tokenizer.json"
    inputs = collect_headers(baleen, str(tokenizer), scratch / "workspace", arguments.tokens)
    say(f"feeding {len(inputs)} headers of RocksDB and gRPC, {arguments.tokens}+ tokens")

    right = ask_krill(baleen, scratch)
    say(f"{right} of {len(QUESTIONS)} answers are right")
    if right < len(QUESTIONS):  # greedy, and the same bits on every machine
        sys.exit("the demonstration FAILED: Krill doesn't answer as it does elsewhere")

    threads = max(1, (os.cpu_count() or 2) // 2)
    tested = Daemon(baleen, model, scratch / "tested", threads, 4096)
    twin = Daemon(baleen, model, scratch / "twin", threads, 4096)
    control = Daemon(baleen, model, scratch / "control", threads, 4096)
    try:
        show(tested, twin, control, arguments, scratch, inputs, began)
    finally:
        for daemon in (tested, twin, control):
            daemon.stop()
        if not arguments.keep:
            for name in ("tested", "twin", "control"):
                shutil.rmtree(scratch / name, ignore_errors=True)


def show(tested, twin, control, arguments, scratch, inputs, began):
    stats, _ = tested.start()
    twin.start()
    first = Run(tested, inputs, scratch / "workspace", "prefill")
    twin_run = Run(twin, inputs, scratch / "workspace", None)

    def in_second_generation(events):
        if len(generated(events)) != 1:
            return False
        begin = generated_at = None
        for event in events:
            if event["kind"] == "generated":
                generated_at = True
            if event["kind"] == "generate" and generated_at:
                begin = event["payload"]["prompt_end"]
        return begin if begin and sum(
            e["kind"] == "delta" and e["payload"]["item"] != "t1.1" for e in events) >= KILL_AFTER else False

    prompt_end = first.wait_for(in_second_generation)
    if not prompt_end:
        sys.exit("the generation ended before it could be interrupted:\n" + first.process.stderr.read())
    tested.kill()
    say("killed the daemon with -9 in the middle of a generation")
    shutil.copytree(tested.folder, control.folder)
    raw_bytes, raw_seconds = raw_read(tested.folder / "kv")
    forget(tested.folder / "kv")
    _, restart_seconds = tested.start()
    resumed = Run(tested, [], scratch / "workspace", None)
    usage = resumed.finish()["usage"]
    resume = generated(resumed.events)[-1]["reuse"]
    begin = resume["reused_ram"] + resume["reused_disk"] + resume["recomputed"] + resume["prefilled"] + 1
    mine = hashes(tested, begin)

    say("altering one stored row in a copy of the data directory, checksum rewritten")
    altered = subprocess.run([arguments.alter_row, str(control.folder), "demo", stats["fingerprint"],
                              stats["arithmetic_id"]], check=True, capture_output=True, text=True)
    control.start()
    Run(control, [], scratch / "workspace", None).finish()
    changed = hashes(control, begin)
    say("waiting for the twin")
    twin_run.finish()
    expected = hashes(twin, begin)

    prefill = generated(first.events)[0]["reuse"]
    store = tested.ask("sessions", "verify")
    tokens = tested.ask("sessions", "show", "demo")["tokens"]
    same = sum(a == b for a, b in zip(mine, expected))
    same_control = sum(a[1] == b[1] for a, b in zip(changed, expected))
    computed = stats["block_payload_bytes"] / stats["block_tokens"]
    stored_tokens = store["blocks"] * stats["block_tokens"]
    resume_ms = resume["restore_ms"] + resume["prefill_ms"]
    rows = [
        ("tokens in the context", f"{tokens}"),
        ("KV rows on disk", f"{store['block_bytes'] / stored_tokens:.1f} bytes per token "
                            f"({store['block_bytes'] / stored_tokens / computed:.3f} x the computed {computed:.1f})"),
        ("checkpoints on disk", f"{store['checkpoints']}, {store['checkpoint_bytes'] / 1e6:.1f} MB"),
        ("prefill", f"{prefill['prefill_ms'] / 1e3:.1f} s, {prefill['prefilled'] / prefill['prefill_ms'] * 1e3:.0f} tokens/s"),
        ("resume (restore + replay)", f"{resume['restore_ms']:.0f} + {resume['prefill_ms']:.0f} ms; "
                                      f"the daemon answered {restart_seconds:.1f} s after its start"),
        ("prefill / resume", f"{prefill['prefill_ms'] / resume_ms:.0f} x"),
        ("restore / raw read, both cold", f"{resume['restore_ms'] / 1e3 / raw_seconds:.2f} x "
                                            f"({raw_bytes / 1e6:.0f} MB in {raw_seconds * 1e3:.0f} ms)"),
        ("tokens replayed", f"{resume['recomputed']} (from disk: {resume['reused_disk']})"),
        ("identical", f"{same}/{STEPS}"),
        ("distinct tokens among them", f"{len(set(token for token, _ in mine))}"),
        ("control, one row altered", f"identical {same_control}/{STEPS} ({altered.stdout.strip()})"),
        ("store", "clean" if not store["problems"] else f"PROBLEMS: {store['problems']}"),
        ("whole run", f"{time.monotonic() - began:.0f} s"),
    ]
    for name, value in rows:
        print(f"{name:34} {value}")
    good = (same == STEPS and len(mine) == STEPS and same_control < STEPS and not store["problems"]
            and len(set(token for token, _ in mine)) >= 16 and usage.get("generated", 0) > 0)
    sys.exit(0 if good else "the demonstration FAILED; see the table")


if __name__ == "__main__":
    main()
