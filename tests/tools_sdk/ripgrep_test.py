#!/usr/bin/python3
"""grep and glob find what ripgrep finds, over generated trees with ignore files.

Usage: ripgrep_test.py BALEEN [TREES [SEED]]. Exit status 77: no `rg` here.
"""
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

NAMES = ["a", "b", "ab", "build", "src", "x.cc", "x.h", "y.log", ".hidden", "#odd", "with space", "b[1]", "Z"]
WORDS = ["needle", "hay", "stack", "Needle", "need le", "é", "a.b"]
RULES = ["*.log", "/build", "build/", "!y.log", "src/*.h", "**/ab", "a/**", "a/**/b", "x.?c", "[xy].*", "!x.cc", "\\#odd",
         "# note", "", "with\\ space", "*.h  ", "b\\[1\\]", "[!a]", "src/**/x.cc", "!src/", ".*", "/*", "!/a", "Z/",
         "b", "*", "!*.cc", "!*/"]
GLOBS = ["*.cc", "x.*", "src/*", "**/b/*", "a/**", "*.{cc,h}", "[ab]", "?", "with*", "/x.cc", "a/**/x.cc"]


def make_tree(folder, rng, depth=0):
    for name in rng.sample(NAMES, rng.randint(2, 6)):
        path = folder / name
        if "." not in name[1:] and depth < 3 and rng.random() < 0.6:
            path.mkdir()
            make_tree(path, rng, depth + 1)
        else:
            lines = [" ".join(rng.choices(WORDS, k=rng.randint(0, 4))) for _ in range(rng.randint(0, 6))]
            path.write_text("\n".join(lines) + rng.choice(["", "\n"]))
    for source, chance in ((".gitignore", 0.5), (".ignore", 0.15), (".rgignore", 0.1)):
        if rng.random() < chance:
            rules = rng.choices(RULES, k=rng.randint(1, 4))
            (folder / source).write_text("\n".join(rules) + "\n")


def ripgrep(folder, *arguments):
    # Of rg's own habits only the rules are compared: no configuration; nothing is above the tree.
    done = subprocess.run(["rg", "--no-config", "--hidden", "--no-require-git",
                           "--no-ignore-global", "-g", "!.git", *arguments], cwd=folder, capture_output=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.decode(errors="replace")


def matches_of(content):
    found, path = set(), None
    for line in content.splitlines():
        if line.startswith("  "):
            number, _, text = line.strip().partition(":")
            found.add((path, int(number), text.strip()))
        elif not line.startswith("["):
            path = line
    return found


def main():
    if shutil.which("rg") is None:
        print("SKIP: no rg; Debian's package is ripgrep")
        sys.exit(77)
    trees = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 20261128
    print("seed", seed)
    rng = random.Random(seed)
    compared = found = 0
    for tree in range(trees):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            make_tree(folder, rng)
            if rng.random() < 0.4:
                (folder / ".git/info").mkdir(parents=True)
                (folder / ".git/info/exclude").write_text("\n".join(rng.choices(RULES, k=2)) + "\n")
                (folder / ".git/needle").write_text("needle\n")
            calls, wants = [], []
            folders = ["."] + sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir()
                                     and ".git" not in path.parts and not path.name.startswith("."))
            for _ in range(4):
                word, start = rng.choice(WORDS), rng.choice(folders)
                flags = ["-i"] if rng.random() < 0.3 and word.isascii() else []
                calls.append({"tool": "grep", "arguments": {"pattern": word, "path": start, "max_results": 250,
                                                            "ignore_case": bool(flags)}})
                out = ripgrep(folder, "-F", "-n", "--no-heading", "--null", *flags, "-e", word, "--", start)
                want = set()
                for line in out.split("\n"):
                    if line:
                        path, _, rest = line.partition("\0")
                        number, _, text = rest.partition(":")
                        want.add((str(pathlib.PurePath(path)), int(number), text.strip()))
                wants.append(want)
            for _ in range(3):
                glob = rng.choice(GLOBS)
                calls.append({"tool": "glob", "arguments": {"pattern": glob}})
                # rg's -g overrides its ignore rules; ours narrow what they leave.
                plain = set(ripgrep(folder, "--files").splitlines())
                wants.append({path for path in ripgrep(folder, "--files", "--no-ignore", "-g", glob).splitlines()
                              if path in plain and not path.startswith(".git/")})
            lines = "".join(json.dumps(call) + "\n" for call in calls)
            done = subprocess.run([sys.argv[1], "tools", "call", "--jsonl", "--workspace", name], input=lines,
                                  capture_output=True, text=True, check=True)
            for call, want, line in zip(calls, wants, done.stdout.splitlines(), strict=True):
                content = json.loads(line)["content"]
                if call["tool"] == "grep":
                    got = matches_of(content)
                else:
                    got = {path for path in content.splitlines() if not path.startswith("[no file")}
                compared += 1
                found += len(want)
                if got != want:
                    print(f"tree {tree}: {call}\nonly rg: {sorted(want - got)}\nonly ours: {sorted(got - want)}")
                    for ignore in sorted(folder.rglob("*ignore")) + sorted(folder.glob(".git/info/exclude")):
                        print(ignore.relative_to(folder), repr(ignore.read_text()))
                    sys.exit(1)
    print(f"{compared} searches of {trees} trees agree; {found} matches")
    assert found > trees, "the trees hold too little to compare"


main()
