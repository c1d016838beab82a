#!/usr/bin/env python3
"""Makes tests/data/training/muon.json: hybrid Newton-Schulz results and whole Muon steps in float64.

Written from the report's algorithm 1 alone, with numpy; shares no code with model/training.
Not run by `./dev test`, which reads the committed result.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install numpy
    /tmp/venv/bin/python tests/training/make_muon_goldens.py tests/data/training
"""

import json
import pathlib
import platform
import sys

import numpy as np


def hybrid_newton_schulz(z, fast=8, stable=2):
    norm = np.linalg.norm(z)
    x = z / norm if norm > 0 else z
    for a, b, c in [(3.4445, -4.7750, 2.0315)] * fast + [(2.0, -1.5, 0.5)] * stable:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def muon(weights, gradients, rate, momentum=0.95, decay=0.1, rms=0.18):
    m = np.zeros_like(weights)
    for g in gradients:
        m = momentum * m + g
        o = hybrid_newton_schulz(momentum * m + g) * np.sqrt(max(weights.shape)) * rms
        weights = weights * (1 - rate * decay) - rate * o
    return weights, m


def listed(x):
    return [float(v) for v in np.asarray(x).ravel()]


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(20261127)
    draw = lambda *shape: random.standard_normal(shape).astype(np.float32).astype(np.float64)
    cases = []
    for rows, cols in [(1, 1), (1, 6), (2, 3), (5, 3), (8, 8), (12, 20), (24, 7)]:
        z = draw(rows, cols)
        if (rows, cols) == (8, 8):
            z[7] = z[6]  # rank 7
            z[0] *= 1e-4  # one singular value far below the rest
            z = z.astype(np.float32).astype(np.float64)
        o = hybrid_newton_schulz(z)
        cases.append({
            "rows": rows,
            "cols": cols,
            "in": listed(z),
            "out": listed(o),
            "singular_values": listed(np.linalg.svd(o, compute_uv=False)),
        })
    steps = []
    for rows, cols in [(4, 9), (6, 2)]:
        w = draw(rows, cols)
        gradients = [draw(rows, cols) for _ in range(3)]
        after, m = muon(w, gradients, rate=0.02)
        steps.append({
            "rows": rows,
            "cols": cols,
            "rate": 0.02,
            "weights": listed(w),
            "gradients": [listed(g) for g in gradients],
            "weights_after": listed(after),
            "momentum_after": listed(m),
        })
    result = {
        "origin": "tests/training/make_muon_goldens.py, float64, numpy " + np.__version__ +
                  ", Python " + platform.python_version() +
                  "; inputs drawn by the script. Licence: this project's.",
        "orthogonalise": cases,
        "steps": steps,
    }
    (out / "muon.json").write_text(json.dumps(result, indent=None, separators=(",", ":")) + "\n")


main()
