#!/usr/bin/python3
"""Many clients with more sessions that append, fork, are evicted, deleted and resumed for a long time.

Against one `baleen serve` with a disk quota of which the sessions need several times as much. Every
session is deleted, or replaced by a fork of another one, before it grows beyond a bound, so after
the first half nothing should grow any more: memory and disk are sampled, and the slopes of the
second half, by least squares, must lie within bounds. No turn may stand still. At the end, and for
a sample of the sessions that go, the hashes of all logits are those of a twin, and `verify` is clean.
Before all that, what a hundred turns add to the journal is compared with their text and token ids.

Usage: soak.py --baleen B --twin T --killer K [--minutes 30] [--sessions 64] [--clients 16] [--seed N]
               [--csv FILE]
"""
import argparse
import collections
import pathlib
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import daemon as d

TOKENS_MAX = 6000         # of a context, about; then the session goes
QUOTA_BYTES_EACH = 3 << 19  # of KV on disk, for each session
RAM_BYTES = 4 << 20       # of KV in RAM
COMPARED = 0.05           # of the sessions that go
SAMPLE_S = 5
SCRIPT = "return function(message) return baleen.generate { user = message }.content end"

# What may grow. A request's answer is kept for a day, so that a repeat gets it: about 200 bytes of
# journal for each operation. Memory has no such reason; measured with full caches: 454 +- 673.
JOURNAL_BYTES_PER_OPERATION = 1024
RSS_BYTES_PER_OPERATION = 2048
RSS_BYTES_MAX = 128 << 20
# Until then caches fill, the allocator finds its size, and the journal's log its length, so that
# all grow the same: a busy machine may not get so far in a short run, and then the slopes are told
# but not judged.
OPERATIONS_UNTIL_FULL = 2000
SAMPLES_MIN = 12
# A turn of at most fifty tokens; waiting for others' included.
TURN_S_MAX = 300
# What a turn adds to a packed journal, over its text and four bytes for each of its token ids.
# Measured: 1.96; events hold the text twice, beside their figures.
GROWTH_MAX = 2
GROWTH_TURNS = 100
# Blocks are dropped after the turn that went over the quota, and their files rewritten behind it;
# what running turns need stays.
KV_OVER_QUOTA = 1.5


def slope(times, values):
    """Per unit of time, by least squares, and its standard error."""
    count = len(times)
    mean_t, mean_v = sum(times) / count, sum(values) / count
    spread = sum((t - mean_t) ** 2 for t in times)
    steepness = sum((t - mean_t) * (v - mean_v) for t, v in zip(times, values)) / spread
    left = sum((v - mean_v - steepness * (t - mean_t)) ** 2 for t, v in zip(times, values))
    return steepness, (left / (count - 2) / spread) ** 0.5


class Soak:
    def __init__(self, options):
        self.options = options
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="baleen-soak-"))
        self.model = self.scratch / "model"
        self.model.mkdir()
        subprocess.run([options.twin, "make", self.model], check=True)
        stubs = self.scratch / "stubs"
        stubs.mkdir()
        d.make_stubs(stubs)
        self.data_dir = self.scratch / "data"
        self.data_dir.mkdir(mode=0o700)
        self.twin = d.Twin(options.twin, self.model)
        self.twin_turn = threading.Lock()
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.use = collections.Counter()
        self.live = {}      # slot: name
        self.quota_bytes = options.sessions * QUOTA_BYTES_EACH
        self.failures = queue.Queue()
        self.slowest_s = 0
        self.samples = []   # (seconds, operations, rss, kv bytes, journal bytes)
        self.end = threading.Event()

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    # --- one client -------------------------------------------------------------------------------

    def turn(self, client, name, source):
        words = " ".join(f"word {source.randrange(1000)}" for _ in range(source.randint(4, 60)))
        began = time.monotonic()
        turn = client.start(name, words, source.randint(8, 48))
        while client.get(name).open_turn:
            if time.monotonic() - began > TURN_S_MAX:
                raise AssertionError(f"{turn.name} stands still: {client.turn(turn.name)}")
            time.sleep(0.05)
        ended = client.turn(turn.name)
        with self.lock:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        if ended.state != 2:
            raise AssertionError(f"{turn.name} ended as {ended}")
        with self.lock:
            for kind in ("reused_ram", "reused_disk", "recomputed", "prefilled", "generated"):
                self.use[kind] += getattr(ended.tokens, kind)
        self.count("turns")

    def compare(self, client, name):
        ids, hashes = client.tokens(name)
        with self.twin_turn:
            answer = self.twin.check("any", ids, hashes)
        if not answer.startswith("same "):
            raise AssertionError(f"{name}: logits: {answer} of {len(ids)}")
        self.count("sessions compared")
        with self.lock:
            self.counts["logit vectors compared"] += int(answer.split()[1])

    def remove(self, client, slot, source):
        name = self.live.pop(slot)
        if source.random() < COMPARED:
            self.compare(client, name)
        client.delete(name)
        self.count("deletions")

    def begin(self, client, slot, source):
        """A new session, or a fork of somebody else's anywhere in its history."""
        name = f"s{slot}-{source.randrange(1 << 40)}"
        origin = source.choice(list(self.live.values()) or [None])
        if origin is None or source.random() < 0.4:
            client.create(name, SCRIPT, source.randrange(1000), "")
            self.count("creations")
        else:
            import grpc
            try:
                tokens = client.get(origin).tokens
                client.fork(origin, name, source.randint(1, tokens) if tokens else None)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.NOT_FOUND:
                    raise
                return  # it was deleted meanwhile
            self.count("forks")
        self.live[slot] = name

    def step(self, client, slot, source):
        if slot not in self.live:
            return self.begin(client, slot, source)
        name = self.live[slot]
        kind = source.random()
        if kind < 0.05 or client.get(name).tokens > TOKENS_MAX:
            return self.remove(client, slot, source)
        if kind < 0.35:
            client.release(name)
            self.count("releases")
        return self.turn(client, name, source)

    def work(self, number, source):
        """One client, which goes between its sessions."""
        client = d.Client(self.daemon.channel)
        try:
            while not self.end.is_set():
                self.step(client, source.randrange(number, self.options.sessions, self.options.clients), source)
        except Exception as error:  # told to the main thread
            self.failures.put(f"client {number}: {error!r}")

    # --- what is measured -------------------------------------------------------------------------

    def sample(self, seconds):
        status = pathlib.Path(f"/proc/{self.daemon.child()}/status").read_text()
        # Weights are mapped files: not counted.
        rss = sum(int(line.split()[1]) * 1024 for line in status.splitlines()
                  if line.startswith(("RssAnon", "RssShmem")))
        kv = journal = 0
        for path in self.data_dir.rglob("*"):
            try:
                size = path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:
                continue
            if path.name.startswith("journal"):
                journal += size
            else:
                kv += size
        with self.lock:
            operations = sum(self.counts[k] for k in ("turns", "forks", "creations", "deletions"))
        self.samples.append((seconds, operations, rss, kv, journal))

    def check_slopes(self):
        half = [s for s in self.samples if s[0] >= self.samples[-1][0] / 2]
        full = [s for s in half if s[1] >= OPERATIONS_UNTIL_FULL]
        if len(full) >= SAMPLES_MIN:
            half = full
        hours = [s[0] / 3600 for s in half]
        done = [s[1] for s in half]
        failures = []
        for number, name, bound in ((2, "memory", RSS_BYTES_PER_OPERATION),
                                    (3, "KV on disk", None),
                                    (4, "journal on disk", JOURNAL_BYTES_PER_OPERATION)):
            values = [s[number] for s in half]
            hourly, _ = slope(hours, values)
            each, error = slope(done, values)
            print(f"{name}: {values[0] / 1e6:.2f} MB at half time, {values[-1] / 1e6:.2f} at the end, "
                  f"at most {max(values) / 1e6:.2f}; slope {hourly / 1e6:+.2f} MB/h, "
                  f"{each:+.0f} +- {error:.0f} bytes per operation")
            if bound is not None and len(full) < SAMPLES_MIN:
                print(f"{name}: slope not judged, after only {done[-1]} operations")
                continue
            if bound is not None and each - 2 * error > bound:
                failures.append(f"{name} grows by {each:.0f} +- {error:.0f} bytes per operation, "
                                f"expected at most {bound}")
        most = max(s[2] for s in self.samples)
        if most > RSS_BYTES_MAX:
            failures.append(f"{most} bytes of memory, expected at most {RSS_BYTES_MAX}")
        most = max(s[3] for s in half)
        if most > KV_OVER_QUOTA * self.quota_bytes:
            failures.append(f"KV took {most} bytes on disk, the quota is {self.quota_bytes}")
        return failures

    def check_growth(self, client):
        """What turns cost in a journal that has no other."""
        from baleen.v1 import turns_pb2
        source = random.Random(self.options.seed)
        name = "growth"
        client.create(name, SCRIPT, 1, "")
        before, before_tokens = self.packed_journal()
        text = 0
        for _ in range(GROWTH_TURNS):
            words = " ".join(f"word {source.randrange(1000)}" for _ in range(source.randint(4, 60)))
            turn = client.call(client.turns.StartTurn, turns_pb2.StartTurnRequest(
                parent=f"sessions/{name}", input=[words], tokens_max=source.randint(8, 48)))
            d.wait_idle(client, name)
            text += len(words.encode()) + len(client.turn(turn.name).text.encode())
        after, after_tokens = self.packed_journal()
        wanted = text + 4 * (after_tokens - before_tokens)
        print(f"journal: {GROWTH_TURNS} turns of {wanted / GROWTH_TURNS:.0f} bytes of text and token ids add "
              f"{(after - before) / GROWTH_TURNS:.0f} bytes each, {(after - before) / wanted:.2f} times as much")
        if after - before > GROWTH_MAX * wanted:
            return [f"the journal grows by {(after - before) / wanted:.2f} times the bytes of text and "
                    f"token ids, expected at most {GROWTH_MAX}"]
        return []

    def packed_journal(self):
        from baleen.v1 import admin_pb2, admin_pb2_grpc
        d.Client.call(admin_pb2_grpc.AdminStub(self.daemon.channel).Compact, admin_pb2.CompactRequest())
        stats = self.daemon.stats()
        return stats.journal_bytes, stats.journal_tokens

    # --- all --------------------------------------------------------------------------------------

    def run(self):
        options = self.options
        self.daemon = d.Daemon(options.baleen, options.killer, self.data_dir, self.model,
                               self.scratch / "log",
                               ["--checkpoint-interval", "512", "--kv-disk-bytes",
                                str(self.quota_bytes), "--kv-ram-bytes", str(RAM_BYTES)])
        self.daemon.connect()
        # First, while no deleted session has left room in the journal that would hide it.
        growth = self.check_growth(d.Client(self.daemon.channel))
        threads = [threading.Thread(target=self.work, daemon=True, args=(
            number, random.Random(options.seed * options.clients + number)))
            for number in range(options.clients)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        while time.monotonic() - began < options.minutes * 60 and self.failures.empty():
            time.sleep(SAMPLE_S)
            self.sample(time.monotonic() - began)
        self.end.set()
        for thread in threads:
            thread.join()
        failures = growth
        while not self.failures.empty():
            failures.append(self.failures.get())
        client = d.Client(self.daemon.channel)
        if not failures:
            for name in self.live.values():
                self.compare(client, name)
        report = client.verify()
        if report.problems:
            failures.append(f"verify: {list(report.problems[:5])}")
        stats = self.daemon.stats()
        spent = time.monotonic() - began
        print(f"{spent / 60:.1f} minutes, {options.clients} clients, {options.sessions} sessions, seed "
              f"{options.seed}, slowest turn {self.slowest_s:.1f} s: " +
              ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items())))
        print("tokens: " + ", ".join(f"{count} {kind}" for kind, count in sorted(self.use.items())))
        print(f"{report.blocks} blocks of {report.block_bytes} bytes and {report.checkpoints} "
              f"checkpoints of {report.checkpoint_bytes} bytes for {stats.timeline_tokens} tokens")
        print(f"KV blocks found {stats.kv_blocks_found}, missed {stats.kv_blocks_missed}, "
              f"write amplification {stats.kv_write_amplification:.3f}")
        failures += self.check_slopes()
        self.daemon.stop()
        if options.csv:
            with open(options.csv, "w", encoding="utf-8") as out:
                out.write("seconds,operations,rss_bytes,kv_bytes,journal_bytes\n")
                out.writelines(",".join(f"{v:.0f}" for v in s) + "\n" for s in self.samples)
        self.twin.close()
        if failures:
            sys.exit("\n".join(failures) + f"\nkept: {self.scratch}")
        shutil.rmtree(self.scratch)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--baleen", required=True)
    parser.add_argument("--twin", required=True)
    parser.add_argument("--killer", required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--clients", type=int, default=16,
                        help="fewer than sessions, so that most of these rest, and may be evicted")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--csv", help="samples, for a plot")
    options = parser.parse_args()
    d.clean_environment()
    Soak(options).run()


if __name__ == "__main__":
    main()
