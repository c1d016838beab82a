#!/usr/bin/python3
"""A daemon under load whose machine loses power, again and again.

Its data directory lies in an ext4 on a disk with a write cache (volatile_disk.cc). At a random
instant, or right after the daemon died inside a chosen function, the power is cut: what the kernel
still held is gone, and of what the disk held unsynced a random part. After each restart: every
event, fork and deletion that was acknowledged is there, all that is there is what was told,
`verify` is clean, and the hashes of the next 32 logit vectors of every session are the twin's. Only
tokens of a running turn may be lost, back to the last sync.

Usage: power_cut_test.py --baleen B --twin T --killer K --disk V [--cuts 100] [--seed N]
Needs root, /dev/fuse and loop devices; exits with 77 where they are missing.
"""
import argparse
import os
import pathlib
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
import uuid

import crash_test
import daemon as d

DISK_BYTES = 256 << 20
# Kinds of events that are told after a sync; a sync covers all that was committed before.
SYNCED = {"session_created", "session_forked", "turn_started", "tool_calls", "tool_dispatched",
          "tool_results", "approval_requested", "approval_resolved", "cancel_requested",
          "turn_finished"}


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Disk:
    """An ext4 on a disk that can lose power."""

    def __init__(self, program, scratch):
        self.program = program
        self.image = scratch / "image"
        self.raw = scratch / "raw"
        self.folder = scratch / "disk"
        self.raw.mkdir()
        self.folder.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(DISK_BYTES)
        self.kept = self.lost = 0
        self.loop = None
        self.attach()
        run("mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0", self.loop)
        self.mount()

    def attach(self):
        self.process = subprocess.Popen([self.program, str(self.image), str(self.raw)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.process.stdout.readline() != "ready\n":
            raise OSError("the disk can't be mounted")
        self.loop = run("losetup", "--find", "--show", str(self.raw / "disk"))

    def mount(self):
        run("mount", "-t", "ext4", "-o", "nodiscard", self.loop, str(self.folder))

    def power_on(self):
        self.attach()
        self.mount()

    def cut(self, source):
        """Now; the daemon may still run."""
        percent = source.choice([0, 0, 50, 90])
        self.process.stdin.write(f"cut {source.randrange(1 << 32)} {percent}\n")
        self.process.stdin.flush()
        _, kept, lost = self.process.stdout.readline().split()
        self.kept += int(kept)
        self.lost += int(lost)
        self.process.wait()

    def detach(self):
        """What is left of it, once nobody uses it."""
        subprocess.run(["umount", self.folder], check=False, capture_output=True)
        subprocess.run(["losetup", "--detach", self.loop], check=False, capture_output=True)
        subprocess.run(["umount", "--lazy", self.raw], check=False, capture_output=True)
        if os.path.ismount(self.folder):
            raise OSError(f"{self.folder} is still in use")

    def discard(self):
        """Whatever state it is in; the image stays."""
        self.process.kill()
        self.process.wait()
        subprocess.run(["umount", "--lazy", self.folder], check=False, capture_output=True)
        self.detach()


class Harness(crash_test.Harness):
    def __init__(self, options):
        self.disk = None
        self.boot = pathlib.Path(tempfile.mkdtemp(prefix="baleen-boot-")) / "boot_id"
        self.boot.write_text(f"{uuid.uuid4()}\n")
        super().__init__(options)

    def home(self):
        if self.disk is None:
            try:
                self.disk = Disk(self.options.disk, self.scratch)
            except (OSError, subprocess.CalledProcessError) as error:
                detail = getattr(error, "stderr", "")
                print(f"SKIPPED: no disk of ours can be mounted here: {error} {detail}")
                sys.exit(77)
        return self.disk.folder

    def wrapper(self):
        # A journal knows by the kernel's boot id whether the machine went on: it didn't.
        return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"',
                str(self.boot), "/proc/sys/kernel/random/boot_id"]

    def fresh(self):
        super().fresh()
        run("sync", "--file-system", str(self.data_dir))  # it existed long before

    # --- one cut ----------------------------------------------------------------------------------

    def cut(self):
        self.dying = True  # from now on clients may meet errors
        self.disk.cut(self.random)

    def cut_under_load(self):
        self.dying = False
        daemon = self.start()
        daemon.connect()
        threads = self.load(daemon, self.random.choice(["fork", "collection", "decode"]))
        time.sleep(self.random.uniform(0.05, 1.5))
        self.cut()
        time.sleep(self.random.uniform(0, 0.1))  # it works on without a disk
        daemon.kill()
        self.join(threads)
        self.counts["any work"] += 1

    def cut_inside(self, phase):
        self.dying = False
        before = self.counts[phase]
        self.kill_under_load(phase)
        self.cut()
        self.counts["nothing chosen"] += 1 - (self.counts[phase] - before)

    def cut_in_recovery(self):
        self.dying = False
        daemon = self.start()
        time.sleep(self.random.uniform(0, 0.2))
        self.cut()
        daemon.kill()
        self.counts["recovery"] += 1

    def restart(self):
        self.disk.detach()
        self.boot.write_text(f"{uuid.uuid4()}\n")
        self.disk.power_on()

    # --- what must hold ---------------------------------------------------------------------------

    @staticmethod
    def told(story):
        return max((seq for seq, (kind, _) in story.events.items() if kind in SYNCED), default=0)

    def check_shown(self, name, story, journalled, ids):
        # Tokens since the last sync may be gone, and events since then.
        story.events = {seq: event for seq, event in story.events.items() if seq in journalled}
        story.shown = {}

    # --- all --------------------------------------------------------------------------------------

    def run(self):
        phases = [phase for phase in crash_test.PHASES if phase != "recovery"]
        began = time.monotonic()
        progress = d.Progress(self.options.cuts, "power cuts")
        for number in range(self.options.cuts):
            progress.tell(number)
            if number % crash_test.TURNS_BEFORE_FRESH == crash_test.TURNS_BEFORE_FRESH - 1:
                self.fresh()
            phase = phases[number // 2 % len(phases)] if number % 2 else "any work"
            try:
                if phase == "any work":
                    self.cut_under_load()
                else:
                    self.cut_inside(phase)
                self.restart()
                if self.random.random() < 0.2:
                    self.cut_in_recovery()
                    self.restart()
                self.check()
            except Exception:
                self.disk.discard()
                print(f"cut {number}, {phase}; seed {self.options.seed}; the disk: "
                      f"{self.disk.image}", file=sys.stderr)
                raise
        for phase, count in self.counts.items():
            print(f"power cut inside {phase}: {count}")
        print(f"{sum(self.counts.values())} power cuts, {self.disk.lost} unsynced sectors of the "
              f"disk lost and {self.disk.kept} kept, {self.compared} logit vectors compared, "
              f"{time.monotonic() - began:.0f} s, seed {self.options.seed}")
        self.twin.close()
        self.disk.discard()
        shutil.rmtree(self.scratch)
        shutil.rmtree(self.boot.parent)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--baleen", required=True)
    parser.add_argument("--twin", required=True)
    parser.add_argument("--killer", required=True)
    parser.add_argument("--disk", required=True)
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    if platform.machine() != "x86_64" or os.geteuid() != 0 or not pathlib.Path("/dev/fuse").exists():
        print("SKIPPED: needs x86-64, root and /dev/fuse")
        sys.exit(77)
    if not pathlib.Path(options.disk).exists():
        print("SKIPPED: built without libfuse3")
        sys.exit(77)
    d.clean_environment()
    Harness(options).run()


if __name__ == "__main__":
    main()
