#!/usr/bin/env python3
"""Muon against AdamW on the same model, samples and start: steps to the same validation loss.

    compare_optimisers.py BALEEN TOKENIZER OUT [--seeds 3] [--threads 0]

Trains a 4-layer DeepSeek-V4 from the structured start with each optimiser at each of five rates
for the matrices and with each seed; the other parameters have AdamW at one rate throughout. Writes
OUT/curves.csv (optimiser, rate, seed, step, validation loss and accuracy of every run) and prints
how many steps each took to the loss that the best AdamW rate ends with. Runs already there are kept.
"""

import argparse
import csv
import json
import statistics
import subprocess
from pathlib import Path

RATES = (0.0003, 0.001, 0.003, 0.01, 0.03)
STEPS, EVERY = 60, 3


def config(tokenizer, optimiser, rate, seed):
    def conversations(**fields):
        return {"kind": "conversations", "tokenizer": str(tokenizer), "tokens_max": 256, **fields}

    return {
        "model": {
            "model_type": "deepseek_v4", "vocab_size": 2048, "hidden_size": 128,
            "num_hidden_layers": 4, "compress_ratios": [0, 4, 4, 4],
            "num_attention_heads": 4, "head_dim": 160, "qk_rope_head_dim": 32,
            "q_lora_rank": 128, "o_lora_rank": 96, "o_groups": 2, "sliding_window": 32,
            "index_n_heads": 8, "index_head_dim": 64, "index_topk": 64,
            "moe_intermediate_size": 64, "n_routed_experts": 8, "n_shared_experts": 1,
            "num_experts_per_tok": 2, "num_hash_layers": 1, "routed_scaling_factor": 1.5,
            "swiglu_limit": 10, "hc_mult": 4, "hc_sinkhorn_iters": 20,
            "max_position_embeddings": 65536, "num_nextn_predict_layers": 0,
            "bos_token_id": 0, "eos_token_id": 1,
        },
        "seed": seed,
        "start": {"kind": "structured"},
        "optimiser": {"kind": optimiser, "matrix_rate": rate, "rest_rate": 0.004},
        "schedule": {"warmup_steps": 10, "decay_share": 0.35, "final_share": 0.02},
        "stages": [{
            "name": "mix", "steps": STEPS, "length": 256, "rows": 4, "micro_batches": 2,
            "sources": [conversations(share=1), {"kind": "synthetic", "token_low": 272, "share": 0.3}],
        }],
        "validation": {"every_steps": EVERY, "batches": 2, "rows": 4, "length": 256,
                       "sources": [conversations(share=1, split="validation")]},
        "checkpoint": {"every_steps": STEPS, "keep": 1},
        "export": [],
    }  # fmt: skip


def train(arguments, optimiser, rate, seed):
    """[(step, validation loss, validation accuracy)] of one run."""
    name = f"{optimiser}-{rate}-{seed}"
    log = arguments.out / f"{name}.jsonl"
    if not log.exists():
        path = arguments.out / f"{name}.json"
        path.write_text(json.dumps(config(arguments.tokenizer, optimiser, rate, seed), indent=1))
        run = subprocess.run(
            [arguments.baleen, "train", path, "--out", arguments.out / name, "--json",
             "--threads", str(arguments.threads)],
            stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        if run.returncode != 0:
            print(f"{name}: broken off by a guard", flush=True)
        log.write_text(run.stdout)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return [(r["step"], r["validation_loss"], r["validation_accuracy"])
            for r in rows if "validation_loss" in r]  # fmt: skip


def steps_to(curve, loss):
    """Where the curve first reaches `loss`, interpolated between validations; None: never."""
    last = None
    for step, value, _ in curve:
        if value <= loss:
            if last is None:
                return float(step)
            return last[0] + (step - last[0]) * (last[1] - loss) / (last[1] - value)
        last = (step, value)
    return None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("baleen")
    parser.add_argument("tokenizer", type=Path, help="tokenizer.json, such as Krill's")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    arguments.tokenizer = arguments.tokenizer.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    curves = {}
    for seed in range(1, arguments.seeds + 1):
        for optimiser in ("muon", "adamw"):
            for rate in RATES:
                curve = train(arguments, optimiser, rate, seed)
                curves[optimiser, rate, seed] = curve
                end = f"{curve[-1][1]:.4f} at step {curve[-1][0]}" if curve else "nothing"
                print(f"{optimiser} {rate} seed {seed}: validation loss {end}", flush=True)
    with open(arguments.out / "curves.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["optimiser", "rate", "seed", "step", "validation_loss", "accuracy"])
        for (optimiser, rate, seed), curve in curves.items():
            for step, loss, accuracy in curve:
                writer.writerow([optimiser, rate, seed, step, f"{loss:.5f}", f"{accuracy:.5f}"])

    def end(optimiser, rate):
        ends = [curves[optimiser, rate, s][-1][1] if curves[optimiser, rate, s] else float("inf")
                for s in range(1, arguments.seeds + 1)]  # fmt: skip
        return statistics.median(ends)

    target = min(end("adamw", rate) for rate in RATES)
    print(f"loss to reach: {target:.4f}, the median end of AdamW's best rate")
    best = {}
    for optimiser in ("muon", "adamw"):
        for rate in RATES:
            steps = [steps_to(curves[optimiser, rate, s], target)
                     for s in range(1, arguments.seeds + 1)]  # fmt: skip
            shown = ["never" if s is None else f"{s:.0f}" for s in steps]
            print(f"{optimiser:6} {rate:<6} end {end(optimiser, rate):.4f}  steps: {' '.join(shown)}")
            reached = statistics.median(float("inf") if s is None else s for s in steps)
            best[optimiser] = min(best.get(optimiser, float("inf")), reached)
    print(f"steps, median of seeds at the best rate: Muon {best['muon']:.0f}, "
          f"AdamW {best['adamw']:.0f}: {best['adamw'] / best['muon']:.2f} times fewer")  # fmt: skip


if __name__ == "__main__":
    main()
