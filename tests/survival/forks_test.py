#!/usr/bin/python3
"""Subagents of a long session: what they compute, and what RAM they take.

One session reads --tokens tokens; then a flow forks it --forks times and lets all forks answer at once.
No fork may compute more than its own text and one token (the last one that its parent may have
sampled and not computed). RAM is told before, at its peak, and after, beside what the forks should
need: a checkpoint and their own KV each (measured: 0.9 MB where these are 1.1 MB; 18.2 MB while each
fork held the ids of its whole context, several times).

Usage: forks_test.py --baleen B --killer K [--tokens 200000] [--forks 8]
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import uuid

import daemon as d

ANSWER = 32  # tokens that each fork writes
SLACK_TOKENS = 1
# What the allocator and the threads of eight turns take besides, however small the model; less than one
# more copy of the ids of each context (6.3 MB).
RSS_SLACK_BYTES = 4 << 20
SCRIPT = """
flow("parts", function(f, input)
  local s = session.current()
  s:ask(input, { max_tokens = 4, tools = "none" })
  f:approve { title = "fork" }
  local parts = {}
  for i = 1, FORKS do parts[i] = i end
  local said = f:each(parts, { at_once = FORKS }, function(i)
    local kid = s:fork { label = "part " .. i }
    return kid:ask("Tell of part " .. i .. ".", { max_tokens = ANSWER, tools = "none" }) or ""
  end)
  f:approve { title = "end" }
  return #said
end)
"""


def status_bytes(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


class Run:
    def __init__(self, options, scratch):
        self.options = options
        self.model = scratch / "model"
        tokenizer = d.ROOT / "model/krill/tokenizer.json"
        subprocess.run([options.baleen, "make-tiny", self.model, "--tokenizer", tokenizer], check=True,
                       stdout=subprocess.DEVNULL)
        stubs = scratch / "stubs"
        stubs.mkdir()
        d.make_stubs(stubs)
        data = scratch / "data"
        data.mkdir(mode=0o700)
        self.daemon = d.Daemon(options.baleen, options.killer, data, self.model, scratch / "log")
        self.daemon.connect()
        self.client = d.Client(self.daemon.channel)
        from baleen.v1 import approvals_pb2_grpc
        self.approvals = approvals_pb2_grpc.ApprovalsStub(self.daemon.channel)

    def await_approval(self, title):
        """Its name, once the session waits with it; tells now and then how far the turn is."""
        from baleen.v1 import approvals_pb2
        told = time.monotonic()
        while True:
            waiting = self.approvals.ListApprovals(
                approvals_pb2.ListApprovalsRequest(parent="sessions/all"), timeout=d.PATIENCE_S).approvals
            for approval in waiting:
                if approval.title == title:
                    return approval.name
            turn = self.client.turn("sessions/all/turns/t1")
            if turn.state != 1:
                raise AssertionError(f"the turn ended before '{title}': {turn}")
            if time.monotonic() - told > 20:
                told = time.monotonic()
                print(f"{turn.waiting_on} {turn.waiting_detail}", file=sys.stderr, flush=True)
            time.sleep(0.1)

    def grant(self, name):
        from baleen.v1 import approvals_pb2
        request = approvals_pb2.ResolveApprovalRequest(name=name, request_id=str(uuid.uuid4()))
        request.grant.SetInParent()
        self.approvals.ResolveApproval(request, timeout=d.PATIENCE_S)

    def text(self):
        """Of about so many tokens: lines of numbers, of which each digit is one or less."""
        lines, length = [], 0
        while length < self.options.tokens:
            lines.append(f"line {len(lines)} says {len(lines) * 7919 % 10007} and {len(lines) * 31 % 997}")
            length += 21
        return "\n".join(lines)

    def children(self):
        from baleen.v1 import sessions_pb2
        page = self.client.call(self.client.sessions.ListSessions,
                                sessions_pb2.ListSessionsRequest(page_size=100))
        return [session for session in page.sessions if session.parent == "sessions/all"]

    def work(self):
        forks = self.options.forks
        script = SCRIPT.replace("FORKS", str(forks)).replace("ANSWER", str(ANSWER))
        self.client.create("all", script, 7, "")
        self.client.start("all", self.text(), 4)
        fork = self.await_approval("fork")
        tokens = self.client.get("all").tokens
        pid = self.daemon.child()
        before = status_bytes(pid, "VmRSS")
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
        stats = self.daemon.stats()
        began = time.monotonic()
        self.grant(fork)
        end = self.await_approval("end")
        seconds = time.monotonic() - began
        peak, after = status_bytes(pid, "VmHWM"), status_bytes(pid, "VmRSS")
        own, prefilled, recomputed, texts = 0, 0, 0, 0
        for child in self.children():
            turn = self.client.turn(f"{child.name}/turns/t2")
            own += child.tokens - tokens
            prefilled += turn.tokens.prefilled
            recomputed += turn.tokens.recomputed
            texts += child.tokens - tokens - turn.tokens.generated
        self.grant(end)
        d.wait_idle(self.client, "all")
        report = self.client.verify()
        checkpoint = report.checkpoint_bytes / max(1, report.checkpoints)
        kv = own * (stats.kv_block_bytes / max(1, stats.kv_blocks) / stats.block_tokens)
        print(f"context before the forks          {tokens} tokens")
        print(f"forks                             {len(self.children())}, all answered in {seconds:.1f} s")
        print(f"their own tokens                  {own}, of which {texts} are text and the rest answers")
        print(f"prefilled                         {prefilled}")
        print(f"computed again                    {recomputed}")
        print(f"RAM before, peak, after           {before / 1e6:.1f} {peak / 1e6:.1f} {after / 1e6:.1f} MB")
        print(f"peak growth                       {(peak - before) / 1e6:.1f} MB")
        print(f"checkpoints + own KV              {(forks * checkpoint + kv) / 1e6:.1f} MB "
              f"({checkpoint / 1e3:.0f} KB each)")
        print(f"for each token of their contexts  {(peak - before) / forks / tokens:.1f} bytes")
        assert len(self.children()) == forks
        assert prefilled <= texts, f"{prefilled} tokens were prefilled for {texts} of text"
        assert recomputed <= forks * SLACK_TOKENS, f"{recomputed} tokens were computed again"
        bound = forks * checkpoint + kv + RSS_SLACK_BYTES
        assert peak - before <= bound, f"RAM grew by {peak - before} bytes, at most {bound:.0f} expected"
        assert not report.problems, report.problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--baleen", required=True)
    parser.add_argument("--twin", help="not used: as the other programs here take it")
    parser.add_argument("--killer", required=True)
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--forks", type=int, default=8)
    options = parser.parse_args()
    d.clean_environment()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="baleen-forks-"))
    run = Run(options, scratch)
    try:
        run.work()
    except AssertionError as error:
        print(f"FAILED: {error}; the data directory is {scratch / 'data'}")
        return 1
    finally:
        run.daemon.stop()
    shutil.rmtree(scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
