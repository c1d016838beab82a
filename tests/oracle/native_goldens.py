#!/usr/bin/env python3
"""Goldens of native mode, which transformers cannot give: it has none of the quantisation steps
that DeepSeek-V4 was trained with.

The float64 forward pass of cross_check.py, which agrees with transformers, plus those steps,
written from the model's description: KV and entries through E4M3 with one power of two per 64
channels (rotary channels through bf16), index queries and keys through the Hadamard matrix and E2M1
with one power of two per 32. Writes <case>/native.safetensors for the cases below and prints how
far leaving out a step moves the logits.
Needs numpy only. Usage: native_goldens.py tests/data/oracle
"""

import json
import struct
import sys
from pathlib import Path

import cross_check
import numpy as np

# Cases whose index_head_dim is a power of two. Not `flash`: there a value lies so close to a
# rounding boundary that fp32 noise carries it across, and later positions choose other entries.
CASES = ("pro", "short")
STEPS = ("fp8", "bf16", "fp4", "hadamard")


def round_mantissa(x, bits, exponent_min):
    """Nearest multiple of the spacing of a float with `bits` stored mantissa bits; ties to even."""
    _, exponent = np.frexp(np.abs(x))  # |x| = m * 2^exponent, m in [0.5, 1)
    spacing = np.ldexp(1.0, np.maximum(exponent - 1, exponent_min) - bits)
    return np.rint(x / spacing) * spacing


def e4m3(x):
    return round_mantissa(np.clip(x, -448, 448), 3, -6)


def e2m1(x):
    return round_mantissa(np.clip(x, -6, 6), 1, 0)


def bf16(x):
    return round_mantissa(x, 7, -126)


def blockwise(x, width, encode, largest, floor):
    """Each run of `width` channels through `encode` at the smallest power of two that fits it."""
    out = np.empty_like(x)
    for at in range(0, x.shape[-1], width):
        part = x[..., at : at + width]
        peak = np.maximum(np.abs(part).max(-1, keepdims=True), floor).astype(np.float32)
        mantissa, exponent = np.frexp(peak * np.float32(1 / largest))
        scale = np.ldexp(1.0, exponent - (mantissa == 0.5))  # Up to the next power of two.
        out[..., at : at + width] = encode(part / scale) * scale
    return out


def hadamard(n):
    i = np.arange(n)
    signs = np.array([[bin(a & b).count("1") % 2 for b in i] for a in i])
    return (1 - 2 * signs) / np.sqrt(n)


class NativeForward(cross_check.Forward):
    def stored(self, rows):
        rope = self.c["qk_rope_head_dim"]
        nope, rotary = rows[..., :-rope], rows[..., -rope:]
        nope = nope if "fp8" in self.drop else blockwise(nope, 64, e4m3, 448, 1e-4)
        return np.concatenate([nope, rotary if "bf16" in self.drop else bf16(rotary)], axis=-1)

    def indexed(self, rows):
        if "hadamard" not in self.drop:
            rows = rows @ hadamard(rows.shape[-1])
        return rows if "fp4" in self.drop else blockwise(rows, 32, e2m1, 6, 6 * 2.0**-126)

    def window_rows(self, kv, t, compressed):
        return self.stored(super().window_rows(kv, t, compressed))

    def compress(self, x, name, ratio, norm_kind):
        entries = super().compress(x, name, ratio, norm_kind)
        if len(entries) == 0:
            return entries
        return self.indexed(entries) if norm_kind == "index_norm" else self.stored(entries)

    def index_queries(self, q, t):
        return self.indexed(super().index_queries(q, t))


def write_safetensors(path, name, values):
    values = np.ascontiguousarray(values, "<f4")
    entry = {"dtype": "F32", "shape": values.shape, "data_offsets": [0, values.nbytes]}
    header = json.dumps({name: entry}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + values.tobytes())


def main():
    for case in CASES:
        folder = Path(sys.argv[1]) / case
        config, weights = cross_check.load(folder)
        ids = cross_check.read_safetensors(folder / "goldens.safetensors")["ids"]
        logits = NativeForward(config, weights).logits(ids)
        write_safetensors(folder / "native.safetensors", "logits", logits)
        for step in STEPS:
            without = NativeForward(config, weights, {step}).logits(ids)
            print(
                case,
                "without",
                step,
                f"{np.abs(without - logits).max() / np.abs(logits).max():.1e}",
            )


if __name__ == "__main__":
    main()
