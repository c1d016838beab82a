#!/usr/bin/env python3
"""Makes tests/data/oracle: tiny random DeepSeek-V4 checkpoints and the logits that Hugging Face
transformers computes from them.

Not run by `./dev test`, which reads the committed result and installs no torch. See README.md for
the commands. Per case it writes
  <case>/config.json, model.safetensors   as `save_pretrained` writes them
  <case>/goldens.safetensors              ids, logits, and how close each choice was to a tie
and, over all cases, PROVENANCE.md.
"""

import argparse
import contextlib
import dataclasses
import enum
import hashlib
import math
import platform
import shutil
import sys
import types
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import DeepseekV4Config, DeepseekV4ForCausalLM
from transformers.models.deepseek_v4 import modeling_deepseek_v4 as modeling

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "model" / "krill" / "recipe"))
from official_names import official_tensors  # noqa: E402

GAP_MIN = 1e-5  # Relative; below it fp32 noise may pick another entry or expert.


class Names(enum.Enum):
    """What the tensors of a file are called."""

    TRANSFORMERS = enum.auto()  # As in the modules: save_original_format=False.
    DEEPSEEK = enum.auto()  # As in the released checkpoints; renamed by OFFICIAL_NAMES below.
    SAVE_PRETRAINED = enum.auto()  # Its default, a mixture of both (see README.md).


@dataclasses.dataclass(frozen=True)
class Case:
    """One checkpoint. `ratios`: one per layer; `stored`: the dtype of the big matrices."""

    name: str
    seed: int
    tokens: int
    ratios: tuple
    hash_layers: int
    stored: torch.dtype
    names: Names
    dims: dict
    yarn: dict | None

    def config(self):
        rope = None
        if self.yarn is not None:
            rope = {"rope_type": "yarn", "rope_theta": 10000.0, **self.yarn}
        return DeepseekV4Config(
            num_hidden_layers=len(self.ratios),
            compress_ratios=list(self.ratios),
            num_hash_layers=self.hash_layers,
            rope_parameters=rope,
            num_nextn_predict_layers=0,
            max_position_embeddings=4096,
            bos_token_id=0,
            eos_token_id=1,
            attn_implementation="eager",
            experts_implementation="eager",
            **self.dims,
        )


CASES = (
    # V4-Flash's order of layers; window and top-k much shorter than the text; two HCA entries.
    Case(
        name="flash",
        seed=45,
        tokens=300,
        ratios=(0, 0, 4, 128, 4, 128),
        hash_layers=3,
        stored=torch.bfloat16,
        names=Names.TRANSFORMERS,
        dims=dict(
            vocab_size=96,
            hidden_size=48,
            num_attention_heads=4,
            head_dim=32,
            qk_rope_head_dim=16,
            q_lora_rank=24,
            o_lora_rank=16,
            o_groups=2,
            sliding_window=16,
            index_n_heads=8,
            index_head_dim=32,
            index_topk=8,
            moe_intermediate_size=24,
            n_routed_experts=8,
            num_experts_per_tok=3,
            routed_scaling_factor=1.5,
            swiglu_limit=1.25,
        ),
        yarn=dict(factor=4.0, original_max_position_embeddings=64, beta_fast=32, beta_slow=1),
    ),
    # V4-Pro's order: HCA first. The ramp of YaRN falls inside the rotary pairs.
    Case(
        name="pro",
        seed=29,
        tokens=270,
        ratios=(128, 128, 4, 128, 4),
        hash_layers=1,
        stored=torch.bfloat16,
        names=Names.DEEPSEEK,
        dims=dict(
            vocab_size=80,
            hidden_size=64,
            num_attention_heads=8,
            head_dim=24,
            qk_rope_head_dim=12,
            q_lora_rank=32,
            o_lora_rank=12,
            o_groups=4,
            sliding_window=32,
            index_n_heads=12,
            index_head_dim=16,
            index_topk=12,
            moe_intermediate_size=16,
            n_routed_experts=12,
            num_experts_per_tok=2,
            routed_scaling_factor=2.5,
            swiglu_limit=1.0,
            compress_rope_theta=2000.0,
        ),
        yarn=dict(factor=8.0, original_max_position_embeddings=64, beta_fast=4, beta_slow=1),
    ),
    # No dimension a multiple of a vector register, full fp32 weights.
    Case(
        name="odd",
        seed=68,
        tokens=203,
        ratios=(0, 4, 128, 4),
        hash_layers=1,
        stored=torch.float32,
        names=Names.TRANSFORMERS,
        dims=dict(
            vocab_size=67,
            hidden_size=61,
            num_attention_heads=9,
            head_dim=22,
            qk_rope_head_dim=10,
            q_lora_rank=19,
            o_lora_rank=7,
            o_groups=3,
            sliding_window=13,
            index_n_heads=11,
            index_head_dim=18,
            index_topk=7,
            moe_intermediate_size=17,
            n_routed_experts=7,
            num_experts_per_tok=3,
            routed_scaling_factor=1.75,
            swiglu_limit=1.5,
            hc_mult=3,
        ),
        yarn=dict(factor=4.0, original_max_position_embeddings=64, beta_fast=32, beta_slow=1),
    ),
    # Positions far beyond the original length, every expert of the layer chosen but one.
    Case(
        name="long",
        seed=47,
        tokens=700,
        ratios=(4, 128, 4),
        hash_layers=0,
        stored=torch.bfloat16,
        names=Names.TRANSFORMERS,
        dims=dict(
            vocab_size=72,
            hidden_size=40,
            num_attention_heads=4,
            head_dim=32,
            qk_rope_head_dim=8,
            q_lora_rank=20,
            o_lora_rank=16,
            o_groups=1,
            sliding_window=24,
            index_n_heads=12,
            index_head_dim=24,
            index_topk=16,
            moe_intermediate_size=20,
            n_routed_experts=5,
            num_experts_per_tok=4,
            routed_scaling_factor=1.5,
            swiglu_limit=1.0,
            hc_sinkhorn_iters=7,
        ),
        yarn=dict(factor=16.0, original_max_position_embeddings=32, beta_fast=8, beta_slow=1),
    ),
    # Never more entries than the indexer may choose: no choice of entries can differ. No YaRN.
    Case(
        name="short",
        seed=51,
        tokens=35,
        ratios=(4, 0, 128),
        hash_layers=1,
        stored=torch.bfloat16,
        names=Names.SAVE_PRETRAINED,
        dims=dict(
            vocab_size=64,
            hidden_size=32,
            num_attention_heads=2,
            head_dim=16,
            qk_rope_head_dim=8,
            q_lora_rank=16,
            o_lora_rank=8,
            o_groups=2,
            sliding_window=8,
            index_n_heads=4,
            index_head_dim=16,
            index_topk=9,
            moe_intermediate_size=16,
            n_routed_experts=4,
            num_experts_per_tok=2,
            routed_scaling_factor=1.5,
            swiglu_limit=1.0,
        ),
        yarn=None,
    ),
)


def draw(name, shape, config, rng):
    """Random values at which each parameter matters."""
    noise = torch.randn(shape, generator=rng)
    if name.endswith("tid2eid"):
        rows = [
            torch.randperm(config.n_routed_experts, generator=rng)[: shape[1]]
            for _ in range(shape[0])
        ]
        return torch.stack(rows)
    if "norm" in name:
        return 1 + 0.2 * noise
    if name.endswith(("sinks", "position_bias")):
        return noise + (1.0 if name.endswith("sinks") else 0.0)
    if name.endswith("e_score_correction_bias"):
        return 0.3 * noise
    if name.endswith(("hc.base", "hc_base")):
        return 0.7 * noise  # An asymmetric comb even at mix = 0.
    if name.endswith(("hc.scale", "hc_scale")):
        return 1 + 0.2 * noise
    if name.endswith("embed_tokens.weight"):
        return noise
    gain = 1.0
    if name.endswith(
        (
            "gate_up_proj",
            "shared_experts.gate_proj.weight",
            "shared_experts.up_proj.weight",
            "mlp.gate.weight",
            "compressor.gate_proj.weight",
        )
    ):
        gain = 1.5  # Pre-activations beyond the clamp; gates and routers far from uniform.
    return gain * noise / math.sqrt(shape[-1])


def build(case):
    """The random model of a case; matrices already hold the values their stored dtype can hold."""
    torch.manual_seed(case.seed)  # Nothing below draws from the global generator; this is a belt.
    config = case.config()
    model = DeepseekV4ForCausalLM(config).eval()
    rng = torch.Generator().manual_seed(case.seed)
    for name, tensor in model.state_dict().items():
        tensor.copy_(draw(name, tensor.shape, config, rng))
    matrices = [
        p
        for n, p in model.named_parameters()
        if p.dim() >= 2 and "hc" not in n and "position_bias" not in n
    ]
    for parameter in matrices:
        parameter.data = parameter.data.to(case.stored)
    ids = torch.randint(0, config.vocab_size, (1, case.tokens), generator=rng)
    return model, ids


def save_and_reload(case, folder):
    """Saves, then loads what was saved, so that goldens belong to the committed bytes."""
    model, ids = build(case)
    model.save_pretrained(folder, save_original_format=case.names is Names.SAVE_PRETRAINED)
    (folder / "generation_config.json").unlink()
    if case.names is Names.DEEPSEEK:
        save_file(official_tensors(model.state_dict()), folder / "model.safetensors", metadata={"format": "pt"})
    loaded, report = DeepseekV4ForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="eager",
        experts_implementation="eager",
        output_loading_info=True,
    )
    if any(report[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")):
        raise SystemExit(f"{case.name}: transformers does not load its own file: {report}")
    for name, tensor in model.state_dict().items():
        if not torch.equal(loaded.state_dict()[name].double(), tensor.double()):
            raise SystemExit(f"{case.name}: {name} changed between save and load")
    return loaded.eval(), ids


# --- the same model in float64 ---------------------------------------------------------------
# modeling_deepseek_v4.py casts to float32 by name inside its forward functions, so `.double()`
# alone would leave those steps in fp32. Under this context every such cast goes to float64. The
# rotary angles stay fl32(position * inv_freq), which is part of the model's definition.


def exact_rotary(self, x, position_ids, layer_type=None):
    inv_freq = getattr(self, f"{layer_type}_inv_freq").to(torch.float32)
    angles = (position_ids[..., None].to(torch.float32) * inv_freq).to(torch.float64)
    scaling = getattr(self, f"{layer_type}_attention_scaling")
    return (angles.cos() * scaling).to(x.dtype), (angles.sin() * scaling).to(x.dtype)


class Float64Torch(types.ModuleType):
    float32 = torch.float64
    float = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@contextlib.contextmanager
def float64_casts():
    saved_float, saved_forward = torch.Tensor.float, modeling.DeepseekV4RotaryEmbedding.forward
    torch.Tensor.float = torch.Tensor.double
    modeling.torch = Float64Torch("torch")
    modeling.DeepseekV4RotaryEmbedding.forward = exact_rotary
    try:
        yield
    finally:
        torch.Tensor.float = saved_float
        modeling.torch = torch
        modeling.DeepseekV4RotaryEmbedding.forward = saved_forward


def kth_gap(scores, k, visible):
    """Per row of scores [T, N]: (k-th best - next) / largest magnitude, over the first visible[t]
    columns; infinity where there is nothing to leave out."""
    gaps = torch.full((scores.shape[0],), math.inf, dtype=torch.float64)
    for t in range(scores.shape[0]):
        row = scores[t, : visible[t]]
        if row.numel() > k:
            best = row.sort(descending=True).values
            gaps[t] = (best[k - 1] - best[k]) / row.abs().max()
    return gaps


@contextlib.contextmanager
def recorded(model, index_gaps, expert_gaps, clamps):
    """Hooks that note how close to a tie each choice was, and how often the clamp bit."""
    config = model.config
    hooks = []

    def on_index(module, args, scores):
        visible = [(t + 1) // 4 for t in range(scores.shape[1])]
        index_gaps.append(kth_gap(scores[0], config.index_topk, visible))

    def on_route(module, args, output):
        scores = module.score_fn(output[0]) + module.e_score_correction_bias
        visible = [scores.shape[1]] * scores.shape[0]
        expert_gaps.append(kth_gap(scores, module.top_k, visible))

    def on_up(module, args, output):
        clamps.append((output.abs() > config.swiglu_limit).double().mean().item())

    for module in model.modules():
        if isinstance(module, modeling.DeepseekV4IndexerScorer):
            hooks.append(module.register_forward_hook(on_index))
        elif isinstance(module, modeling.DeepseekV4TopKRouter):
            hooks.append(module.register_forward_hook(on_route))
        elif isinstance(module, modeling.DeepseekV4MLP):
            hooks.append(module.up_proj.register_forward_hook(on_up))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def stacked(gaps, tokens):
    return torch.stack(gaps) if gaps else torch.zeros((0, tokens), dtype=torch.float64)


@torch.no_grad()
def make_case(case, root):
    folder = root / case.name
    shutil.rmtree(folder, ignore_errors=True)
    model, ids = save_and_reload(case, folder)
    logits = model(input_ids=ids, use_cache=False).logits[0]

    index_gaps, expert_gaps, clamps = [], [], []
    model.double()
    with float64_casts(), recorded(model, index_gaps, expert_gaps, clamps):
        exact = model(input_ids=ids, use_cache=False).logits[0]
    if exact.dtype != torch.float64:
        raise SystemExit(f"{case.name}: the float64 run returned {exact.dtype}")

    index_gap, expert_gap = stacked(index_gaps, case.tokens), stacked(expert_gaps, case.tokens)
    closest = torch.cat([index_gap, expert_gap]).min(dim=0).values
    aside = (closest < GAP_MIN).nonzero().flatten()
    save_file(
        {
            "ids": ids[0].contiguous(),
            "logits": logits.float().contiguous(),
            "index_gap": index_gap.float().contiguous(),
            "expert_gap": expert_gap.float().contiguous(),
            "set_aside": aside.contiguous(),
        },
        folder / "goldens.safetensors",
    )
    peak = exact.abs().max()
    figures = dict(
        case=case.name,
        tokens=case.tokens,
        layers=" ".join(map(str, case.ratios)),
        noise=f"{((logits - exact).abs().max() / peak).item():.1e}",
        index_gap=f"{index_gap.min().item() if len(index_gaps) else math.inf:.1e}",
        expert_gap=f"{expert_gap.min().item() if len(expert_gaps) else math.inf:.1e}",
        aside=len(aside),
        clamped=f"{sum(clamps) / len(clamps):.0%}",
        peak=f"{peak.item():.2f}",
        bytes=sum(f.stat().st_size for f in folder.iterdir()),
    )
    print(figures)
    return figures


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_provenance(root, figures):
    columns = list(figures[0])
    table = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    table += ["| " + " | ".join(str(row[c]) for c in columns) + " |" for row in figures]
    files = sorted([*root.glob("*/[gm]*.safetensors"), *root.glob("*.safetensors")])
    sums = [f"{sha256(p)}  {p.relative_to(root)}" for p in files]
    text = f"""# Provenance

Made by `tests/oracle/make_goldens.py`; do not edit by hand.

- Command: `python tests/oracle/make_goldens.py tests/data/oracle`; environment:
  tests/oracle/README.md
- transformers {transformers.__version__}, torch {torch.__version__} on the CPU with one thread,
  Python {platform.python_version()}, {platform.machine()}
- Reference: `transformers.DeepseekV4ForCausalLM` (Apache License 2.0), unmodified for the fp32
  logits: eager attention, eager experts, no cache, one call over the whole text. Only the float64
  run, which gives the gaps below, redirects that file's casts from float32 to float64.
- Weights and token ids: drawn by the script from fixed seeds; no third party's data. Licence: this
  project's.

Columns: `noise` = largest |fp32 - float64| of transformers' own logits over the largest |logit|;
`index_gap`, `expert_gap` = the closest any choice of entries or experts came to a tie (relative,
float64 run); `aside` = positions with a gap below {GAP_MIN:g}; `clamped` = share of shared-expert
up values beyond swiglu_limit; `peak` = largest |logit|.

{chr(10).join(table)}

goldens.safetensors: `ids` [T] I64, `logits` [T, vocab] F32, `index_gap` [CSA layers, T] and
`expert_gap` [score-routed layers, T] F32 (infinity: no choice), `set_aside` [n] I64 positions.
native.safetensors: `logits` [T, vocab] F32 with the quantisation steps of native mode, which
transformers lacks; made by `python tests/oracle/native_goldens.py tests/data/oracle` (numpy).
krill.safetensors: what transformers computes from model/krill, on conversations of Baleen's own
generator; made by `make_krill_golden.py`, whose head says what it holds. Licence: this project's.

SHA-256:
```
{chr(10).join(sums)}
```
"""
    (root / "PROVENANCE.md").write_text(text)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="output folder, e.g. tests/data/oracle")
    parser.add_argument("--only", help="make one case and leave PROVENANCE.md alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases = [c for c in CASES if arguments.only in (None, c.name)]
    figures = [make_case(case, arguments.root) for case in cases]
    if arguments.only is None:
        write_provenance(arguments.root, figures)


if __name__ == "__main__":
    main()
