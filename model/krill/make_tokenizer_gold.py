#!/usr/bin/env python3
"""Writes texts and the ids that Hugging Face `tokenizers` gives them with Krill's tokenizer.json.

  make_tokenizer_gold.py tests/data/tokenizer/gold_extra.jsonl > tests/data/tokenizer/krill_gold.jsonl

Needs the package `tokenizers`. The texts are those of the file given, and some of our own.
"""
import json
import pathlib
import sys

from tokenizers import Tokenizer

OWN = [
    ' Bex "Bex" <Bex> /Bex_ ,Bex=Bex', "1234 12 a1b2", '{"name": "read_file", "description": "Reads"}',
    '\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name="read">\n<｜DSML｜parameter name="path" string="true">'
    'src/a.cc</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls><｜end▁of▁sentence｜>',
    "<｜begin▁of▁sentence｜>## Tools\n\n<｜User｜>The code of gamveas is goom-531.<｜Assistant｜></think>",
    "  two  spaces\tand\ta tab\r\nand lines\n\n\n", " the of and", "the of and", "THE Of aNd",
]


def main():
  here = pathlib.Path(__file__).resolve().parent
  tokenizer = Tokenizer.from_file(str(here / "tokenizer.json"))
  texts = [json.loads(line)["t"] for line in open(sys.argv[1], encoding="utf-8")] + OWN
  for text in texts:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    print(json.dumps({"t": text, "ids": ids}, ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
  main()
