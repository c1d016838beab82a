#!/usr/bin/python3
"""Lint of proto/baleen/v1, and whether it still keeps every promise on record.

Usage: proto_check.py PROTO_FOLDER RECORD [--write]

RECORD has one promise a line: an RPC and its types, a field and its number and type, an enum's value. More
may come; none may go or change. --write records today's. Exit status 77: no Python protobuf or protoc.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

try:
    from google.protobuf import descriptor_pb2
except ImportError:
    descriptor_pb2 = None

SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
UPPER = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
PASCAL = re.compile(r"([A-Z][a-z0-9]*)+")
# Few by their nature: at most 128 tools of a session, engines of one file. Pages can still be added.
PAGELESS = {"ListTools", "ListModels"}


def describe(folder):
    """The FileDescriptorProtos of baleen/v1, with comments."""
    protos = sorted(str(path) for path in (folder / "baleen/v1").glob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        out = pathlib.Path(scratch) / "set"
        subprocess.run(["protoc", "-I", folder, "--include_source_info",
                        f"--descriptor_set_out={out}", *protos], check=True)
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file


def type_of(field):
    kind = descriptor_pb2.FieldDescriptorProto
    name = field.type_name or kind.Type.Name(field.type).removeprefix("TYPE_").lower()
    label = "repeated " if field.label == kind.LABEL_REPEATED else ""
    # What a reader can tell apart: absent and default.
    return f"{label}{name}{' optional' if field.proto3_optional else ''}"


def promises_of_message(path, message):
    for field in message.field:
        yield f"field {path} {field.number} {field.name} {type_of(field)}"
    for enum in message.enum_type:
        yield from promises_of_enum(f"{path}.{enum.name}", enum)
    for inner in message.nested_type:
        yield from promises_of_message(f"{path}.{inner.name}", inner)


def promises_of_enum(path, enum):
    for value in enum.value:
        yield f"value {path} {value.number} {value.name}"


def promises(files):
    for file in files:
        for service in file.service:
            for method in service.method:
                arrow = [("stream " if streams else "") + name for streams, name in (
                    (method.client_streaming, method.input_type),
                    (method.server_streaming, method.output_type))]
                yield f"rpc {file.package}.{service.name}.{method.name} {arrow[0]} -> {arrow[1]}"
        for message in file.message_type:
            yield from promises_of_message(f"{file.package}.{message.name}", message)
        for enum in file.enum_type:
            yield from promises_of_enum(f"{file.package}.{enum.name}", enum)


def lint_message(path, message):
    if not PASCAL.fullmatch(message.name):
        yield f"{path}: expected a PascalCase name"
    names = {field.name for field in message.field}
    for field in message.field:
        if not SNAKE.fullmatch(field.name):
            yield f"{path}.{field.name}: expected a lower_snake_case name"
    if ("page_size" in names) != ("page_token" in names):
        yield f"{path}: page_size and page_token go together"
    for enum in message.enum_type:
        yield from lint_enum(f"{path}.{enum.name}", enum)
    for inner in message.nested_type:
        if not inner.options.map_entry:
            yield from lint_message(f"{path}.{inner.name}", inner)


def lint_enum(path, enum):
    if not enum.value[0].name.endswith("UNSPECIFIED") or enum.value[0].number != 0:
        yield f"{path}: expected the first value to be ..._UNSPECIFIED = 0"
    for value in enum.value:
        if not UPPER.fullmatch(value.name):
            yield f"{path}.{value.name}: expected an UPPER_SNAKE_CASE name"


def lint(files):
    messages = {f".{file.package}.{message.name}": message
                for file in files for message in file.message_type}
    requests = {}
    for file in files:
        if file.package != "baleen.v1" or file.syntax != "proto3":
            yield f"{file.name}: expected package baleen.v1 in proto3"
        commented = {tuple(place.path) for place in file.source_code_info.location
                     if place.leading_comments}
        for i, service in enumerate(file.service):
            for j, method in enumerate(service.method):
                name = f"{service.name}.{method.name}"
                if method.input_type.split(".")[-1] != f"{method.name}Request":
                    yield f"{name}: expected its request to be {method.name}Request"
                if requests.setdefault(method.input_type, name) != name:
                    yield f"{name}: shares its request with {requests[method.input_type]}"
                if method.name.startswith("List"):
                    fields = {field.name for field in messages[method.output_type].field}
                    asked = {field.name for field in messages[method.input_type].field}
                    paged = "next_page_token" in fields and "page_token" in asked
                    if not paged and method.name not in PAGELESS:
                        yield f"{name}: lists without pages"
                if (6, i, 2, j) not in commented and not method.name.startswith(("Get", "Serve")):
                    yield f"{name}: has no comment"
        for message in file.message_type:
            yield from lint_message(message.name, message)
        for enum in file.enum_type:
            yield from lint_enum(enum.name, enum)


def main():
    folder, record = map(pathlib.Path, sys.argv[1:3])
    if descriptor_pb2 is None or shutil.which("protoc") is None:
        print("SKIPPED: needs python3-protobuf and protobuf-compiler")
        return 77
    files = describe(folder)
    now = sorted(promises(files))
    if sys.argv[3:] == ["--write"]:
        record.write_text("\n".join(now) + "\n")
        return 0
    problems = list(lint(files))
    kept = set(now)
    broken = [line for line in record.read_text().splitlines() if line not in kept]
    problems += [f"promised, and gone or changed: {line}" for line in broken]
    # A rule that can't fail is none: without its first promise of each kind, a set is broken.
    for kind in ("rpc", "field", "value"):
        if not any(line.startswith(kind) for line in now):
            problems.append(f"found no {kind} at all")
    print("\n".join(problems) or f"{len(now)} promises, {len(kept)} kept, lint clean")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
