"""A `baleen serve` under load that can be killed inside a chosen function, and its twin.

Used by crash_test.py, power_cut_test.py, damage_test.py,
forks_test.py and soak.py.
"""
import itertools
import json
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_S = 120


def make_stubs(folder):
    """Python stubs of our protocol, on sys.path."""
    protos = sorted(str(p) for p in (ROOT / "proto").rglob("*.proto"))
    subprocess.run(["protoc", "-I", ROOT / "proto", f"--python_out={folder}",
                    f"--grpc_out={folder}",
                    f"--plugin=protoc-gen-grpc={shutil.which('grpc_python_plugin')}", *protos],
                   check=True)
    sys.path.insert(0, str(folder))


class Progress:
    """Tells on stderr, once a minute, how far a long run is."""

    def __init__(self, total, what):
        self.total = total
        self.what = what
        self.began = self.told = time.monotonic()

    def tell(self, done):
        now = time.monotonic()
        if done == 0 or now - self.told < 60:
            return
        self.told = now
        left = (now - self.began) / done * (self.total - done) / 60
        print(f"{done} of {self.total} {self.what}, about {left:.0f} min left", file=sys.stderr,
              flush=True)


class Lost(Exception):
    """The daemon went away."""


class Functions:
    """Where functions lie in the binary's file."""

    def __init__(self, binary):
        out = subprocess.run(["nm", "-C", binary], check=True, capture_output=True, text=True)
        self.symbols = []
        for line in out.stdout.splitlines():
            match = re.match(r"([0-9a-f]+) [tT] (.*)", line)
            if match and not match[2].endswith("[clone .cold]"):
                self.symbols.append((match[1], match[2]))

    def offsets(self, pattern):
        found = sorted({offset for offset, name in self.symbols if re.match(pattern, name)})
        if not found:
            sys.exit(f"the binary has no function {pattern}")
        return found

    def targets(self, calls):
        """As kill_inside wants them: of each (pattern, limits) or (pattern, limits, inner)."""
        return " ".join(outer + limits + "".join(f"<{call}" for call in chosen)
                        for pattern, limits, *inner in calls
                        for outer in self.offsets(pattern)
                        for chosen in itertools.product(*map(self.offsets, inner)))


class Daemon:
    def __init__(self, baleen, killer, data_dir, model, log, options=(), wrapper=()):
        self.sockets = tempfile.mkdtemp(prefix="baleen-crash-")
        self.address = f"unix:{self.sockets}/s"
        self.log = open(log, "ab")
        self.process = subprocess.Popen(
            [*wrapper, killer, baleen, "serve", "--data-dir", str(data_dir), "--model", str(model),
             "--listen", self.address, "--threads", "1", "--drain-ms", "0", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.answers = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.channel = None

    def _read(self):
        for line in self.process.stdout:
            self.answers.put(line.strip())
        self.answers.put("gone")

    def connect(self):
        """Waits until it answers. Lost: it ended before."""
        import grpc
        from baleen.v1 import admin_pb2, admin_pb2_grpc
        self.channel = grpc.insecure_channel(self.address)
        admin = admin_pb2_grpc.AdminStub(self.channel)
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE_S:
            try:
                return admin.GetStats(admin_pb2.GetStatsRequest(), timeout=PATIENCE_S)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
            if self.process.poll() is not None or not self.answers.empty():
                raise Lost()
            # A channel that failed once waits a second before it tries again: a new one doesn't.
            self.channel.close()
            time.sleep(0.005)
            self.channel = grpc.insecure_channel(self.address)
            admin = admin_pb2_grpc.AdminStub(self.channel)
        raise Lost()

    def child(self):
        """Process id of the daemon itself."""
        own = self.process.pid
        return int(pathlib.Path(f"/proc/{own}/task/{own}/children").read_text())

    def stats(self):
        from baleen.v1 import admin_pb2, admin_pb2_grpc
        return Client.call(admin_pb2_grpc.AdminStub(self.channel).GetStats,
                           admin_pb2.GetStatsRequest())

    def command(self, text):
        try:
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def answer(self, timeout_s):
        try:
            return self.answers.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def kill(self):
        """At once, wherever it is."""
        self.command("kill")
        self.answer(PATIENCE_S)
        self.close()

    def stop(self):
        """As a service manager would, with SIGTERM."""
        self.command("stop")
        self.answer(PATIENCE_S)
        self.close()

    def close(self):
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.sockets, ignore_errors=True)


class Twin:
    """The computation that is never killed."""

    def __init__(self, twin, model):
        self.process = subprocess.Popen([twin, "compare", str(model)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def _ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def check(self, name, ids, hashes):
        return self._ask(f"check {name} " + " ".join(f"{i}:{h}" for i, h in zip(ids, hashes)))

    def text(self, ids):
        if not ids:
            return ""
        return bytes.fromhex(self._ask("text " + " ".join(map(str, ids)))).decode(errors="replace")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Client:
    """Calls of one thread. Every call raises Lost once the daemon is gone."""

    def __init__(self, channel):
        from baleen.v1 import events_pb2_grpc, sessions_pb2_grpc, turns_pb2_grpc
        self.sessions = sessions_pb2_grpc.SessionsStub(channel)
        self.turns = turns_pb2_grpc.TurnsStub(channel)
        self.events = events_pb2_grpc.EventsStub(channel)

    @staticmethod
    def call(method, request, timeout_s=PATIENCE_S):
        import grpc
        try:
            return method(request, timeout=timeout_s)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                raise Lost() from error
            raise
        except ValueError as error:  # the channel was closed
            raise Lost() from error

    def create(self, name, script, seed, workspace):
        from baleen.v1 import sessions_pb2
        settings = sessions_pb2.SessionSettings(script=script, script_name="crash.lua",
                                                workspace=str(workspace))
        settings.sampling.seed = seed
        return self.call(self.sessions.CreateSession, sessions_pb2.CreateSessionRequest(
            session_id=name, session=sessions_pb2.Session(settings=settings),
            request_id=str(uuid.uuid4())))

    def fork(self, name, fork, tokens=None):
        """At the head, or after so many tokens."""
        from baleen.v1 import sessions_pb2
        request = sessions_pb2.ForkSessionRequest(
            name=f"sessions/{name}", session_id=fork, request_id=str(uuid.uuid4()))
        if tokens is not None:
            request.at.tokens = tokens
        return self.call(self.sessions.ForkSession, request)

    def delete(self, name):
        from baleen.v1 import sessions_pb2
        return self.call(self.sessions.DeleteSession, sessions_pb2.DeleteSessionRequest(
            name=f"sessions/{name}", request_id=str(uuid.uuid4())))

    def release(self, name):
        from baleen.v1 import sessions_pb2
        return self.call(self.sessions.ReleaseSession,
                         sessions_pb2.ReleaseSessionRequest(name=f"sessions/{name}"))

    def get(self, name):
        from baleen.v1 import sessions_pb2
        return self.call(self.sessions.GetSession,
                         sessions_pb2.GetSessionRequest(name=f"sessions/{name}"))

    def start(self, name, text, tokens):
        from baleen.v1 import turns_pb2
        return self.call(self.turns.StartTurn, turns_pb2.StartTurnRequest(
            parent=f"sessions/{name}", input=[text], tokens_max=tokens, trace_logits=True,
            request_id=str(uuid.uuid4())))

    def turn(self, name):
        from baleen.v1 import turns_pb2
        return self.call(self.turns.GetTurn, turns_pb2.GetTurnRequest(name=name))

    def tokens(self, name):
        from baleen.v1 import sessions_pb2
        ids, hashes = [], []
        while True:
            part = self.call(self.sessions.ReadTokens, sessions_pb2.ReadTokensRequest(
                name=f"sessions/{name}", begin=len(ids)))
            ids += part.ids
            hashes += part.logits_hashes or [0] * len(part.ids)
            if len(part.ids) < 65536:
                return ids, hashes

    def verify(self):
        from baleen.v1 import sessions_pb2
        return self.call(self.sessions.VerifySession,
                         sessions_pb2.VerifySessionRequest(name="sessions/-"))

    def watch(self, name, after=""):
        """Events until the stream ends: (seq, kind, payload)."""
        import grpc
        from baleen.v1 import events_pb2
        stream = self.events.WatchEvents(events_pb2.WatchEventsRequest(
            parent=f"sessions/{name}", after=after), timeout=PATIENCE_S)
        try:
            for message in stream:
                if message.HasField("event"):
                    yield message.event
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                raise Lost() from error
            raise
        finally:
            stream.cancel()


class Story:
    """What one session's clients were told. What is in here must survive."""

    def __init__(self):
        self.events = {}    # seq: (kind, payload)
        self.shown = {}     # item: longest text shown
        self.accepted = ""  # the last turn
        self.tokens = ([], [])  # ids and hashes that were read
        self.created = False
        self.deleting = False  # asked for

    def hear(self, event):
        if event.seq > 0:
            self.events[event.seq] = (event.kind, event.payload)
        elif event.kind == "delta":
            delta = json.loads(event.payload)
            before = self.shown.get(delta["item"], "").encode(errors="replace")
            text = before[:delta["offset"]] + delta["content"].encode(errors="replace")
            if len(text) > len(before):
                self.shown[delta["item"]] = text.decode(errors="replace")


def item_texts(events, ids, twin):
    """Text of each generated item, from the journalled token ids."""
    texts, item, begin = {}, "", 0
    for _, (kind, payload) in sorted(events.items()):
        if kind != "generate":
            continue
        start = json.loads(payload)
        if item:
            texts[item] = twin.text(ids[begin:start["prompt_begin"]])
        item, begin = f"{start['turn']}.{start['step']}", start["prompt_end"]
    if item:
        texts[item] = twin.text(ids[begin:])
    return texts


def wait_idle(client, name, pace_s=0.01):
    """Until the session's turn is over."""
    while client.get(name).open_turn:
        time.sleep(pace_s)


def clean_environment():
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
