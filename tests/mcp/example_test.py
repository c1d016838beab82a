#!/usr/bin/python3
"""examples/mcp as its reader would run it, with Krill.

Usage: example_test.py BALEEN EXAMPLE_FOLDER
"""
import json
import pathlib
import subprocess
import sys
import tempfile

BALEEN, EXAMPLE = sys.argv[1], pathlib.Path(sys.argv[2])


def run(folder, *words):
    return subprocess.run([BALEEN, *map(str, words), "--config", folder / "baleen.toml"],
                          capture_output=True, text=True, timeout=120)


with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(scratch)
    (folder / "pantry.json").write_text('{"flour": 2}')
    config = (EXAMPLE / "baleen.toml").read_text()
    config = config.replace("/usr/local/share/pantry/pantry.py", str(EXAMPLE / "pantry.py"))
    (folder / "baleen.toml").write_text(config.replace("/var/lib/pantry", str(folder)))

    listed = run(folder, "tools", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    names = [json.loads(line)["name"] for line in listed.stdout.splitlines()]
    assert names[-2:] == ["pantry_buy", "pantry_stock"], names

    done = run(folder, "run", EXAMPLE / "shop.lua", "--data-dir", folder / "data", "--allow", "pantry_*",
               "--input", "flour, eggs, eggs")
    assert "2 of flour; eggs is on the list; eggs is on the list" in done.stdout, done.stdout + done.stderr
    assert (folder / "shopping.txt").read_text() == "eggs\n"

    (folder / "pantry.json").write_text("no JSON")
    broken = run(folder, "tools", "call", "pantry_stock", '{"item": "flour"}', "--json")
    assert json.loads(broken.stdout)["outcome"] == "ERROR", broken.stdout + broken.stderr
    refused = run(folder, "run", EXAMPLE / "shop.lua", "--server", "unix:/nowhere", "--mcp", "x=true")
    assert refused.returncode != 0 and "--mcp" in refused.stderr, refused.stderr
    print("listed, shopped, failed as it should")
