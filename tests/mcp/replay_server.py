#!/usr/bin/python3
"""Answers as a real server was recorded to have answered; what it was never asked, it refuses.

Usage: replay_server.py RECORDING     (tests/data/mcp/README.md)
       replay_server.py --record RECORDING PROGRAM ARGUMENT...: between a client and a real server.
"""
import json
import subprocess
import sys
import threading


def asked(message):
    """What makes two requests the same: not the number, not who asks."""
    params = {name: value for name, value in (message.get("params") or {}).items() if name != "_meta"}
    return {"method": message["method"], "params": params}


def record(path, command):
    lock, asked_by, entries = threading.Lock(), {}, []
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def listen():
        for line in sys.stdin:
            message = json.loads(line)
            with lock:
                if "id" in message:
                    asked_by[message["id"]] = {"request": asked(message), "answers": []}
                    entries.append(asked_by[message["id"]])
            child.stdin.write(line)
            child.stdin.flush()
        child.stdin.close()

    threading.Thread(target=listen, daemon=True).start()
    for line in child.stdout:
        message = json.loads(line)
        number = message.get("id", message.get("params", {}).get("progressToken"))
        with lock:
            asked_by[number]["answers"].append(message)
            with open(path, "w", encoding="utf-8") as file:  # it may be ended at any time
                file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        sys.stdout.write(line)
        sys.stdout.flush()


def replay(path):
    with open(path, encoding="utf-8") as file:
        entries = [json.loads(line) for line in file]
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        known = [entry["answers"] for entry in entries if entry["request"] == asked(message)]
        unknown = {"jsonrpc": "2.0", "id": 0, "error": {"code": -32000, "message": f"never asked: {line}"}}
        for answer in known[0] if known else [unknown]:
            if "id" in answer:
                answer = {**answer, "id": message["id"]}
            else:
                answer = {**answer, "params": {**answer["params"], "progressToken": message["id"]}}
            print(json.dumps(answer), flush=True)


if sys.argv[1] == "--record":
    record(sys.argv[2], sys.argv[3:])
else:
    replay(sys.argv[1])
