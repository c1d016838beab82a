#!/usr/bin/python3
"""grep and glob find what ripgrep finds, over generated trees with ignore files.

Usage: ripgrep_test.py BALEEN [TREES [SEED]]. Exit status 77: no `rg` here.
"""
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

NAMES = ["a", "b", "ab", "build", "src", "x.cc", "x.h", "y.log", ".hidden", "#odd", "with space", "b[1]", "Z"]
WORDS = ["needle", "hay", "stack", "Needle", "need le", "é", "a.b"]
RULES = ["*.log", "/build", "build/", "!y.log", "src/*.h", "**/ab", "a/**", "a/**/b", "x.?c", "[xy].*", "!x.cc", "\\#odd",
         "# note", "", "with\\ space", "*.h  ", "b\\[1\\]", "[!a]", "src/**/x.cc", "!src/", ".*", "/*", "!/a", "Z/",
         "b", "*", "!*.cc", "!*/"]
# Of expressions, what RE2 and ripgrep read alike; what is about ASCII in RE2 is spelt so for rg.
PIECES = ["needle", "ha", "st", "n", "e", "a", "d", ".", " ", "é", "[a-e]", "[^ a]", "[nN]", r"\.", "(ne|st)", "(?:ed|ay)", "x"]
PERL = {r"\w": "[0-9A-Za-z_]", r"\d": "[0-9]", r"\s": r"[\t\f\r ]", r"\b": r"(?-u:\b)", r"\W": "[^0-9A-Za-z_]", r"\S": r"[^\t\f\r ]",
        r"\D": "[^0-9]"}
REPEATS = ["", "", "", "", "*", "+", "?", "{2}", "{1,3}", "*?", "+?"]
ODD_LINES = [b"needle \xff\xfe hay", b"n\xc3edle", b"\xe2\x82 stack", b"hay" * 900 + b" needle", b"a\tneedle\x0c", b"\xc3\xa9\xc3"]
GLOBS = ["*.cc", "x.*", "src/*", "**/b/*", "a/**", "*.{cc,h}", "[ab]", "?", "with*", "/x.cc", "a/**/x.cc"]


def make_pattern(rng):
    """Two spellings: ours and rg's."""
    ours, theirs = "", ""
    for _ in range(rng.randint(1, 4)):
        piece = rng.choice(list(PERL) if rng.random() < 0.25 else PIECES)
        repeat = "" if piece == r"\b" else rng.choice(REPEATS)
        ours += piece + repeat
        theirs += PERL.get(piece, piece) + repeat
    if rng.random() < 0.2:
        more = rng.choice(WORDS)
        ours, theirs = ours + "|" + more, theirs + "|" + more
    if rng.random() < 0.15:
        ours, theirs = "^" + ours, "^" + theirs
    if rng.random() < 0.15:
        ours, theirs = ours + "$", theirs + "$"
    return ours, theirs


def make_tree(folder, rng, depth=0):
    for name in rng.sample(NAMES, rng.randint(2, 6)):
        path = folder / name
        if "." not in name[1:] and depth < 3 and rng.random() < 0.6:
            path.mkdir()
            make_tree(path, rng, depth + 1)
        else:
            lines = [" ".join(rng.choices(WORDS, k=rng.randint(0, 4))).encode() for _ in range(rng.randint(0, 6))]
            lines += [rng.choice(ODD_LINES) for _ in range(rng.randint(-3, 1))]
            rng.shuffle(lines)
            if rng.random() < 0.1:  # in front: rg shows what it has found before it sees that a file is binary
                lines.insert(0, b"\0binary needle")
            path.write_bytes(b"\n".join(lines) + rng.choice([b"", b"\n"]))
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


def ripgrep_matches(folder, *arguments):
    found = set()
    for line in ripgrep(folder, "-n", "--no-heading", "--null", "--encoding", "none", *arguments).split("\n"):
        path, null, rest = line.partition("\0")
        if null:  # else rg says that a binary file matches
            number, _, text = rest.partition(":")
            found.add((str(pathlib.PurePath(path)), int(number), plain(cut(text))))
    return found


def with_returns(folder, rng):
    """Line ends of Windows in some files: they are none of the line's, as in what rg has seen before."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.endswith("ignore") and ".git" not in path.parts and rng.random() < 0.3:
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def cut(text):
    """As grep's answer cuts a long line of ASCII."""
    return text if len(text) <= 2000 else text[:2000] + f" [{len(text) - 2000} more bytes in this line]"


def plain(text):
    """But for how often invalid bytes in a row are marked."""
    return re.sub("\ufffd+", "\ufffd", text).strip()


def matches_of(content):
    found, path = set(), None
    for line in content.split("\n"):
        if line.startswith("  "):
            number, _, text = line.strip().partition(":")
            found.add((path, int(number), plain(text)))
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
                calls.append({"tool": "grep", "arguments": {"pattern": word, "path": start, "literal": True,
                                                            "max_results": 250, "ignore_case": bool(flags)}})
                wants.append(ripgrep_matches(folder, "-F", *flags, "-e", word, "--", start))
            for _ in range(8):
                (ours, theirs), start = make_pattern(rng), rng.choice(folders)
                flags = ["-i"] if rng.random() < 0.2 else []
                calls.append({"tool": "grep", "arguments": {"pattern": ours, "path": start, "max_results": 250,
                                                            "ignore_case": bool(flags)}})
                wants.append(ripgrep_matches(folder, *flags, "-e", theirs, "--", start))
            for _ in range(3):
                glob = rng.choice(GLOBS)
                calls.append({"tool": "glob", "arguments": {"pattern": glob}})
                # rg's -g overrides its ignore rules; ours narrow what they leave.
                plain = set(ripgrep(folder, "--files").splitlines())
                wants.append({path for path in ripgrep(folder, "--files", "--no-ignore", "-g", glob).splitlines()
                              if path in plain and not path.startswith(".git/")})
            with_returns(folder, rng)
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
                    print(f"tree {tree}: {call}\nonly rg: {sorted(want - got)[:9]}\nonly ours: {sorted(got - want)[:9]}")
                    for ignore in sorted(folder.rglob("*ignore")) + sorted(folder.glob(".git/info/exclude")):
                        print(ignore.relative_to(folder), repr(ignore.read_text()))
                    sys.exit(1)
    print(f"{compared} searches of {trees} trees agree; {found} matches")
    assert found > trees, "the trees hold too little to compare"


main()
