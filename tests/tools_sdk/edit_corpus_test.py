#!/usr/bin/python3
"""The edit tool over real files, judged by rules written a second time: it succeeds, or says why it didn't.

Usage: edit_corpus_test.py BALEEN SOURCE_FOLDER [SEED]

A generator takes lines out of files of SOURCE_FOLDER and makes at least 20 edits of each kind: exact ones, and
ones that are wrong by whitespace, tabs, line ends, case, duplicates, staleness or a few letters. The oracle
decides from the bytes alone what must be on the disk after, and what an explanation must name.
"""
import collections
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

PER_KIND = 24


class Tools:
    def __init__(self, baleen, folder):
        self.child = subprocess.Popen([baleen, "tools", "call", "--jsonl", "--workspace", folder],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(self, tool, **arguments):
        self.child.stdin.write(json.dumps({"tool": tool, "arguments": arguments}) + "\n")
        self.child.stdin.flush()
        answer = json.loads(self.child.stdout.readline())
        return answer["outcome"], answer["content"]

    def close(self):
        self.child.stdin.close()
        assert self.child.wait() == 0


def places(content, old):
    """Offsets of old, overlapping ones too."""
    return [found.start() for found in re.finditer(b"(?=" + re.escape(old) + b")", content)]


def line_of(content, offset):
    return content.count(b"\n", 0, offset) + 1


def expected(content, old, new, all_places, stale):
    """What the file must hold after, or None where the edit must be refused."""
    if stale or old == new:
        return None
    all_crlf = b"\n" in content and b"\n" not in content.replace(b"\r\n", b"")
    returns = lambda text: text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if all_crlf:
        new = returns(new)
    found = places(content, old)
    if not found and b"\n" in old:
        old, new = returns(old), returns(new)
        found = places(content, old)
    if not found or old == new or (len(found) > 1 and not all_places):
        return None
    return content.replace(old, new) if all_places else content[:found[0]] + new + content[found[0] + len(old):]


Case = collections.namedtuple("Case", "kind content old new all_places change names")


def cases(files, rng):
    """Edits of every kind; `names` are what an explanation must contain, one of each tuple."""
    def passage(text, lines_max=6, tabs=False):
        lines = text.split("\n")
        for _ in range(1000):
            count = rng.randint(2, lines_max)
            first = rng.randrange(0, len(lines) - count)
            taken = lines[first:first + count]
            if taken[0].strip() and taken[-1].strip() and len("".join(taken).strip()) > 20:
                if text.count("\n".join(taken)) == 1 and any(line.startswith("  ") for line in taken):
                    return first + 1, taken
        raise SystemExit("no passage found")

    def near(first, count):
        return tuple(f"{line}: " for line in range(max(1, first - 2), first + count + 2))

    for kind in ("exact", "crlf", "indent", "trailing", "tabs", "case", "letters", "duplicate", "all", "stale",
                 "mixed-ends"):
        made = 0
        while made < PER_KIND:
            text = rng.choice(files)
            first, taken = passage(text)
            old = "\n".join(taken)
            new = old.replace(taken[0], "// changed " + str(made) + "\n" + taken[0], 1)
            content, all_places, change, names = text, False, None, ()
            if kind == "crlf":
                content = text.replace("\n", "\r\n")
            elif kind == "indent":
                old = "\n".join("  " + line if line.strip() else line for line in taken)
                names = (near(first, 1), ("spaces where old_string has",))
            elif kind == "trailing":
                place = rng.randrange(len(taken))
                lines = text.split("\n")
                lines[first - 1 + place] += rng.choice([" ", "\t", "   "])
                content = "\n".join(lines)
                if place == len(taken) - 1:
                    old += "\n"
                names = (near(first, 1), ("blanks at its end", "blanks at a line's end", "differ"))
            elif kind == "tabs":
                lines = [re.sub(r"^( +)", lambda found: found[1].replace("  ", "\t"), line)
                         for line in text.split("\n")]
                content = "\n".join(lines)
                names = (near(first, 1), ("tabs",))
            elif kind == "case":
                place = next((i for i, line in enumerate(taken) if line.lower() != line), None)
                if place is None:
                    continue
                old = "\n".join(line.lower() if i == place else line for i, line in enumerate(taken))
                names = (near(first, 1), ("case",))
            elif kind == "letters":
                longest = max(range(len(taken)), key=lambda i: len(taken[i].strip()))
                body = taken[longest].rstrip()
                if len(body) < 30:
                    continue
                wrong = body[:-3] + "@~" + body[-3:]
                old = "\n".join(wrong if i == longest else line for i, line in enumerate(taken))
                stripped = taken[longest].strip()
                if sum(stripped[:20] in line for line in text.split("\n")) > 1:
                    continue
                names = ((f"{first + longest}: ",),)
            elif kind in ("duplicate", "all"):
                content = text + "\n" + old + "\nend of it\n" + old + "\n"
                all_places = kind == "all"
                numbers = [str(line_of(content.encode(), at)) for at in places(content.encode(), old.encode())]
                names = tuple((number,) for number in numbers)
            elif kind == "stale":
                change = text + "\n// somebody's line\n"
                names = (("has changed since you read it",),)
            elif kind == "mixed-ends":
                lines = text.split("\n")
                content = "\n".join(line + "\r" if i == first - 1 else line for i, line in enumerate(lines))
                names = (near(first, 1), ("CRLF",))
            yield Case(kind, content.encode(), old, new, all_places, change, names)
            made += 1


def main():
    baleen, source = sys.argv[1:3]
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 20261128
    print("seed", seed)
    rng = random.Random(seed)
    files = []
    for path in sorted(pathlib.Path(source).glob("tools_sdk/**/*.cc")):
        text = path.read_text()
        if 40 < text.count("\n") < 600 and "\t" not in text and text.isascii():
            files.append(text)
    assert len(files) >= 8, "too few real files"
    outcomes = collections.Counter()
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(baleen, folder)
        for number, case in enumerate(cases(files, rng)):
            path = pathlib.Path(folder) / f"f{number}.txt"
            path.write_bytes(case.content)
            tools.call("read", path=path.name, limit=1)
            before = case.content
            if case.change is not None:
                before = case.change.encode()
                path.write_bytes(before)
            outcome, text = tools.call("edit", path=path.name, old_string=case.old, new_string=case.new,
                                       replace_all=case.all_places)
            after = path.read_bytes()
            want = expected(before, case.old.encode(), case.new.encode(), case.all_places,
                            case.change is not None)
            outcomes[case.kind, outcome] += 1
            if want is None:
                named = all(any(word in text for word in words) for words in case.names)
                good = outcome == "ERROR" and after == before and named
            else:
                good = outcome == "OK" and after == want
            if not good:
                wrong.append((case.kind, outcome, want is None, case.old, text))
        tools.close()
    for (kind, outcome), count in sorted(outcomes.items()):
        print(f"{kind:12} {outcome:6} {count}")
    for kind in {kind for kind, _ in outcomes}:
        assert sum(count for (k, _), count in outcomes.items() if k == kind) >= 20, kind
    for kind, outcome, refused, old, text in wrong[:5]:
        print(f"--- {kind}: {outcome}, expected {'a reason' if refused else 'success'}\n{old}\n-- said:\n{text}")
    print(f"{len(wrong)} wrong of {sum(outcomes.values())}")
    sys.exit(1 if wrong else 0)


main()
