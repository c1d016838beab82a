#!/usr/bin/env python3
"""Makes tests/data/training/gradients_<case>.safetensors: gradients that PyTorch's autograd computes
through Hugging Face transformers' DeepSeek-V4, in float64, on the checkpoints of tests/data/oracle.

Not run by `./dev test`. Environment and seeds: tests/oracle/README.md. The loss is the mean cross
entropy of the next token over the case's ids. Per parameter, under DeepSeek's name, the file holds
  the gradient's Euclidean norm,
  sum_i g_i c_i with c_i = +1 where the top bit of 2654435761 i mod 2^32 is 0, else -1,
  elements 0, s, 2s, ... of the flattened tensor, at most 12, s = ceil(n / 12),
as F32, so that every element takes part. `loss` is the loss. Indexer parameters have no gradient.
"""

import argparse
import platform
from pathlib import Path

import numpy
import torch
import transformers
from make_goldens import CASES, float64_casts, official_tensors, sha256
from safetensors.torch import load_file, save_file
from transformers import DeepseekV4ForCausalLM

SAMPLES = 12


def condensed(gradient):
    flat = gradient.flatten()
    index = torch.arange(flat.numel(), dtype=torch.int64)
    sign = 1 - 2 * (((index * 2654435761) & 0xFFFFFFFF) >> 31)
    stride = -(-flat.numel() // SAMPLES)
    summary = torch.stack([flat.norm(), (flat * sign).sum()])
    return torch.cat([summary, flat[::stride]]).float()


def make_case(case, oracle, out):
    model = DeepseekV4ForCausalLM.from_pretrained(
        oracle / case.name,
        dtype=torch.float32,
        attn_implementation="eager",
        experts_implementation="eager",
    )
    ids = load_file(oracle / case.name / "goldens.safetensors")["ids"][None]
    model.double().train()
    with float64_casts():
        logits = model(input_ids=ids, use_cache=False).logits[0]
        loss = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:])
        loss.backward()
    gradients = {
        n: (p.grad if p.grad is not None else torch.zeros_like(p))
        for n, p in model.named_parameters()
    }
    names = {n for n, p in model.named_parameters() if p.grad is not None}
    idle = sorted(n for n, _ in model.named_parameters() if n not in names)
    # Nothing reaches a compressor without a complete window.
    if any("compressor" not in n for n in idle):
        raise SystemExit(f"{case.name}: parameters without a gradient: {idle}")
    tensors = {"loss": loss.detach().reshape(1).float()}
    for name, gradient in official_tensors(gradients).items():
        if ".indexer." in name:
            continue
        tensors[name] = condensed(gradient)
    path = out / f"gradients_{case.name}.safetensors"
    save_file(tensors, path)
    print(case.name, loss.item(), len(tensors), path.stat().st_size)
    return path


def write_provenance(out, paths):
    sums = "\n".join(f"{sha256(p)}  {p.name}" for p in paths)
    (out / "PROVENANCE.md").write_text(f"""# Provenance

Made by `tests/oracle/make_gradients.py`, whose head says what the files hold; do not edit by hand.

- Command: `python tests/oracle/make_gradients.py tests/data/oracle tests/data/training`;
  environment: tests/oracle/README.md
- transformers {transformers.__version__}, torch {torch.__version__} on the CPU with one thread,
  numpy {numpy.__version__}, Python {platform.python_version()}, {platform.machine()}
- Reference: autograd through `transformers.DeepseekV4ForCausalLM` (Apache License 2.0), eager, in
  float64 as described in tests/data/oracle/PROVENANCE.md.
- Weights and token ids: those of tests/data/oracle, drawn from fixed seeds. Licence: this project's.

SHA-256:
```
{sums}
```
""")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("oracle", type=Path, help="tests/data/oracle")
    parser.add_argument("out", type=Path, help="tests/data/training")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    paths = [make_case(case, arguments.oracle, arguments.out) for case in CASES]
    write_provenance(arguments.out, paths)


if __name__ == "__main__":
    main()
