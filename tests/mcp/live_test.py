#!/usr/bin/python3
"""Tools of servers that nobody here wrote: `mcp-server-time`, and the SDK of both generations, from PyPI.

Usage: live_test.py BALEEN [--new PYTHON] [--old PYTHON]
PYTHON has mcp 2 with mcp-server-time, and mcp 1; without them, virtual environments beside BALEEN are made
and filled. Over stdio and over streamable HTTP. Exit status 77: they can't be had here.
"""
import argparse
import json
import pathlib
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
NEW = ["mcp==2.3.0", "mcp-server-time==2026.10.19"]
OLD = ["mcp==1.30.0"]
PATIENCE_S = 120


def skip(why):
    print(f"SKIPPED: {why}", file=sys.stderr)
    sys.exit(77)


def python_with(packages, beside, name):
    folder = beside.resolve().parent.parent / name
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        made = subprocess.run([sys.executable, "-m", "venv", folder], capture_output=True, text=True)
        if made.returncode != 0:
            skip(f"no virtual environment (python3-venv): {made.stdout}")
        filled = subprocess.run([python, "-m", "pip", "install", "-q", *packages], capture_output=True,
                                text=True, timeout=1200)
        if filled.returncode != 0:
            skip(f"{packages} can't be installed: {filled.stderr[-400:]}")
        (folder / "complete").touch()
    return str(python)


class Tools:
    """`baleen tools` with one server."""

    def __init__(self, baleen, server):
        self.program, self.server = str(baleen), ["--mcp", server]

    def run(self, *words):
        return subprocess.run([self.program, "tools", *words, "--json", *self.server, "--config", "/dev/null"],
                              capture_output=True, text=True, timeout=PATIENCE_S)

    def list(self):
        done = self.run("list")
        assert done.returncode == 0, done.stderr
        tools = map(json.loads, done.stdout.splitlines())
        return {tool["name"]: tool for tool in tools if tool["origin"].startswith("MCP server")}

    def call(self, tool, **arguments):
        done = self.run("call", tool, json.dumps(arguments))
        return json.loads(done.stdout) if done.stdout else {"outcome": "?", "content": done.stderr}


def check_sdk(baleen, server, protocol):
    tools = Tools(baleen, f"sdk={server}")
    listed = tools.list()
    assert list(listed) == ["sdk_add", "sdk_count", "sdk_fail"], listed
    assert listed["sdk_add"]["origin"].endswith(f"protocol {protocol}"), listed["sdk_add"]["origin"]
    assert listed["sdk_add"]["description"] == "Adds whole numbers."
    sums = tools.call("sdk_add", terms=[1, 2, 39])
    assert sums["outcome"] == "OK" and json.loads(sums["content"]) == {"total": 42, "terms": [1, 2, 39]}, sums
    counted = tools.call("sdk_count", to=3)
    assert counted == {"outcome": "OK", "content": "counted to 3"}, counted
    failed = tools.call("sdk_fail")
    assert failed["outcome"] == "ERROR" and "fail" in failed["content"], failed
    wrong = tools.call("sdk_add", terms="none")
    assert wrong["outcome"] == "ERROR", wrong
    print(f"{server.split('/')[-1]}: protocol {protocol}, three tools called")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def check_over_http(baleen, python, protocol):
    port = free_port()
    server = subprocess.Popen([python, HERE / "sdk_server.py", str(port)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + PATIENCE_S
        while server.poll() is None and time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        assert server.poll() is None, "the server ended"
        check_sdk(baleen, f"http://127.0.0.1:{port}/mcp", protocol)
    finally:
        server.kill()
        server.wait()


def check_time(baleen, python):
    tools = Tools(baleen, f"time={python} -m mcp_server_time --local-timezone Europe/Paris")
    assert list(tools.list()) == ["time_convert_time", "time_get_current_time"]
    converted = tools.call("time_convert_time", source_timezone="Asia/Tokyo", time="12:00",
                           target_timezone="Asia/Kolkata")
    assert converted["outcome"] == "OK" and "T08:30:00+05:30" in converted["content"], converted
    wrong = tools.call("time_get_current_time", timezone="Nowhere/Town")
    assert wrong["outcome"] == "ERROR", wrong
    print("mcp-server-time: listed, called, refused")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("baleen", type=pathlib.Path)
    parser.add_argument("--new")
    parser.add_argument("--old")
    arguments = parser.parse_args()
    baleen = arguments.baleen.resolve()
    new = arguments.new or python_with(NEW, baleen, "mcp-new-venv")
    old = arguments.old or python_with(OLD, baleen, "mcp-old-venv")
    check_time(baleen, new)
    check_sdk(baleen, f"{new} {HERE / 'sdk_server.py'}", "2026-07-28")
    check_sdk(baleen, f"{old} {HERE / 'sdk_server.py'}", "2025-11-25")
    check_over_http(baleen, new, "2026-07-28")
    check_over_http(baleen, old, "2025-11-25")


main()
