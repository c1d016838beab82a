#!/usr/bin/env python3
"""A second opinion on the goldens: DeepSeek-V4's forward pass in float64 numpy.

Written from the model's description, one function per stage, whole text at once; shares no code
with transformers, torch or this project's engine. Checks that the committed logits follow from the
committed weights (1e-4 of the largest |logit|), then leaves out one part at a time and prints how
far some logit moves, as sensitivity_test.cc does in the engine.
Needs numpy only. Usage: cross_check.py tests/data/oracle
"""

import json
import math
import re
import struct
import sys
from pathlib import Path

import numpy as np

RENAMES = (
    (r"^model\.", ""),
    (r"^lm_head", "head"),
    (r"^embed_tokens", "embed"),
    (r"^hc_head\.hc_", "hc_head_"),
    (r"(attn|ffn)_hc\.", r"hc_\1_"),
    (r"input_layernorm", "attn_norm"),
    (r"post_attention_layernorm", "ffn_norm"),
    (r"self_attn", "attn"),
    (r"compressor\.indexer\.scorer", "indexer"),
    (r"compressor\.indexer\.q_b_proj", "indexer.wq_b"),
    (r"compressor\.indexer", "indexer.compressor"),
    (r"\.attn\.norm\.", ".attn.kv_norm."),
    (r"compressor\.kv_norm", "compressor.norm"),
    (r"mlp\.", "ffn."),
    (r"sinks", "attn_sink"),
    (r"position_bias", "ape"),
    (r"q_a_proj", "wq_a"),
    (r"q_b_proj", "wq_b"),
    (r"kv_proj", "wkv"),
    (r"q_a_norm", "q_norm"),
    (r"o_a_proj", "wo_a"),
    (r"o_b_proj", "wo_b"),
    (r"compressor\.gate_proj", "compressor.wgate"),
    (r"e_score_correction_bias", "bias"),
    (r"shared_experts\.gate_proj", "shared_experts.w1"),
    (r"shared_experts\.up_proj", "shared_experts.w3"),
    (r"shared_experts\.down_proj", "shared_experts.w2"),
)


def read_safetensors(path):
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    tensors = {}
    for name, entry in json.loads(raw[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + o for o in entry["data_offsets"])
        kind = {"F32": "<f4", "I64": "<i8", "BF16": "<u2"}[entry["dtype"]]
        values = np.frombuffer(raw[begin:end], kind).reshape(entry["shape"])
        if entry["dtype"] == "BF16":
            values = (values.astype("<u4") << 16).view("<f4")
        tensors[name] = values if kind == "<i8" else values.astype(np.float64)
    return tensors


def load(folder):
    """config, {official name: float64}, with expert matrices fused as [experts, ...]."""
    weights = {}
    for name, value in read_safetensors(folder / "model.safetensors").items():
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        weights[name] = value
    config = json.loads((folder / "config.json").read_text())
    for l in range(config["num_hidden_layers"]):
        base = f"layers.{l}.ffn.experts."
        if base + "gate_up_proj" in weights:
            both = weights[base + "gate_up_proj"]
            weights[base + "w1"], weights[base + "w3"] = np.split(both, 2, axis=1)
            weights[base + "w2"] = weights[base + "down_proj"]
        else:
            for w in ("w1", "w2", "w3"):
                parts = [
                    weights[f"{base}{e}.{w}.weight"] for e in range(config["n_routed_experts"])
                ]
                weights[base + w] = np.stack(parts)
    return config, weights


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def rms(x, weight=1.0, eps=1e-6):
    return weight * x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)


class Forward:
    """`drop` names the parts to leave out; see PARTS."""

    def __init__(self, config, weights, drop=()):
        self.c, self.w, self.drop = config, weights, set(drop)

    def norm(self, x, name, kind):
        return rms(
            x, 1.0 if kind in self.drop else self.w[name + ".weight"], self.c["rms_norm_eps"]
        )

    def inv_freq(self, compressed):
        dim = self.c["qk_rope_head_dim"]
        p = self.c["rope_parameters"]["compress" if compressed else "main"]
        f = p["rope_theta"] ** (-np.arange(0, dim, 2) / dim)
        if p["rope_type"] == "yarn" and "yarn" not in self.drop:

            def corr(beta):
                turns = p["original_max_position_embeddings"] / (beta * 2 * math.pi)
                return dim * math.log(turns) / (2 * math.log(p["rope_theta"]))

            low, high = (
                max(math.floor(corr(p["beta_fast"])), 0),
                min(math.ceil(corr(p["beta_slow"])), dim - 1),
            )
            ramp = np.clip((np.arange(dim // 2) - low) / max(high - low, 0.001), 0, 1)
            f = f / p["factor"] * ramp + f * (1 - ramp)
        return f

    def rope(self, x, positions, compressed, sign=1):
        """x [tokens, ..., dim]: interleaved pairs of the last channels."""
        angle = np.outer(positions, self.inv_freq(compressed))
        n = angle.shape[1]
        angle = angle.reshape(len(positions), *([1] * (x.ndim - 2)), n)
        cos, sin = np.cos(angle), sign * np.sin(angle)
        out = x.copy()
        a, b = x[..., -2 * n :: 2], x[..., -2 * n + 1 :: 2]
        out[..., -2 * n :: 2], out[..., -2 * n + 1 :: 2] = a * cos - b * sin, a * sin + b * cos
        return out

    def hc(self, streams, site):
        n, c = self.c["hc_mult"], self.c
        z = streams.reshape(len(streams), -1)
        mix = (
            z
            @ self.w[site + "_fn"].T
            / np.sqrt((z * z).mean(-1, keepdims=True) + c["rms_norm_eps"])
        )
        scale, base = self.w[site + "_scale"], self.w[site + "_base"]
        pre = sigmoid(mix[:, :n] * scale[0] + base[:n]) + c["hc_eps"]
        if mix.shape[1] == n:
            return pre
        post = 2 * sigmoid(mix[:, n : 2 * n] * scale[1] + base[n : 2 * n])
        m = (mix[:, 2 * n :] * scale[2] + base[2 * n :]).reshape(-1, n, n)
        m = softmax(m, 2) + c["hc_eps"]
        m = m / (m.sum(1, keepdims=True) + c["hc_eps"])
        for _ in range(c["hc_sinkhorn_iters"] - 1):
            m = m / (m.sum(2, keepdims=True) + c["hc_eps"])
            m = m / (m.sum(1, keepdims=True) + c["hc_eps"])
        return pre, post, m

    def compress(self, x, name, ratio, norm_kind):
        """Entries of all complete windows, normed and rotated: [entries, dim]."""
        wkv, wgate, ape = (self.w[f"{name}.{k}"] for k in ("wkv.weight", "wgate.weight", "ape"))
        dim = wkv.shape[0] // (2 if ratio == 4 else 1)
        if "ape" in self.drop:
            ape = np.zeros_like(ape)
        if ratio == 4 and "overlap" in self.drop:
            wkv, wgate = (np.roll(w, dim, axis=0) for w in (wkv, wgate))
            ape = np.roll(ape, dim, axis=1)
        n = len(x) // ratio
        if n == 0:
            return np.zeros((0, dim))
        value = (x[: n * ratio] @ wkv.T).reshape(n, ratio, -1)
        gate = (x[: n * ratio] @ wgate.T).reshape(n, ratio, -1) + ape
        if ratio == 4:
            before = np.zeros((1, ratio, dim))
            value = np.concatenate(
                [np.concatenate([before, value[:-1, :, :dim]])[:n], value[:, :, dim:]], axis=1
            )
            gate = np.concatenate(
                [np.concatenate([before - np.inf, gate[:-1, :, :dim]])[:n], gate[:, :, dim:]],
                axis=1,
            )
        entries = self.norm((softmax(gate, 1) * value).sum(1), name + ".norm", norm_kind)
        return self.rope(entries, ratio * np.arange(n), True)

    def window_rows(self, kv, t, compressed):
        return self.rope(kv, t, compressed)

    def index_queries(self, q, t):
        return self.rope(q, t, True)

    def choose(self, x, xq, name, visible):
        """[tokens, entries] of bool: the indexer's selection among the visible entries."""
        c, t = self.c, np.arange(len(x))
        keys = self.compress(x, name + ".compressor", 4, "index_norm")
        heads, dim = c["index_n_heads"], c["index_head_dim"]
        q = (xq @ self.w[name + ".wq_b.weight"].T).reshape(-1, heads, dim)
        q = self.index_queries(q, t)
        w = x @ self.w[name + ".weights_proj.weight"].T / math.sqrt(heads * dim)
        score = np.einsum("thj,th->tj", np.maximum(np.einsum("thd,jd->thj", q, keys), 0), w)
        score = np.where(visible, score, -np.inf)
        order = np.argsort(-score, axis=1, kind="stable")[:, : c["index_topk"]]
        chosen = np.zeros_like(visible)
        np.put_along_axis(chosen, order, True, axis=1)
        return chosen & visible

    def attention(self, x, l):
        c, name, t = self.c, f"layers.{l}.attn", np.arange(len(x))
        ratio = {"s": 0, "c": 4, "h": 128}[c["layer_types"][l][0]]
        heads, dim = c["num_attention_heads"], c["head_dim"]
        xq = self.norm(x @ self.w[name + ".wq_a.weight"].T, name + ".q_norm", "q_norm")
        q = (xq @ self.w[name + ".wq_b.weight"].T).reshape(-1, heads, dim)
        q = self.rope(
            q if "head_norm" in self.drop else rms(q, 1.0, c["rms_norm_eps"]), t, ratio > 0
        )
        kv = self.norm(x @ self.w[name + ".wkv.weight"].T, name + ".kv_norm", "kv_norm")
        kv = self.window_rows(kv, t, ratio > 0)
        mask = (t[None] <= t[:, None]) & (t[None] > t[:, None] - c["sliding_window"])
        if ratio:
            entries = self.compress(x, name + ".compressor", ratio, "compressor_norm")
            seen = np.arange(len(entries))[None] < ((t + 1) // ratio)[:, None]
            if ratio == 4 and "indexer" not in self.drop and len(entries):
                seen = self.choose(x, xq, name + ".indexer", seen)
            if f"entries_{ratio}" in self.drop:
                seen = seen & False
            kv, mask = np.concatenate([kv, entries]), np.concatenate([mask, seen], axis=1)
        score = np.einsum("thd,jd->htj", q, kv) / math.sqrt(dim)
        score = np.where(mask[None], score, -np.inf)
        sink = np.broadcast_to(self.w[name + ".attn_sink"][:, None, None], (*score.shape[:2], 1))
        if "sink" in self.drop:
            sink = sink - 1e30
        p = softmax(np.concatenate([score, sink], axis=2), 2)[..., :-1]
        out = np.einsum("htj,jd->thd", p, kv)
        if "inverse_rope" not in self.drop:
            out = self.rope(out, t, ratio > 0, -1)
        groups = c["o_groups"]
        wo_a = self.w[name + ".wo_a.weight"].reshape(groups, c["o_lora_rank"], -1)
        z = np.einsum("tgd,grd->tgr", out.reshape(len(x), groups, -1), wo_a)
        return z.reshape(len(x), -1) @ self.w[name + ".wo_b.weight"].T

    def swiglu(self, x, w1, w3, w2, weight=1.0, shared=False):
        limit = (
            np.inf
            if "clamp" in self.drop or (shared and "shared_clamp" in self.drop)
            else self.c["swiglu_limit"]
        )
        gate, up = np.minimum(x @ w1.T, limit), np.clip(x @ w3.T, -limit, limit)
        return (weight * gate * sigmoid(gate) * up) @ w2.T

    def moe(self, x, ids, l):
        c, name = self.c, f"layers.{l}.ffn"
        scores = np.sqrt(np.logaddexp(0, x @ self.w[name + ".gate.weight"].T))
        if c["mlp_layer_types"][l] == "hash_moe":
            table = self.w[name + ".gate.tid2eid"]
            chosen = np.roll(table, 1, axis=0)[ids] if "hash" in self.drop else table[ids]
        else:
            bias = 0 if "route_bias" in self.drop else self.w[name + ".gate.bias"]
            chosen = np.argsort(-(scores + bias), axis=1, kind="stable")[
                :, : c["num_experts_per_tok"]
            ]
        weights = np.take_along_axis(scores, chosen, 1)
        weights = weights / weights.sum(1, keepdims=True) * c["routed_scaling_factor"]
        out = np.zeros_like(x)
        for e in range(c["n_routed_experts"]):
            t, k = np.nonzero(chosen == e)
            w1, w3, w2 = (self.w[f"{name}.experts.{w}"][e] for w in ("w1", "w3", "w2"))
            out[t] += self.swiglu(x[t], w1, w3, w2, weights[t, k][:, None])
        shared = [self.w[f"{name}.shared_experts.{w}.weight"] for w in ("w1", "w3", "w2")]
        return out + self.swiglu(x, *shared, shared=True)

    def site(self, streams, hc_name, norm_name, norm_kind, layer):
        pre, post, comb = self.hc(streams, hc_name)
        y = layer(self.norm((pre[..., None] * streams).sum(1), norm_name, norm_kind))
        if "comb" in self.drop:
            comb = comb.transpose(0, 2, 1)
        return post[..., None] * y[:, None] + np.einsum("tjk,tjd->tkd", comb, streams)

    def logits(self, ids):
        x = np.repeat(self.w["embed.weight"][ids][:, None], self.c["hc_mult"], axis=1)
        for l in range(self.c["num_hidden_layers"]):
            b = f"layers.{l}."
            x = self.site(
                x, b + "hc_attn", b + "attn_norm", "attn_norm", lambda u: self.attention(u, l)
            )
            x = self.site(
                x, b + "hc_ffn", b + "ffn_norm", "ffn_norm", lambda u: self.moe(u, ids, l)
            )
        x = (self.hc(x, "hc_head")[..., None] * x).sum(1)
        return self.norm(x, "norm", "final_norm") @ self.w["head.weight"].T


PARTS = (
    "indexer",
    "sink",
    "inverse_rope",
    "ape",
    "comb",
    "overlap",
    "hash",
    "clamp",
    "shared_clamp",
    "yarn",
    "route_bias",
    "head_norm",
    "q_norm",
    "kv_norm",
    "attn_norm",
    "ffn_norm",
    "compressor_norm",
    "index_norm",
    "final_norm",
    "entries_4",
    "entries_128",
)


def main():
    root = Path(sys.argv[1])
    folders = sorted(p.parent for p in root.glob("*/goldens.safetensors"))
    worst, moved = 0.0, {}
    for folder in folders:
        config, weights = load(folder)
        golden = read_safetensors(folder / "goldens.safetensors")
        peak = np.abs(golden["logits"]).max()
        keep = np.setdiff1d(np.arange(len(golden["ids"])), golden["set_aside"])
        off = (
            np.abs(Forward(config, weights).logits(golden["ids"]) - golden["logits"])[keep].max()
            / peak
        )
        worst = max(worst, off)
        print(f"{folder.name}: numpy - transformers = {off:.1e} of the largest |logit|", flush=True)
        for part in PARTS:
            got = Forward(config, weights, {part}).logits(golden["ids"])
            moved.setdefault(part, []).append(np.abs(got - golden["logits"]).max() / peak)
    print(f"{'left out':16s}" + "".join(f"{f.name:>9s}" for f in folders))
    for part, shifts in moved.items():
        print(f"{part:16s}" + "".join(f"{s:9.1e}" for s in shifts))
    if not folders or worst > 1e-4 or any(max(shifts) < 1e-2 for shifts in moved.values()):
        sys.exit("FAILED: goldens are missing, disagree by more than 1e-4, or do not see a part")


if __name__ == "__main__":
    main()
