#!/usr/bin/python3
"""A daemon under load, killed inside every phase of its work, again and again.

Several sessions append through a real `baleen serve`, are forked, deleted and evicted; then it dies
by SIGKILL inside a chosen function (kill_inside.cc). After each restart: every event, fork, deletion
and shown token that a client was told of is in the journal, `verify` is clean, and the hashes of the
next 32 logit vectors of every session are those of a twin that was never killed. Prints how often
each phase was hit.

Usage: crash_test.py --baleen B --twin T --killer K [--cycles 50] [--phases A,B] [--seed N]
"""
import argparse
import collections
import pathlib
import platform
import queue
import random
import shutil
import sqlite3
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

DROPPED_UNDER_QUOTA, COLLECTED = 2, 3  # DropReason in runtime/store/kv_records.h


def sweep(reason):
    """The store drops blocks for this reason: the sixth argument of SweepBlocks."""
    return (r"baleen::KvStore::SweepBlocks\(", f":6={reason}-{reason}",
            r"baleen::KvDatabase::Apply\(")


# What a phase is: for each way to hit it, the longest delay in microseconds, and calls of functions
# of the binary (kill_inside.cc): a name, a range of one of its arguments, and a function that must
# have been called in it. Forward's fifth argument is the number of tokens: one in decode, more in
# prefill.
PHASES = {
    "prefill": [(4000, [(r"baleen::Model::Forward\(", ":5=2-100000")])],
    "decode": [(1000, [(r"baleen::Model::Forward\(", ":5=1-1")])],
    "block write": [(2000, [(r"baleen::KvStore::(PutBlock|PutCheckpoint|Flush)\(", "")])],
    "journal commit": [(3000, [(r"baleen::Journal::Commit\(", "")])],
    "collection": [(200, [sweep(COLLECTED)]),
                   (6000, [(r"baleen::ReclaimOnce\(", "",
                            r"baleen::LiveFilterFactory::CreateCompactionFilter\(")])],
    "eviction": [(200, [sweep(DROPPED_UNDER_QUOTA)])],
    "fork": [(6000, [(r"baleen::Journal::Commit\(", "",
                      r"baleen::Journal::Impl::ForkSession\(")])],
    "tool run": [(1000, [(r"baleen::\(anonymous namespace\)::(List|Grep|Read)Tool::Call\(", "")])],
    "recovery": [(4000, [(r"baleen::(Journal|KvStore)::Open\(", ""),
                         (r"baleen::ControlLoop::Recover\w+\(", "")])],
}
SESSIONS = 3
FORKS = 2  # at a time
FORK_PACE_S = 0.05
QUOTA_BYTES = 150_000  # less than the KV of the sessions
ANCHOR_LOG_BEING_COPIED = 3  # runtime/store/journal_anchor.cc
TURNS_BEFORE_FRESH = 12  # cycles with one data directory: contexts grow
CHECK_TOKENS = 32


class Harness:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.looks = 0
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="baleen-crash-"))
        self.model = self.scratch / "model"
        self.model.mkdir()
        subprocess.run([options.twin, "make", self.model], check=True)
        stubs = self.scratch / "stubs"
        stubs.mkdir()
        d.make_stubs(stubs)
        functions = d.Functions(options.baleen)
        self.targets = {phase: [(delay_us, functions.targets(calls)) for delay_us, calls in ways]
                        for phase, ways in PHASES.items()}
        self.counts = collections.Counter()
        self.compared = 0
        self.workspace = self.scratch / "workspace"
        self.workspace.mkdir()
        for i in range(12):
            (self.workspace / f"f{i}.txt").write_text(
                f"line one of {i}\n" + ("a needle\n" if i % 3 == 0 else "hay\n"))
        self.failures = queue.Queue()
        self.data_dir = None
        self.dying = False  # errors are to be expected
        self.fresh()

    def wrapper(self):
        """What the daemon runs in: a command that ends in running its arguments."""
        return []

    def home(self):
        """Where data directories lie."""
        return self.scratch

    def fresh(self):
        """A new data directory, and new stories."""
        if self.data_dir is not None:
            shutil.rmtree(self.data_dir)
            self.twin.close()
        self.data_dir = pathlib.Path(tempfile.mkdtemp(dir=self.home(), prefix="data-"))
        self.data_dir.chmod(0o700)
        self.stories = {}
        self.deleted = []
        self.twin = d.Twin(self.options.twin, self.model)

    def start(self, *options):
        return d.Daemon(self.options.baleen, self.options.killer, self.data_dir, self.model,
                        self.scratch / "log", ["--checkpoint-interval", "256", *options],
                        self.wrapper())

    def text(self, source, low, high):
        return " ".join(f"word {source.randrange(1000)}" for _ in range(source.randint(low, high)))

    # --- load -------------------------------------------------------------------------------------

    def work(self, daemon, name, source, release):
        """One client: turns in one session until the daemon dies."""
        client = d.Client(daemon.channel)
        story = self.stories[name]
        watcher = threading.Thread(target=self.listen, args=(daemon, name, story), daemon=True)
        try:
            if not story.created:
                client.create(name, SCRIPT, source.randrange(1000), self.workspace)
                story.created = True
            watcher.start()
            while True:
                text = self.text(source, 5, 40)
                if source.random() < 0.4:
                    text = "tools " + text
                turn = client.start(name, text, source.randint(8, 40))
                story.accepted = turn.name
                d.wait_idle(client, name)
                if release:  # only what nobody uses can be evicted
                    client.release(name)
        except d.Lost:
            pass
        except Exception as error:  # told to the main thread
            self.failures.put(f"{name}: {error!r}")
        if watcher.is_alive():
            watcher.join()

    def fork(self, daemon, source):
        """One client: forks anywhere in sessions that go on meanwhile, and deletions of forks."""
        client = d.Client(daemon.channel)
        try:
            while True:
                time.sleep(FORK_PACE_S)
                forks = [name for name in list(self.stories) if name.startswith("fork-")]
                if len(forks) >= FORKS:
                    self.delete(client, forks[0])
                origin = f"s{source.randrange(SESSIONS)}"
                if not self.stories[origin].created:
                    continue
                tokens = client.get(origin).tokens
                if tokens == 0:
                    continue
                name = f"fork-{source.randrange(1 << 30)}"
                story = self.stories[name] = d.Story()
                client.fork(origin, name, source.choice([None, source.randint(1, tokens)]))
                story.created = True
                story.tokens = client.tokens(name)
        except d.Lost:
            pass
        except Exception as error:
            self.failures.put(f"forks: {error!r}")

    def come_and_go(self, daemon, source):
        """One client: sessions that are deleted after a turn."""
        client = d.Client(daemon.channel)
        try:
            for name in [name for name in list(self.stories) if name.startswith("gone-")]:
                self.delete(client, name)
            while True:
                name = f"gone-{source.randrange(1 << 30)}"
                story = self.stories[name] = d.Story()
                client.create(name, SCRIPT, 0, "")
                story.created = True
                client.start(name, self.text(source, 30, 60), 4)
                d.wait_idle(client, name)
                self.delete(client, name)
        except d.Lost:
            pass
        except Exception as error:
            self.failures.put(f"deletions: {error!r}")

    def delete(self, client, name):
        self.stories[name].deleting = True
        client.delete(name)
        del self.stories[name]
        self.deleted.append(name)

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
        while not self.failures.empty():
            failure = self.failures.get()
            if not self.dying:
                raise AssertionError(f"a client failed: {failure}")

    def load(self, daemon, phase):
        count = SESSIONS - 2 if phase == "collection" else SESSIONS
        work = [(self.work, (f"s{i}",), {"release": phase == "eviction"}) for i in range(count)]
        if phase == "fork":
            work.append((self.fork, (), {}))
        if phase == "collection":
            work.append((self.come_and_go, (), {}))
        threads = [threading.Thread(target=call, daemon=True, kwargs=options, args=(
            daemon, *names, random.Random(self.random.randrange(1 << 30))))
            for call, names, options in work]
        for i in range(count):
            self.stories.setdefault(f"s{i}", d.Story())
        for thread in threads:
            thread.start()
        return threads

    # --- one kill ---------------------------------------------------------------------------------

    def kill_under_load(self, phase):
        quota = ["--kv-disk-bytes", str(QUOTA_BYTES)] if phase == "eviction" else []
        daemon = self.start(*quota)
        daemon.connect()
        threads = self.load(daemon, phase)
        time.sleep(self.random.uniform(0.0, 0.4))
        daemon.command(self.inside(phase))
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

    def inside(self, phase):
        delay_us, targets = self.random.choice(self.targets[phase])
        return f"inside {self.random.randint(0, delay_us)} {targets}"

    def kill_in_recovery(self):
        daemon = self.start()
        daemon.command(self.inside("recovery"))
        answer = daemon.answer(1.5)
        if answer is None:
            daemon.kill()
            return
        daemon.close()
        if not answer.endswith("inside"):
            raise AssertionError(f"the daemon ended by itself: {answer}")
        self.counts["recovery"] += 1

    def look(self):
        """Somebody reads the dead daemon's journal, as with the shell of SQLite."""
        journal = self.data_dir / "journal.db"
        anchor = journal.with_name("journal.db-anchor")
        # Killed while it moved the log itself: then Open asks for the log.
        if anchor.read_bytes()[8] == ANCHOR_LOG_BEING_COPIED:
            return
        reader = sqlite3.connect(journal)
        reader.execute("SELECT count(*) FROM sessions").fetchone()
        reader.close()
        if journal.with_name("journal.db-wal").exists():
            raise AssertionError("the log is still there: nothing was tried")
        self.looks += 1

    # --- what must hold after each restart --------------------------------------------------------

    def check(self):
        daemon = self.start()
        daemon.connect()
        client = d.Client(daemon.channel)
        for name in self.deleted:
            if self.exists(client, name):
                raise AssertionError(f"{name} was deleted and is there again")
        for name, story in sorted(self.stories.items()):
            # A creation or a deletion that was not acknowledged: it may have happened or not.
            if not self.exists(client, name):
                if story.created and not story.deleting:
                    raise AssertionError(f"{name} was acknowledged and is not there")
                del self.stories[name]
                continue
            story.created, story.deleting = True, False
            self.check_told(client, name, story)
        self.check_next_logits(client)
        report = client.verify()
        if report.problems:
            raise AssertionError(f"verify: {list(report.problems)}")
        daemon.kill()

    def check_next_logits(self, client):
        """The next 32 logit vectors of every session, and all before them, are the twin's."""
        before = {}
        for name in sorted(self.stories):
            d.wait_idle(client, name)
            before[name] = sum(1 for h in client.tokens(name)[1] if h)
        missing = set(before)
        while missing:
            for name in sorted(missing):
                client.start(name, self.text(self.random, 2, 6), CHECK_TOKENS)
            for name in sorted(missing):
                d.wait_idle(client, name)
                ids, hashes = client.tokens(name)
                answer = self.twin.check(name, ids, hashes)
                sampled = sum(1 for h in hashes if h)
                if answer != f"same {sampled}":
                    raise AssertionError(f"{name}: logits: {answer} of {len(ids)}, "
                                         f"expected {sampled} to be the same")
                if sampled >= before[name] + CHECK_TOKENS:  # else it sampled an end of text
                    missing.remove(name)
                    self.compared += sampled

    @staticmethod
    def exists(client, name):
        import grpc
        try:
            client.get(name)
            return True
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
            return False

    def check_told(self, client, name, story):
        session = client.get(name)
        head = int(session.head_cursor.rsplit(":", 1)[1])
        told = self.told(story)
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
            if seq <= told and journalled.get(seq) != event:
                raise AssertionError(f"{name}: event {seq} was {event}, is {journalled.get(seq)}")
        started = [payload for kind, payload in journalled.values() if kind == "turn_started"]
        if story.accepted and f'"{story.accepted.rsplit("/", 1)[1]}"' not in "".join(started):
            raise AssertionError(f"{name}: {story.accepted} was accepted and is not there")
        ids, hashes = client.tokens(name)
        told_ids, told_hashes = story.tokens
        if (ids[:len(told_ids)], hashes[:len(told_ids)]) != (told_ids, told_hashes):
            raise AssertionError(f"{name}: {len(told_ids)} tokens were told, others are there")
        self.check_shown(name, story, journalled, ids)
        story.events.update(journalled)

    @staticmethod
    def told(story):
        """Up to this event all must be there."""
        return max(story.events, default=0)

    def check_shown(self, name, story, journalled, ids):
        texts = d.item_texts(journalled, ids, self.twin)
        for item, shown in story.shown.items():
            # The last character may have been cut inside.
            if not texts.get(item, "").startswith(shown.rstrip("\ufffd")):
                raise AssertionError(f"{name}: {item} was shown as {shown!r}, "
                                     f"is {texts.get(item)!r}")

    # --- all --------------------------------------------------------------------------------------

    def run(self):
        under_load = [phase for phase in self.options.phases if phase != "recovery"]
        began = time.monotonic()
        progress = d.Progress(self.options.cycles, "cycles")
        for cycle in range(self.options.cycles):
            progress.tell(cycle)
            if cycle % TURNS_BEFORE_FRESH == TURNS_BEFORE_FRESH - 1:
                self.fresh()
            # The phase with the fewest hits; each death of recovery follows one under load.
            phase = min(under_load, key=lambda p: (self.counts[p], self.random.random()))
            try:
                self.kill_under_load(phase)
                if self.counts["recovery"] <= min(self.counts[p] for p in under_load):
                    self.kill_in_recovery()
                if cycle % 3 == 1:
                    self.look()
                self.check()
            except Exception:
                print(f"cycle {cycle}, {phase}; seed {self.options.seed}; kept: {self.scratch}",
                      file=sys.stderr)
                raise
        spent = time.monotonic() - began
        for phase in self.options.phases:
            print(f"killed inside {phase}: {self.counts[phase]}")
        print(f"{self.looks} dead journals looked at with SQLite")
        print(f"{sum(self.counts.values())} kills in {self.options.cycles} cycles, "
              f"{self.compared} logit vectors compared, {spent:.0f} s, seed {self.options.seed}")
        self.twin.close()
        shutil.rmtree(self.scratch)
        least = min(self.counts[phase] for phase in self.options.phases)
        expected = min(10, self.options.cycles // (2 * len(self.options.phases)))
        if least < expected:
            sys.exit(f"too few: {least} in one phase, expected {expected}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--baleen", required=True)
    parser.add_argument("--twin", required=True)
    parser.add_argument("--killer", required=True)
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--phases", type=lambda names: names.split(","), default=list(PHASES),
                        help=f"of {', '.join(PHASES)}; default: all")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    if platform.machine() != "x86_64":
        print("SKIPPED: kill_inside sets breakpoints of x86-64")
        sys.exit(77)
    d.clean_environment()
    Harness(options).run()


if __name__ == "__main__":
    main()
