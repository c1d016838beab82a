#!/usr/bin/env python3
"""Makes tests/data/oracle/krill.safetensors: logits that Hugging Face transformers computes from
Krill, model/krill, on text that it was not trained on.

    make_krill_golden.py BALEEN model/krill tests/data/oracle/krill.safetensors

Not run by `./dev test`. Environment: tests/oracle/README.md. The FP4 and FP8 weights are expanded
here, by torch's own float types, and run in fp32 without quantisation steps: the engine's pure mode.
The file holds `ids` [T] I64, `positions` [P] I64, `logits` [P, vocab] F32 and `set_aside`, those
positions at which a choice of entries or experts was closer to a tie than make_goldens.py allows.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from make_goldens import GAP_MIN, float64_casts, recorded
from safetensors.torch import load_file, save_file
from transformers import DeepseekV4ForCausalLM

TOKENS, EVERY = 900, 30
FP4 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])  # E2M1; the top bit of four: sign


def expanded(name, tensors):
    """A stored tensor as fp32: codes of FP4 (two in a byte, low nibble first) or FP8 by scale."""
    tensor = tensors[name]
    if tensor.dtype == torch.int64 or tensor.dtype == torch.int32:
        return tensor
    scale = tensors.get(name.removesuffix("weight") + "scale")
    if scale is None or not name.endswith(".weight"):
        return tensor.float()
    scale = scale.view(torch.float8_e8m0fnu).float()
    if tensor.dtype == torch.int8:
        code = tensor.view(torch.uint8)
        code = torch.stack([code & 15, code >> 4], dim=-1).flatten(-2).long()
        value = FP4[code & 7] * (1 - 2 * (code >> 3))
        return value * scale.repeat_interleave(32, dim=1)
    rows, cols = tensor.shape
    scale = scale.repeat_interleave(128, dim=0)[:rows].repeat_interleave(128, dim=1)[:, :cols]
    return tensor.float() * scale


def transformers_model(folder, scratch):
    tensors = load_file(folder / "model.safetensors")
    full = {n: expanded(n, tensors).contiguous() for n in tensors if not n.endswith(".scale")}
    save_file(full, scratch / "model.safetensors", metadata={"format": "pt"})
    shutil.copy(folder / "config.json", scratch)
    model, report = DeepseekV4ForCausalLM.from_pretrained(
        scratch,
        dtype=torch.float32,
        attn_implementation="eager",
        experts_implementation="eager",
        output_loading_info=True,
    )
    if any(report[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")):
        raise SystemExit(f"transformers does not load it: {report}")
    return model.eval()


def text_ids(baleen, folder):
    """Conversations of the evaluation split, one after the other."""
    lines = subprocess.run(
        [baleen, "corpus", "--tokenizer", folder / "tokenizer.json", "--split", "evaluation",
         "--count", "20", "--json"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    ids = [i for line in lines.splitlines() for i in json.loads(line)["tokens"]]
    return torch.tensor([ids[:TOKENS]])


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("baleen")
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        model = transformers_model(arguments.folder, Path(scratch))
    ids = text_ids(arguments.baleen, arguments.folder)
    logits = model(input_ids=ids, use_cache=False).logits[0]
    index_gaps, expert_gaps = [], []
    model.double()
    with float64_casts(), recorded(model, index_gaps, expert_gaps, []):
        exact = model(input_ids=ids, use_cache=False).logits[0]
    closest = torch.cat([torch.stack(index_gaps), torch.stack(expert_gaps)]).min(dim=0).values
    positions = torch.arange(EVERY - 1, TOKENS, EVERY)
    save_file(
        {
            "ids": ids[0].contiguous(),
            "positions": positions,
            "logits": logits[positions].contiguous(),
            "set_aside": positions[closest[positions] < GAP_MIN].contiguous(),
        },
        arguments.out,
    )
    noise = (logits - exact).abs().max() / exact.abs().max()
    print(f"{len(positions)} positions of {TOKENS}; fp32 noise {noise:.1e}; closest choice "
          f"{closest.min():.1e}, {int((closest < GAP_MIN).sum())} of all positions set aside; "
          f"{arguments.out.stat().st_size} bytes")  # fmt: skip


if __name__ == "__main__":
    main()
