#!/usr/bin/env python3
"""Draws what `baleen eval --csv FILE` measured. Needs nothing but Python.

  plot.py needles EVAL.csv OUT.svg     share of needles found, by length of the context and depth
"""
import argparse
import csv
import re
import sys

CELL_WIDTH, CELL_HEIGHT, LEFT, TOP = 92, 44, 130, 64


def read_needles(path):
  """{(tokens, depth): row} of the task "needles"."""
  needles = {}
  with open(path, newline="", encoding="utf-8") as file:
    for row in csv.DictReader(file):
      place = re.fullmatch(r"(\d+) tokens, depth ([0-9.]+)", row["variant"])
      if row["task"] == "needles" and place:
        needles[int(place.group(1)), float(place.group(2))] = row
  return needles


def colour(share):
  """From red through yellow to green."""
  red = 255 if share < 0.5 else round(255 - (share - 0.5) * 2 * 155)
  green = round(80 + share * 2 * 150) if share < 0.5 else round(230 - (share - 0.5) * 2 * 50)
  return f"rgb({red},{green},90)"


def text(x, y, words, size=14, anchor="middle"):
  return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}">{words}</text>'


def draw_needles(needles):
  lengths = sorted({tokens for tokens, _ in needles})
  depths = sorted({depth for _, depth in needles})
  width, height = LEFT + CELL_WIDTH * len(lengths) + 20, TOP + CELL_HEIGHT * len(depths) + 40
  parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>',
           text(width / 2, 24, "Needles found, with the 95 % interval", 16)]
  for column, tokens in enumerate(lengths):
    parts.append(text(LEFT + CELL_WIDTH * (column + 0.5), TOP - 10, f"{tokens:,} tokens"))
  for line, depth in enumerate(depths):
    parts.append(text(LEFT - 10, TOP + CELL_HEIGHT * (line + 0.6), f"depth {depth:.0%}", anchor="end"))
    for column, tokens in enumerate(lengths):
      row = needles.get((tokens, depth))
      if row is None:
        continue
      x, y, share = LEFT + CELL_WIDTH * column, TOP + CELL_HEIGHT * line, float(row["share"])
      parts.append(f'<rect x="{x}" y="{y}" width="{CELL_WIDTH - 2}" height="{CELL_HEIGHT - 2}" '
                   f'fill="{colour(share)}"/>')
      parts.append(text(x + CELL_WIDTH / 2, y + 18, f"{share:.0%}"))
      parts.append(text(x + CELL_WIDTH / 2, y + 34,
                        f"{float(row['low']):.0%} - {float(row['high']):.0%}", 11))
  total = sum(int(row["total"]) for row in needles.values())
  parts.append(text(width / 2, height - 12, f"{total:,} needles in all", 12))
  return "\n".join(parts + ["</svg>\n"])


def main():
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("figure", choices=["needles"])
  parser.add_argument("csv")
  parser.add_argument("out")
  options = parser.parse_args()
  needles = read_needles(options.csv)
  if not needles:
    print(f"{options.csv} has no rows of the task needles; run `baleen eval --tasks needles --csv`",
          file=sys.stderr)
    return 1
  with open(options.out, "w", encoding="utf-8") as file:
    file.write(draw_needles(needles))
  return 0


if __name__ == "__main__":
  sys.exit(main())
