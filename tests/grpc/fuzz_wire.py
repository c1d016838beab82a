#!/usr/bin/python3
"""Random messages of every request type, well formed and not, at a real daemon: it answers each, and stays.

Usage: fuzz_wire.py BALEEN TOKENIZER_JSON PROTO_FOLDER [--seconds N] [--seed N]

Exit status 77: no grpc for Python.
"""
import argparse
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

try:
    import grpc
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError:
    print("SKIPPED: needs python3-grpcio and python3-protobuf")
    sys.exit(77)

parser = argparse.ArgumentParser()
parser.add_argument("baleen")
parser.add_argument("tokenizer")
parser.add_argument("protos", type=pathlib.Path)
parser.add_argument("--seconds", type=float, default=8)
parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
arguments = parser.parse_args()
print("seed", arguments.seed, flush=True)
source = random.Random(arguments.seed)
ANSWER_S = 5


def load(folder, scratch):
    out = scratch / "set"
    subprocess.run(["protoc", "-I", folder, "--include_imports", f"--descriptor_set_out={out}",
                    *map(str, (folder / "baleen/v1").glob("*.proto"))], check=True)
    pool = descriptor_pool.DescriptorPool()
    services = []
    for file in descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file:
        pool.Add(file)
        services += [f"{file.package}.{service.name}" for service in file.service]
    return pool, [pool.FindServiceByName(name) for name in services]


def text(scratch):
    """Names that mean something, and what no honest client sends. No path but in `scratch`."""
    return source.choice([
        "", "s1", "sessions/s1", "sessions/s2", "sessions/-", "sessions/s1/turns/t1", "sessions/../x",
        "sessions/s1/approvals/a1", "s1:1", "s1:1:99999999999", "{}", '{"type":"object"}', "[" * 500, "\0",
        "ü\U0001F40B" * 9, "x" * source.choice([63, 64, 1025, 70_000]), "return function(m) return m end",
        "while true do end", f"{scratch}/{source.choice('abc')}", "auto", "tool:add", "high",
        "".join(chr(source.randrange(32, 0x2FF)) for _ in range(source.randrange(20)))])


def fill(message, scratch, depth=0):
    for field in message.DESCRIPTOR.fields:
        if source.random() < 0.4 or (depth > 3 and field.message_type):
            continue
        repeated = field.label == field.LABEL_REPEATED
        for _ in range(source.choice([1, 1, 2, 9]) if repeated else 1):
            if field.message_type:
                target = getattr(message, field.name)
                fill(target.add() if repeated else target, scratch, depth + 1)
                continue
            value = scalar(field, scratch)
            if repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
    return message


def scalar(field, scratch):
    if field.cpp_type == field.CPPTYPE_STRING:
        return text(scratch) if field.type == field.TYPE_STRING else source.randbytes(9)
    if field.cpp_type == field.CPPTYPE_BOOL:
        return source.random() < 0.5
    if field.cpp_type == field.CPPTYPE_ENUM:
        return source.choice([0, 1, 2, 3, 77])
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return source.choice([0.0, 1.0, -1.0, float("nan"), float("inf"), 1e30])
    signed = field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64)
    wide = field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64)
    most = (1 << (63 if wide else 31)) - 1
    return source.choice([0, 1, 2, 50, 1000, most] + ([-1, -most] if signed else []))


def spoil(data):
    data = bytearray(data)
    for _ in range(source.randrange(1, 5)):
        if data:
            data[source.randrange(len(data))] = source.randrange(256)
    return bytes(data[:source.randrange(len(data) + 1)]) if source.random() < 0.3 else bytes(data)


def main(scratch):
    subprocess.run([arguments.baleen, "make-tiny", scratch / "model", "--tokenizer",
                    arguments.tokenizer], check=True, capture_output=True)
    address = f"unix:{scratch}/run/s"
    daemon = subprocess.Popen(
        [arguments.baleen, "serve", "--model", scratch / "model", "--data-dir", scratch / "data",
         "--listen", address, "--threads", "1"],
        stderr=subprocess.PIPE, text=True)
    next(line for line in daemon.stderr if re.search("listening", line))
    pool, services = load(arguments.protos, scratch)
    prototypes = message_factory.MessageFactory(pool)
    channel = grpc.insecure_channel(address)
    counts, problems, calls = {}, [], 0
    end = time.monotonic() + arguments.seconds
    while time.monotonic() < end and not problems:
        service = source.choice(services)
        method = source.choice(service.methods)
        data = fill(prototypes.GetPrototype(method.input_type)(), scratch).SerializeToString()
        spoiled = source.random() < 0.2
        data = spoil(data) if spoiled else data
        calls += 1
        try:
            call = channel.stream_stream(f"/{service.full_name}/{method.name}")
            answers = call(iter([data]), timeout=ANSWER_S)
            for _ in zip(range(3), answers):  # streams go on for ever
                pass
            answers.cancel()
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name
            details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
            # A spoiled message may be none: gRPC says so itself. A stream may just have nothing to say.
            silent = code in ("DEADLINE_EXCEEDED", "CANCELLED")
            if code in ("UNKNOWN", "UNAVAILABLE", "DATA_LOSS") or (
                    code in ("INTERNAL", "UNIMPLEMENTED") and not spoiled):
                problems.append(f"{method.full_name}: {code}: {error.details()} for {data!r}")
            elif not silent and not spoiled and b"google.rpc.ErrorInfo" not in details:
                problems.append(f"{method.full_name}: {code} without ErrorInfo for {data!r}")
        counts[code] = counts.get(code, 0) + 1
        if daemon.poll() is not None:
            problems.append(f"the daemon ended with {daemon.returncode} after {data!r} for {method.full_name}")
    if daemon.poll() is None:
        daemon.terminate()
        if daemon.wait(timeout=120) != 0:
            problems.append(f"the daemon ended with {daemon.returncode}")
    if calls > 200 and counts.get("OK", 0) * 20 < calls:
        problems.append("hardly any call was good: the messages have become too wild to test much")
    print(f"{calls} calls: {counts}")
    print("\n".join(problems))
    return 1 if problems else 0


with tempfile.TemporaryDirectory() as folder:
    sys.exit(main(pathlib.Path(folder)))
