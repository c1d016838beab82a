#!/usr/bin/env python3
"""Makes Krill's tokenizer: DeepSeek-V4's kind of tokenizer.json with a vocabulary of about 2,048.

  make_tokenizer.py < TEXT > tokenizer.json

The same text gives the same bytes. Three rules, so that a value has the same tokens wherever it
stands (after a space, a quote, a slash or an angle bracket), which is what makes copying learnable:

- merges join letters only: never a space, a quote or a digit with what follows;
- digits stay single;
- a frequent pre-token is a token of its own, as it stands (" the", '">\\n'), by `ignore_merges`.
"""
import argparse
import collections
import json
import re
import sys

# The pre-tokenizer's patterns, as DeepSeek-V4's file states them.
DIGITS = r"\p{N}{1,3}"
CJK = "[一-龥\u3040-ゟ゠-ヿ]+"
WORDS = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^""" "\r\n"
         r"""\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[""" "\r\n" r"""]*|\s*[""" "\r\n"
         r"""]+|\s+(?!\S)|\s+""")

# What those patterns do to ASCII text.
PUNCTUATION = r"!-/:-@\[-`{-~"
ASCII_PIECES = re.compile(
    rf"[0-9]{{1,3}}|[{PUNCTUATION}][A-Za-z]+|[^\r\n{PUNCTUATION}A-Za-z0-9]?[A-Za-z]+"
    rf"| ?[{PUNCTUATION}]+[\r\n]*|\s*[\r\n]+|\s+(?=[0-9])|\s+(?!\S)|\s+")

CONTROL = re.compile("<｜[^｜]*｜>|｜DSML｜|</?think>")  # What no piece crosses.

FIRST = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"]
LAST = ["<｜User｜>", "<｜Assistant｜>", "<think>", "</think>", "｜DSML｜", "<｜latest_reminder｜>",
        "<｜action｜>", "<｜query｜>", "<｜authority｜>", "<｜domain｜>", "<｜title｜>", "<｜read_url｜>"]
SPECIAL = set(FIRST)

WHOLE_SHARE = 0.45   # Of the vocabulary that bytes and control tokens leave.
COUNT_CAP = 40       # One pre-token's weight in the merges: rare words shall split well, too.
WHOLE_MAX_BYTES = 16
PIECES_MAX = 15000   # The most frequent ones; the rest occurs once or twice.


def byte_symbols():
  """GPT-2's alphabet: byte -> character."""
  plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
  symbols = {byte: chr(byte) for byte in plain}
  for byte in range(256):
    if byte not in symbols:
      symbols[byte] = chr(256 + len(symbols) - len(plain))
  return symbols


SYMBOLS = byte_symbols()


def symbols_of(text):
  return "".join(SYMBOLS[byte] for byte in text.encode())


def count(text):
  """[(piece, count)], most frequent first. Only ASCII: the rest is spelt in bytes."""
  pieces = collections.Counter()
  for run in CONTROL.split(text):
    for part in [run] if run.isascii() else run.splitlines(keepends=True):
      if part.isascii():
        pieces.update(ASCII_PIECES.findall(part))
  return sorted(pieces.items(), key=lambda item: (-item[1], item[0]))[:PIECES_MAX]


def choose_whole(pieces, room):
  """The most frequent pieces of at least two bytes that hold no digit."""
  fits = lambda piece: 1 < len(piece) <= WHOLE_MAX_BYTES and not any(c.isdigit() for c in piece)
  # What a whole token saves grows with its length; its base is that letters would merge anyway.
  worth = lambda item: (-item[1] * (1 if item[0].isalpha() else 2), item[0])
  return [piece for piece, _ in sorted(filter(lambda i: fits(i[0]), pieces), key=worth)][:room]


def train_merges(pieces, whole, room):
  """Byte-pair merges of letters; pieces that are whole tokens already don't count."""
  words = collections.Counter()
  for piece, number in pieces:
    letters = piece if piece.isalpha() else piece[1:]
    if len(letters) > 1 and letters.isalpha() and letters not in whole:
      words[letters] += number
  items = [(list(word), min(number, COUNT_CAP)) for word, number in sorted(words.items())]
  pairs = collections.Counter()
  where = collections.defaultdict(set)
  for index, (symbols, number) in enumerate(items):
    for pair in zip(symbols, symbols[1:]):
      pairs[pair] += number
      where[pair].add(index)
  merges, tokens = [], set(whole)
  while room > 0 and pairs:
    pair = min(pairs, key=lambda p: (-pairs[p], p))
    if pairs[pair] <= 0:
      break
    merges.append(pair)
    if "".join(pair) not in tokens:
      tokens.add("".join(pair))
      room -= 1
    for index in sorted(where[pair]):
      symbols, number = items[index]
      for old in zip(symbols, symbols[1:]):
        pairs[old] -= number
      at = 0
      while at + 1 < len(symbols):
        if (symbols[at], symbols[at + 1]) == pair:
          symbols[at:at + 2] = ["".join(pair)]
        at += 1
      for new in zip(symbols, symbols[1:]):
        pairs[new] += number
        where[new].add(index)
    del pairs[pair]
  return merges


def added_token(number, content):
  return {"id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
          "normalized": False, "special": content in SPECIAL}


def split_step(pattern):
  return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def build(pieces, size):
  room = size - len(FIRST) - len(LAST) - 256
  whole = choose_whole(pieces, int(room * WHOLE_SHARE))
  merges = train_merges(pieces, set(whole), room - len(whole))
  vocab = {}
  for token in FIRST:
    vocab[token] = len(vocab)
  for symbol in sorted(SYMBOLS.values()):
    vocab[symbol] = len(vocab)
  for token in [symbols_of(piece) for piece in whole] + ["".join(pair) for pair in merges]:
    vocab.setdefault(token, len(vocab))
  added = [added_token(i, token) for i, token in enumerate(FIRST)]
  added += [added_token(len(vocab) + i, token) for i, token in enumerate(LAST)]
  steps = [split_step(DIGITS), split_step(CJK), split_step(WORDS),
           {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]
  byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
  return {
      "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
      "normalizer": {"type": "Sequence", "normalizers": []},
      "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
      "post_processor": dict(byte_level, trim_offsets=False), "decoder": byte_level,
      "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                "ignore_merges": True, "vocab": vocab, "merges": [" ".join(pair) for pair in merges]},
  }


def main():
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--size", type=int, default=2048, help="entries of the vocabulary")
  options = parser.parse_args()
  json.dump(build(count(sys.stdin.read()), options.size), sys.stdout, ensure_ascii=False, indent=1)
  print()


if __name__ == "__main__":
  main()
