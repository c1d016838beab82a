#!/usr/bin/env python3
"""Draws what `baleen eval --csv` and `baleen bench resume --csv` measured. Needs nothing but Python.

  plot.py needles EVAL.csv OUT.svg     share of needles found, by length of the context and depth
  plot.py resume CURVE.csv OUT.svg     time of a resume and of a prefill, by length of the context
"""
import argparse
import csv
import math
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


RESUME_LINES = (("prefill_ms", "prefill again", "#c03a2b"), ("resume_ms", "resume, every row", "#2b6cb0"),
                ("first_token_ms", "resume, to the first token", "#2f855a"))


def read_curve(path):
  """[{column: number}] by length, the shortest first."""
  with open(path, newline="", encoding="utf-8") as file:
    points = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
  columns = {"tokens"} | {column for column, _, _ in RESUME_LINES}
  return sorted((p for p in points if columns <= p.keys()), key=lambda point: point["tokens"])


def duration(ms):
  return f"{ms:g} ms" if ms < 1000 else f"{ms / 1000:g} s"


def draw_resume(points):
  """Both axes logarithmic."""
  width, height, left, right, top, bottom = 720, 440, 80, 190, 50, 60
  values = [point[column] for point in points for column, _, _ in RESUME_LINES]
  low, high = (10 ** f(math.log10(v)) for f, v in ((math.floor, min(values)), (math.ceil, max(values))))
  first, last = points[0]["tokens"], max(points[-1]["tokens"], points[0]["tokens"] * 2)

  def x(tokens):
    return left + (width - left - right) * math.log(tokens / first) / math.log(last / first)

  def y(ms):
    return height - bottom - (height - top - bottom) * math.log(ms / low) / math.log(high / low)

  parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>',
           text((left + width - right) / 2, 26, "Cold resume beside prefill, by tokens of context", 16)]
  step = low
  while step <= high * 1.001:
    parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y(step):.1f}" y2="{y(step):.1f}" stroke="#ddd"/>')
    parts.append(text(left - 8, round(y(step) + 4, 1), duration(step), 12, "end"))
    step *= 10
  for point in points:
    parts.append(text(round(x(point["tokens"]), 1), height - bottom + 20,
                      f'{point["tokens"] / 1024:.4g}K', 11))
  for column, name, stroke in RESUME_LINES:
    places = [(round(x(point["tokens"]), 1), round(y(point[column]), 1)) for point in points]
    line = " ".join(f"{a},{b}" for a, b in places)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{stroke}" stroke-width="2"/>')
    parts += [f'<circle cx="{a}" cy="{b}" r="3" fill="{stroke}"/>' for a, b in places]
    parts.append(text(places[-1][0] + 10, places[-1][1] + 4, name, 12, "start"))
  return "\n".join(parts + ["</svg>\n"])


FIGURES = {
    "needles": (read_needles, draw_needles, "rows of the task needles; run `baleen eval --tasks needles --csv`"),
    "resume": (read_curve, draw_resume, "curve of resume times; run `baleen bench resume --csv`"),
}


def main():
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("figure", choices=sorted(FIGURES))
  parser.add_argument("csv")
  parser.add_argument("out")
  options = parser.parse_args()
  read, draw, wanted = FIGURES[options.figure]
  found = read(options.csv)
  if not found:
    print(f"{options.csv} has no {wanted}", file=sys.stderr)
    return 1
  with open(options.out, "w", encoding="utf-8") as file:
    file.write(draw(found))
  return 0


if __name__ == "__main__":
  sys.exit(main())
