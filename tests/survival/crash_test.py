#!/usr/bin/python3
"""A daemon under load, killed inside every phase of its work, again and again.

Several sessions append through a real `baleen serve`; then it dies by SIGKILL inside a chosen
function (kill_inside.cc). After each restart: every event and every shown token that a client was
told of is in the journal, `verify` is clean, and the hashes of the next 32 logit vectors of every
session are those of a twin that was never killed. Prints how often each phase was hit.

Usage: crash_test.py --baleen B --twin T --killer K [--cycles 50] [--seed N]
"""
import argparse
import collections
import pathlib
import platform
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import daemon as d

SCRIPT = """
return function(message)
  local reply = baleen.generate { user = message }
  if message:sub(1, 5) ~= "tools" then return reply.content end
  local results = baleen.call_tools {
    { name = "list", arguments = { path = "." } },
    { name = "grep", arguments = { pattern = "needle" } },
    { name = "read", arguments = { path = "f3.txt" } },
  }
  local text = ""
  for _, result in ipairs(results) do text = text .. result.outcome .. "\\n" .. result.content end
  return baleen.generate { user = text:sub(1, 300) }.content
end
"""

# What a phase is: functions of the binary, and the range of their fifth integer argument. Forward's
# is the number of tokens: one in decode, more in prefill.
PHASES = {
    "prefill": [(r"baleen::Model::Forward\(", ":2-100000")],
    "decode": [(r"baleen::Model::Forward\(", ":1-1")],
    "block write": [(r"baleen::KvStore::(PutBlock|PutCheckpoint|Flush)\(", "")],
    "journal commit": [(r"baleen::Journal::Commit\(", "")],
    "tool run": [(r"baleen::\(anonymous namespace\)::(List|Grep|Read)Tool::Call\(", "")],
    "recovery": [(r"baleen::(Journal|KvStore)::Open\(", ""),
                 (r"baleen::ControlLoop::Recover\w+\(", "")],
}
DELAY_US = {"prefill": 4000, "decode": 1000, "block write": 2000, "journal commit": 3000,
            "tool run": 1000, "recovery": 4000}
SESSIONS = 4
TURNS_BEFORE_FRESH = 12  # cycles with one data directory: contexts grow
CHECK_TOKENS = 32


class Harness:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="baleen-crash-"))
        self.model = self.scratch / "model"
        self.model.mkdir()
        subprocess.run([options.twin, "make", self.model], check=True)
        stubs = self.scratch / "stubs"
        stubs.mkdir()
        d.make_stubs(stubs)
        functions = d.Functions(options.baleen)
        self.targets = {}
        for phase, patterns in PHASES.items():
            self.targets[phase] = " ".join(
                offset + limits for pattern, limits in patterns
                for offset in functions.offsets(pattern))
            if not self.targets[phase]:
                sys.exit(f"{phase}: the binary has none of {patterns}")
        self.counts = collections.Counter()
        self.compared = 0
        self.workspace = self.scratch / "workspace"
        self.workspace.mkdir()
        for i in range(12):
            (self.workspace / f"f{i}.txt").write_text(
                f"line one of {i}\n" + ("a needle\n" if i % 3 == 0 else "hay\n"))
        self.failures = queue.Queue()
        self.data_dir = None
        self.fresh()

    def fresh(self):
        """A new data directory, and new stories."""
        if self.data_dir is not None:
            shutil.rmtree(self.data_dir)
            self.twin.close()
        self.data_dir = pathlib.Path(tempfile.mkdtemp(dir=self.scratch, prefix="data-"))
        self.data_dir.chmod(0o700)
        self.stories = {}
        self.twin = d.Twin(self.options.twin, self.model)

    def start(self):
        return d.Daemon(self.options.baleen, self.options.killer, self.data_dir, self.model,
                        self.scratch / "log", ["--checkpoint-interval", "256"])

    def text(self, source, low, high):
        return " ".join(f"word {source.randrange(1000)}" for _ in range(source.randint(low, high)))

    # --- load -------------------------------------------------------------------------------------

    def work(self, daemon, name, source):
        """One client: turns in one session until the daemon dies."""
        client = d.Client(daemon.channel)
        story = self.stories.setdefault(name, d.Story())
        watcher = threading.Thread(target=self.listen, args=(daemon, name, story), daemon=True)
        try:
            if not story.created:
                client.create(name, SCRIPT, source.randrange(1000), self.workspace)
                story.created = True
            watcher.start()
            while True:
                text = self.text(source, 10, 60)
                if source.random() < 0.4:
                    text = "tools " + text
                turn = client.start(name, text, source.randint(8, 40))
                story.accepted = turn.name
                d.wait_idle(client, name)
        except d.Lost:
            pass
        except Exception as error:  # told to the main thread
            self.failures.put(f"{name}: {error!r}")
        if watcher.is_alive():
            watcher.join()

    @staticmethod
    def listen(daemon, name, story):
        try:
            for event in d.Client(daemon.channel).watch(name):
                story.hear(event)
        except d.Lost:
            pass

    def join(self, threads):
        for thread in threads:
            thread.join()
        if not self.failures.empty():
            raise AssertionError(f"a client failed: {self.failures.get()}")

    def load(self, daemon):
        threads = [threading.Thread(target=self.work, daemon=True, args=(
            daemon, f"s{i}", random.Random(self.random.randrange(1 << 30))))
            for i in range(SESSIONS)]
        for thread in threads:
            thread.start()
        return threads

    # --- one kill ---------------------------------------------------------------------------------

    def kill_under_load(self, phase):
        daemon = self.start()
        daemon.connect()
        threads = self.load(daemon)
        time.sleep(self.random.uniform(0.0, 0.4))
        daemon.command(f"inside {self.random.randint(0, DELAY_US[phase])} {self.targets[phase]}")
        answer = daemon.answer(20)
        if answer is None:
            daemon.kill()
        else:
            daemon.close()
        self.join(threads)
        if answer == "refused":
            print("SKIPPED: may not trace processes here")
            sys.exit(77)
        if answer is not None and answer.endswith("inside"):
            self.counts[phase] += 1
        elif answer is not None:
            raise AssertionError(f"the daemon ended by itself: {answer}")

    def kill_in_recovery(self):
        daemon = self.start()
        daemon.command(f"inside {self.random.randint(0, DELAY_US['recovery'])} "
                       f"{self.targets['recovery']}")
        answer = daemon.answer(5)
        if answer is None:
            daemon.kill()
            return
        daemon.close()
        if not answer.endswith("inside"):
            raise AssertionError(f"the daemon ended by itself: {answer}")
        self.counts["recovery"] += 1

    # --- what must hold after each restart --------------------------------------------------------

    def check(self):
        daemon = self.start()
        daemon.connect()
        client = d.Client(daemon.channel)
        for name, story in sorted(self.stories.items()):
            if not story.created:
                # The creation was not acknowledged: it may have happened or not.
                try:
                    client.get(name)
                    story.created = True
                except Exception as error:
                    if "SESSION_UNKNOWN" not in repr(error) and "NOT_FOUND" not in repr(error):
                        raise
                    del self.stories[name]
                    continue
            self.check_told(client, name, story)
        for name in sorted(self.stories):
            d.wait_idle(client, name)
            client.start(name, self.text(self.random, 2, 6), CHECK_TOKENS)
        for name in sorted(self.stories):
            d.wait_idle(client, name)
            ids, hashes = client.tokens(name)
            answer = self.twin.check(name, ids, hashes)
            if not answer.startswith("same "):
                raise AssertionError(f"{name}: logits: {answer} of {len(ids)}")
            sampled = sum(1 for h in hashes if h)
            if int(answer.split()[1]) != sampled or sampled < CHECK_TOKENS:
                raise AssertionError(f"{name}: {answer}, expected {sampled}")
            self.compared += sampled
        report = client.verify()
        if report.problems:
            raise AssertionError(f"verify: {list(report.problems)}")
        daemon.kill()

    def check_told(self, client, name, story):
        session = client.get(name)
        head = int(session.head_cursor.rsplit(":", 1)[1])
        told = max(story.events, default=0)
        if head < told:
            raise AssertionError(f"{name}: event {told} was told, the journal ends at {head}")
        journalled = {}
        for event in client.watch(name):
            if event.seq == 0:
                continue
            journalled[event.seq] = (event.kind, event.payload)
            if event.seq >= head:
                break
        for seq, event in story.events.items():
            if journalled.get(seq) != event:
                raise AssertionError(f"{name}: event {seq} was {event}, is {journalled.get(seq)}")
        started = [payload for kind, payload in journalled.values() if kind == "turn_started"]
        if story.accepted and f'"{story.accepted.rsplit("/", 1)[1]}"' not in "".join(started):
            raise AssertionError(f"{name}: {story.accepted} was accepted and is not there")
        ids, _ = client.tokens(name)
        texts = d.item_texts(journalled, ids, self.twin)
        for item, shown in story.shown.items():
            # The last character may have been cut inside.
            if not texts.get(item, "").startswith(shown.rstrip("\ufffd")):
                raise AssertionError(f"{name}: {item} was shown as {shown!r}, "
                                     f"is {texts.get(item)!r}")
        story.events.update(journalled)

    # --- all --------------------------------------------------------------------------------------

    def run(self):
        under_load = [phase for phase in PHASES if phase != "recovery"]
        began = time.monotonic()
        for cycle in range(self.options.cycles):
            if cycle % TURNS_BEFORE_FRESH == TURNS_BEFORE_FRESH - 1:
                self.fresh()
            # The phase with the fewest hits; each death of recovery follows one under load.
            phase = min(under_load, key=lambda p: (self.counts[p], self.random.random()))
            try:
                self.kill_under_load(phase)
                if self.counts["recovery"] <= min(self.counts[p] for p in under_load):
                    self.kill_in_recovery()
                self.check()
            except Exception:
                print(f"cycle {cycle}, {phase}; seed {self.options.seed}; kept: {self.scratch}",
                      file=sys.stderr)
                raise
        spent = time.monotonic() - began
        for phase in PHASES:
            print(f"killed inside {phase}: {self.counts[phase]}")
        print(f"{sum(self.counts.values())} kills in {self.options.cycles} cycles, "
              f"{self.compared} logit vectors compared, {spent:.0f} s, seed {self.options.seed}")
        self.twin.close()
        shutil.rmtree(self.scratch)
        least = min(self.counts[phase] for phase in PHASES)
        if self.options.cycles >= 50 and least < 10:
            sys.exit(f"too few: {least} in one phase, expected 10")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--baleen", required=True)
    parser.add_argument("--twin", required=True)
    parser.add_argument("--killer", required=True)
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    if platform.machine() != "x86_64":
        print("SKIPPED: kill_inside sets breakpoints of x86-64")
        sys.exit(77)
    d.clean_environment()
    Harness(options).run()


if __name__ == "__main__":
    main()
