#!/usr/bin/env python3
"""Draws what `baleen eval --csv` and `baleen bench resume --csv` measured. Needs matplotlib.

  plot.py needles EVAL.csv OUT.png     share of needles found, by length of the context and depth
  plot.py resume CURVE.csv OUT.png     time of a resume and of a prefill, by length of the context

The suffix of OUT decides the format: png, svg, pdf.
"""
import argparse
import csv
import re
import sys

try:
  import matplotlib
except ImportError:
  sys.exit("plot.py needs matplotlib: apt-get install python3-matplotlib")
matplotlib.use("Agg")
matplotlib.rcParams["svg.fonttype"] = "none"  # Words stay words in an SVG.
import matplotlib.pyplot as pyplot  # noqa: E402 (the backend is chosen first)

CURVES = (("prefill_ms", "prefill again"), ("resume_ms", "resume, every row"),
          ("first_token_ms", "resume, to the first token"))


def read_rows(path):
  with open(path, newline="", encoding="utf-8") as file:
    return list(csv.DictReader(file))


def draw_needles(rows):
  """A figure, or None without rows of the task "needles"."""
  cells = {}
  for row in rows:
    place = re.fullmatch(r"(\d+) tokens, depth ([0-9.]+)", row.get("variant", ""))
    if row.get("task") == "needles" and place:
      cells[int(place.group(1)), float(place.group(2))] = row
  if not cells:
    return None
  lengths = sorted({tokens for tokens, _ in cells})
  depths = sorted({depth for _, depth in cells})
  shares = [[float(cells[t, d]["share"]) if (t, d) in cells else float("nan") for t in lengths]
            for d in depths]
  figure, axes = pyplot.subplots(figsize=(2.2 + 1.3 * len(lengths), 1.4 + 0.6 * len(depths)))
  image = axes.imshow(shares, cmap="RdYlGn", vmin=0, vmax=1, aspect="auto")
  figure.colorbar(image, ax=axes)
  axes.set_xticks(range(len(lengths)), [f"{tokens:,}" for tokens in lengths])
  axes.set_yticks(range(len(depths)), [f"{depth:.0%}" for depth in depths])
  axes.set_xlabel("tokens before the question")
  axes.set_ylabel("depth of the needle")
  for (tokens, depth), row in cells.items():
    axes.text(lengths.index(tokens), depths.index(depth),
              f"{float(row['share']):.0%}\n{float(row['low']):.0%} - {float(row['high']):.0%}",
              ha="center", va="center", fontsize=8)
  total = sum(int(row["total"]) for row in cells.values())
  axes.set_title(f"Needles found, with the 95 % interval; {total:,} in all", fontsize=10)
  return figure


def draw_resume(rows):
  """A figure, or None without the columns of a curve."""
  columns = {"tokens"} | {column for column, _ in CURVES}
  points = sorted(({c: float(row[c]) for c in columns} for row in rows if columns <= row.keys()),
                  key=lambda point: point["tokens"])
  if not points:
    return None
  figure, axes = pyplot.subplots(figsize=(7, 4.2))
  tokens = [point["tokens"] for point in points]
  for column, name in CURVES:
    axes.plot(tokens, [point[column] for point in points], marker="o", markersize=3, label=name)
  axes.set_xscale("log", base=2)
  axes.set_yscale("log")
  axes.set_xticks(tokens, [f"{t / 1024:.4g}K" for t in tokens], rotation=45)
  axes.set_xlabel("tokens of context")
  axes.set_ylabel("ms")
  axes.grid(True, which="major", alpha=0.3)
  axes.legend()
  axes.set_title("Cold resume beside prefill", fontsize=10)
  return figure


FIGURES = {
    "needles": (draw_needles, "rows of the task needles; run `baleen eval --tasks needles --csv`"),
    "resume": (draw_resume, "curve of resume times; run `baleen bench resume --csv`"),
}


def main():
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("figure", choices=sorted(FIGURES))
  parser.add_argument("csv")
  parser.add_argument("out")
  options = parser.parse_args()
  draw, wanted = FIGURES[options.figure]
  figure = draw(read_rows(options.csv))
  if figure is None:
    print(f"{options.csv} has no {wanted}", file=sys.stderr)
    return 1
  figure.savefig(options.out, dpi=110, bbox_inches="tight")
  return 0


if __name__ == "__main__":
  sys.exit(main())
