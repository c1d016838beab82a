#!/usr/bin/python3
"""Damage anywhere in a data directory: a daemon that opens it crashes never and loses nothing
silently.

Copies of a data directory, left by a stopped and by a killed daemon, each get one seeded damage:
a flipped bit, a zeroed sector, a cut or a missing file. A daemon on the copy then either refuses
with a message, or serves: what it gives of events and tokens is what was there, and where something
is gone, `verify`, a status or a note says so. Damage to the KV store never costs more than time.

Usage: damage_test.py --baleen B --twin T --killer K [--damages 40] [--seed N]
"""
import argparse
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

import daemon as d
from crash_test import SCRIPT

SESSIONS = 3

class Contents:
    """What a daemon gives of all sessions."""

    def __init__(self, daemon):
        import grpc
        client = d.Client(daemon.channel)
        self.sessions = {}
        self.told = []
        for i in range(SESSIONS):
            name = f"s{i}"
            try:
                head = int(client.get(name).head_cursor.rsplit(":", 1)[1])
                events = []
                for event in client.watch(name):
                    if event.seq > 0:
                        events.append((event.seq, event.kind, event.payload))
                    if event.seq >= head:
                        break
                self.sessions[name] = (events, client.tokens(name))
            except grpc.RpcError as error:
                self.told.append(f"{name}: {error.code().name} {error.details()}")
        try:
            self.told += client.verify().problems
        except grpc.RpcError as error:
            self.told.append(f"verify: {error.details()}")

class Harness:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="baleen-damage-"))
        self.model = self.scratch / "model"
        self.model.mkdir()
        subprocess.run([options.twin, "make", self.model], check=True)
        stubs = self.scratch / "stubs"
        stubs.mkdir()
        d.make_stubs(stubs)
        self.twin = d.Twin(options.twin, self.model)
        self.counts = {"refused": 0, "told": 0, "unharmed": 0}

    def start(self, folder):
        return d.Daemon(self.options.baleen, self.options.killer, folder, self.model,
                        self.scratch / "log", ["--checkpoint-interval", "256"])

    def run_turn(self, client, name, words, tokens):
        client.start(name, " ".join(f"word {self.random.randrange(1000)}" for _ in range(words)),
                     tokens)
        d.wait_idle(client, name)

    def make_states(self):
        """Two data directories, `stopped` and `killed`, and what is in them."""
        folder = self.scratch / "killed"
        folder.mkdir(mode=0o700)
        daemon = self.start(folder)
        daemon.connect()
        client = d.Client(daemon.channel)
        for i in range(SESSIONS):
            client.create(f"s{i}", SCRIPT, i, "")
            for turn in range(2):
                self.run_turn(client, f"s{i}", 40 + 20 * i, 16)
        self.expected = Contents(daemon)
        if self.expected.told:
            raise AssertionError(f"before any damage: {self.expected.told}")
        daemon.kill()
        shutil.copytree(folder, self.scratch / "stopped")
        daemon = self.start(self.scratch / "stopped")
        daemon.connect()
        daemon.stop()

    def damage(self, folder):
        """One change; its description."""
        files = sorted(p for p in folder.rglob("*")
                       if p.is_file() and p.name != "LOCK" and not p.name.endswith("-shm"))
        # The journal is one or two files, the KV store many.
        journal = [p for p in files if p.name.startswith("journal")]
        path = self.random.choice(journal if self.random.random() < 0.5 else files)
        size = path.stat().st_size
        kind = self.random.choice(["flip", "flip", "zero", "cut", "missing"])
        at = self.random.randrange(max(size, 1))
        if kind == "missing" or size == 0:
            path.unlink()
        elif kind == "cut":
            with open(path, "r+b") as file:
                file.truncate(at)
        else:
            with open(path, "r+b") as file:
                file.seek(at)
                old = file.read(1 if kind == "flip" else 512)
                file.seek(at)
                file.write(bytes([old[0] ^ 1 << self.random.randrange(8)]) if kind == "flip"
                           else bytes(len(old)))
        return path, f"{path.relative_to(folder)} of {size} bytes: {kind} at {at}"

    def one(self, number):
        import grpc
        state = self.random.choice(["stopped", "killed"])
        folder = self.scratch / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.scratch / state, folder)
        path, what = self.damage(folder)
        what = f"{number}, {state}: {what}"
        in_journal = path.name.startswith("journal") or path.name == "VERSION"
        daemon = self.start(folder)
        told = []
        try:
            told += daemon.connect().notes
        except grpc.RpcError as error:  # it serves, but can't count
            told.append(error.details())
        except d.Lost:
            answer = daemon.answer(d.PATIENCE_S)
            daemon.close()
            if answer != "ended 1":
                raise AssertionError(f"{what}: crashed: {answer}") from None
            if not in_journal:
                raise AssertionError(f"{what}: refused, although only the KV store is damaged")
            self.counts["refused"] += 1
            return
        found = Contents(daemon)
        told += found.told
        for name, contents in self.expected.sessions.items():
            got = found.sessions.get(name)
            if got != contents and not told:
                raise AssertionError(f"{what}: {name} differs and nobody was told")
            if got != contents and not in_journal:
                raise AssertionError(f"{what}: {name} differs: {told}")
        self.go_on(daemon, found, what, told)
        self.counts["told" if told else "unharmed"] += 1
        daemon.kill()

    def go_on(self, daemon, found, what, told):
        """Sound sessions go on, with the bits of a twin that nobody damaged."""
        import grpc
        client = d.Client(daemon.channel)
        for name, contents in found.sessions.items():
            if contents != self.expected.sessions[name]:
                continue
            try:
                self.run_turn(client, name, 4, 8)
                answer = self.twin.check(name, *client.tokens(name))
            except grpc.RpcError as error:
                if not told:
                    raise AssertionError(f"{what}: {name}: {error.details()}") from error
                continue
            if not answer.startswith("same "):
                raise AssertionError(f"{what}: {name}: logits: {answer}")

    def run(self):
        self.make_states()
        failures = []
        progress = d.Progress(self.options.damages, "damages")
        for number in range(self.options.damages):
            progress.tell(number)
            try:
                self.one(number)
            except AssertionError as error:
                failures.append(str(error))
                print(f"FAILED: {error}", flush=True)
        self.twin.close()
        print(f"{self.options.damages} damages, seed {self.options.seed}: {self.counts}")
        if failures:
            sys.exit(f"{len(failures)} failures; kept: {self.scratch}")
        shutil.rmtree(self.scratch)

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--baleen", required=True)
    parser.add_argument("--twin", required=True)
    parser.add_argument("--killer", required=True)
    parser.add_argument("--damages", type=int, default=40)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    d.clean_environment()
    Harness(options).run()

if __name__ == "__main__":
    main()
