#!/usr/bin/env python3
"""The long stages of Krill's training in PyTorch, through Hugging Face transformers' DeepSeek-V4.

    baleen train LONG.json --write-samples samples.jsonl     what each step learns from
    pretrain.py pack LONG.json samples.jsonl samples.npz     documents -> rows of one shape
    pretrain.py train LONG.json START samples.npz OUT        START, OUT: float32 model folders

Does what `baleen train LONG.json` does, on the same samples in the same steps, with the same
updates (Muon and AdamW, rates, routing bias, balance loss), and so follows the same loss curve;
README.md has both. Stages must leave the indexer, the draft block and the formats alone
(indexer off, mtp_weight 0, quantise false): their weights are copied from START, and a run of
`baleen train` that starts from OUT goes on with them. Needs torch, transformers >= 5.17,
safetensors and numpy; on a GPU each step is one captured graph.

Rows hold several documents; a document never sees another. Documents of 128 tokens and more begin
at a multiple of 128 and the shorter ones at a multiple of 4, so that compressor windows are the
document's own, and positions may count from the row's start: rope and entries are relative.
"""

import argparse
import json
import math
import re
import shutil
import sys
import time
from pathlib import Path

import numpy
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import DeepseekV4ForCausalLM
from transformers.models.deepseek_v4 import modeling_deepseek_v4 as modeling

CSA, HCA = 4, 128


# --- documents -> rows -----------------------------------------------------------------------


def place(documents, rows, length):
    """[(row, start)] per document, or None: the long ones first, each where it fits first."""
    used = [0] * rows
    places = [None] * len(documents)
    for i in sorted(range(len(documents)), key=lambda i: (-len(documents[i][0]), i)):
        size = len(documents[i][0])
        align = HCA if size >= HCA else CSA
        for row in range(rows):
            start = -(-used[row] // align) * align
            if start + size <= length:
                places[i] = (row, start)
                used[row] = start + size
                break
        else:
            return None
    return places


def steps_of(path):
    """Yields (step, [(tokens, weights)]) of a file that --write-samples wrote."""
    step, documents = 0, []
    with open(path) as lines:
        for line in lines:
            sample = json.loads(line)
            if sample["step"] != step:
                yield step, documents
                step, documents = sample["step"], []
            documents.append((sample["tokens"], sample["weights"]))
    yield step, documents


def packed(steps, length):
    """Arrays [steps, rows, length]: tokens; weight of predicting the next token; start of the
    document, -1 in padding."""
    rows = max(-(-sum(len(d[0]) for d in step) // length) for step in steps)
    while True:
        placed = [place(step, rows, length) for step in steps]
        if all(p is not None for p in placed):
            break
        rows += 1
    shape = (len(steps), rows, length)
    tokens = numpy.zeros(shape, numpy.uint16)
    weights = numpy.zeros(shape, numpy.float32)
    starts = numpy.full(shape, -1, numpy.int16)
    for s, (documents, places) in enumerate(zip(steps, placed, strict=True)):
        for (ids, weight), (row, start) in zip(documents, places, strict=True):
            end = start + len(ids)
            tokens[s, row, start:end] = ids
            weights[s, row, start : end - 1] = weight[1:]
            starts[s, row, start:end] = start
    return {"tokens": tokens, "weights": weights, "starts": starts}


def pack(config, samples, out):
    stages = config["stages"]
    lengths = [config["validation"]["length"]] + [stage["length"] for stage in stages]
    ends = numpy.cumsum([stage["steps"] for stage in stages])
    parts = [[] for _ in lengths]
    for step, documents in steps_of(samples):
        stage = 0 if step == 0 else 1 + int(numpy.searchsorted(ends, step))
        parts[stage].append(documents)
    arrays = {}
    for i, (steps, length) in enumerate(zip(parts, lengths, strict=True)):
        if not steps:
            continue
        for name, array in packed(steps, length).items():
            arrays[f"{i}.{name}"] = array
        print("validation" if i == 0 else stages[i - 1]["name"], arrays[f"{i}.tokens"].shape)
    numpy.savez_compressed(out, **arrays)


# --- the model -------------------------------------------------------------------------------


def dense_experts(self, hidden, chosen, weights):
    """All experts on all tokens, by weight: no shape depends on what was chosen."""
    share = torch.zeros(hidden.shape[0], self.num_experts, device=hidden.device)
    share = share.scatter(1, chosen, weights)
    inner = self._apply_gate(torch.matmul(hidden, self.gate_up_proj.transpose(1, 2)))
    inner = inner * share.t().unsqueeze(-1)
    return torch.matmul(inner, self.down_proj.transpose(1, 2)).sum(dim=0)


def no_choice(self, hidden, *unused):
    """The indexer left alone: entries are masked below, by document."""
    return torch.full((*hidden.shape[:2], 1), -1, dtype=torch.long, device=hidden.device)


class Masks:
    """What may see what in the rows of one step; additive, 0 or -inf."""

    def __init__(self, starts, window):
        position = torch.arange(starts.shape[1], device=starts.device)
        same = (starts.unsqueeze(2) == starts.unsqueeze(1)) & (starts >= 0).unsqueeze(2)
        distance = position.unsqueeze(1) - position.unsqueeze(0)
        near = (distance >= 0) & (distance < window)
        self.window = additive(same & near).unsqueeze(1)
        self.entries = {r: additive(self.visible(starts, r)).unsqueeze(1) for r in (CSA, HCA)}
        # The window before a document's first is not its own: no gate lets its overlap in.
        after = torch.nn.functional.pad(starts[:, CSA::CSA], (0, 1), value=-1)
        first = after == position[::CSA] + CSA
        self.leak = first.repeat_interleave(CSA, dim=1).float().unsqueeze(-1) * -1e9

    @staticmethod
    def visible(starts, ratio):
        begin, last = starts[:, ::ratio], starts[:, ratio - 1 :: ratio]
        begin = begin[:, : last.shape[1]]
        whole = (begin == last) & (begin >= 0) & (begin % ratio == 0)
        end = (torch.arange(last.shape[1], device=starts.device) + 1) * ratio
        position = torch.arange(starts.shape[1], device=starts.device)
        complete = end.unsqueeze(0) <= position.unsqueeze(1) + 1
        own = starts.unsqueeze(2) == torch.where(whole, begin, -2).unsqueeze(1)
        return own & complete


def additive(allowed):
    return torch.zeros(allowed.shape, device=allowed.device).masked_fill(~allowed, -math.inf)


class Krill:
    """transformers' model with the masks of packed rows, and the losses of a step."""

    def __init__(self, start, device):
        self.model = DeepseekV4ForCausalLM.from_pretrained(
            start, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
        )
        self.model.to(device).eval()  # It has nothing that training turns on.
        self.masks = None
        self.routed = []  # Per score-routed layer: (gate, scores, chosen).
        for module in self.model.modules():
            if isinstance(module, modeling.DeepseekV4CSACompressor):
                module.register_forward_hook(self.entries_hook(CSA))
                module.gate_proj.register_forward_hook(self.leak_hook(module.head_dim))
            elif isinstance(module, modeling.DeepseekV4HCACompressor):
                module.register_forward_hook(self.entries_hook(HCA))
            elif isinstance(module, modeling.DeepseekV4TopKRouter):
                module.register_forward_hook(self.on_route)
        modeling.DeepseekV4Experts.forward = dense_experts
        modeling.DeepseekV4Indexer.forward = no_choice

    def entries_hook(self, ratio):
        return lambda module, args, output: (output[0], self.masks.entries[ratio])

    def leak_hook(self, width):
        def hook(module, args, output):
            return torch.cat([output[..., :width] + self.masks.leak, output[..., width:]], dim=-1)

        return hook

    def on_route(self, module, args, output):
        self.routed.append((module, module.score_fn(output[0]), output[2]))

    def losses(self, rows, window):
        """Weighted mean cross entropy; shares of the tokens of weight 1 that are right."""
        self.masks = Masks(rows["starts"], window)
        self.routed = []
        tokens = rows["tokens"]
        logits = self.model(
            input_ids=tokens, attention_mask={"packed": self.masks.window}, use_cache=False
        ).logits
        weights = rows["weights"].flatten()
        targets = tokens.roll(-1, dims=1).flatten()
        entropy = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets, reduction="none"
        )
        loss = (entropy * weights).sum() / weights.sum()
        answers = (weights == 1).float()
        with torch.no_grad():
            right = (logits.flatten(0, 1).argmax(dim=-1) == targets).float()
            count = answers.sum().clamp(min=1)
            answer = torch.stack([(entropy * answers).sum(), (right * answers).sum()]) / count
        return loss, answer

    def balance(self, starts):
        """As the trainer's: per document E/(K T) sum_e choices_e mean score share_e, documents by
        their tokens."""
        present = (starts >= 0).flatten()
        same = (starts.unsqueeze(2) == starts.unsqueeze(1)) & (starts >= 0).unsqueeze(2)
        size = same.sum(dim=2).clamp(min=1).flatten()
        total = 0
        for module, scores, chosen in self.routed:
            share = scores / scores.sum(dim=-1, keepdim=True)
            hits = torch.zeros_like(scores).scatter(1, chosen, 1.0)
            load = torch.matmul(same.float(), hits.view(*starts.shape, -1)).flatten(0, 1)
            factor = module.num_experts / (module.top_k * size)
            total = total + ((load * share).sum(dim=-1) * factor * present).sum()
        return total / present.sum()

    @torch.no_grad()
    def update_routing_bias(self, starts, rate):
        present = (starts >= 0).flatten().float().unsqueeze(-1)
        for module, scores, chosen in self.routed:
            load = (torch.zeros_like(scores).scatter(1, chosen, 1.0) * present).sum(dim=0)
            module.e_score_correction_bias += rate * (load.sum() - module.num_experts * load).sign()


# --- updates ---------------------------------------------------------------------------------


def matrices_of(name, parameter, config):
    """[n, rows, cols] view for Muon, or None for AdamW. `name`: transformers'."""
    if parameter.dim() < 2 or name.endswith("position_bias"):
        return None
    if name in ("model.embed_tokens.weight", "lm_head.weight"):
        return None
    rows, cols = parameter.shape[-2:]
    if name.endswith("experts.gate_up_proj"):
        rows //= 2
    elif name.endswith("o_a_proj.weight"):
        rows //= config.o_groups
    elif re.search(r"compressor\.(kv|gate)_proj\.weight$", name):
        rows = config.head_dim
    return -1, rows, cols


class Updates:
    """Muon for matrices, AdamW for the rest, on stacked storage: few, large operations."""

    def __init__(self, krill, options):
        self.options = options
        groups, rest = {}, []
        for name, parameter in krill.model.named_parameters():
            if ".indexer." in name:
                parameter.requires_grad_(False)
                continue
            shape = matrices_of(name, parameter, krill.model.config)
            if shape is None:
                rest.append(parameter)
            else:
                groups.setdefault(shape[1:], []).append(parameter)
        self.groups = [self.stacked(parameters, shape) for shape, parameters in groups.items()]
        self.rest = self.stacked(rest, ())
        self.second = torch.zeros_like(self.rest["value"])
        device = self.second.device
        self.step = torch.zeros((), dtype=torch.float64, device=device)
        self.share = torch.zeros((), device=device)

    @staticmethod
    def stacked(parameters, shape):
        """Moves parameters and gradients into one buffer each."""
        value = torch.cat([p.data.flatten() for p in parameters])
        gradient = torch.zeros_like(value)
        at = 0
        for p in parameters:
            p.data = value[at : at + p.numel()].view(p.shape)
            p.grad = gradient[at : at + p.numel()].view(p.shape)
            at += p.numel()
        view = (-1, *shape)
        return {
            "value": value.view(view),
            "gradient": gradient.view(view),
            "first": torch.zeros_like(value).view(view),
        }

    def zero(self):
        for group in [*self.groups, self.rest]:
            group["gradient"].zero_()

    @torch.no_grad()
    def apply(self):
        o = self.options
        self.step += 1
        for group in self.groups:
            rate = self.share * o["matrix_rate"]
            first, gradient = group["first"], group["gradient"]
            first.mul_(o["momentum"]).add_(gradient)
            update = orthogonal(gradient + o["momentum"] * first, o)
            size = rate * (o["update_rms"] * math.sqrt(max(update.shape[1:])))
            group["value"].mul_(1 - rate * o["matrix_decay"]).sub_(update * size)
        rate = self.share * o["rest_rate"]
        gradient, first = self.rest["gradient"], self.rest["first"]
        first.mul_(o["beta1"]).add_(gradient, alpha=1 - o["beta1"])
        self.second.mul_(o["beta2"]).addcmul_(gradient, gradient, value=1 - o["beta2"])
        correct = [(1 / (1 - o[b] ** self.step)).float() for b in ("beta1", "beta2")]
        update = first * correct[0] / ((self.second * correct[1]).sqrt() + o["epsilon"])
        self.rest["value"].mul_(1 - rate * o["rest_decay"]).sub_(rate * update)


def orthogonal(x, options):
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if tall else x
    norm = x.square().sum(dim=(1, 2), keepdim=True).sqrt()
    x = torch.where(norm > 0, x / norm, 0.0)
    fast = [(3.4445, -4.7750, 2.0315)] * options["newton_schulz_fast"]
    stable = [(2.0, -1.5, 0.5)] * options["newton_schulz_stable"]
    for a, b, c in fast + stable:
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


def rate_share(step, steps, schedule):
    """Of step 0, 1, ...: as the trainer's schedule.cc."""
    warmup = schedule.get("warmup_steps", 60)
    share = min(1.0, (step + 1) / warmup) if warmup else 1.0
    start = steps - math.floor(schedule.get("decay_share", 0.35) * steps + 0.5)
    if step >= start:
        final = schedule.get("final_share", 0.02)
        share *= final + (1 - final) * max(0.0, (steps - 1 - step) / (steps - start))
    return share


# --- the loop --------------------------------------------------------------------------------

DEFAULTS = dict(
    matrix_rate=0.01, rest_rate=0.004, momentum=0.95, matrix_decay=0.1, update_rms=0.18,
    newton_schulz_fast=8, newton_schulz_stable=2, beta1=0.9, beta2=0.95, epsilon=1e-20,
    rest_decay=0.1,
)  # fmt: skip


WARM_STEPS = 3  # Outside of a graph, so that every library has its buffers.
TIMED_STEPS = 10


class Stage:
    """One shape of rows: its samples on the device, and the step on them, captured on a GPU."""

    def __init__(self, run, spec, arrays):
        self.run, self.spec = run, spec
        self.samples = arrays
        self.rows = {k: v[0].clone() for k, v in arrays.items()}
        self.graph, self.result, self.steps = None, None, 0
        self.captures = run.device.type == "cuda"

    def compute(self):
        run, starts = self.run, self.rows["starts"]
        run.updates.zero()
        loss, answer = run.krill.losses(self.rows, self.spec.get("window", run.window))
        balance = run.krill.balance(starts)
        (loss + self.spec.get("balance_weight", 1e-4) * balance).backward()
        run.updates.apply()
        run.krill.update_routing_bias(starts, run.bias_rate)
        return torch.stack([loss.detach(), answer[0], answer[1]])

    def step(self, index):
        for name, rows in self.rows.items():
            rows.copy_(self.samples[name][index % len(self.samples[name])])
        self.steps += 1
        if self.captures and self.steps == WARM_STEPS + 1:
            self.capture()
        if self.graph is not None:
            self.graph.replay()
            return self.result
        return self.compute()

    def capture(self):
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self.run.pool, stream=torch.cuda.current_stream()):
                self.result = self.compute()
            self.graph = graph
        except RuntimeError as error:
            print(f"no graph, step by step instead: {error}", flush=True)


class Run:
    def __init__(self, config, start, samples, device, minutes):
        self.device = torch.device(device)
        self.config = config
        self.window = config["model"]["sliding_window"]
        self.bias_rate = config.get("routing_bias_rate", 0.001)
        self.krill = Krill(start, self.device)
        self.updates = Updates(self.krill, DEFAULTS | numbers(config["optimiser"]))
        arrays = numpy.load(samples)
        self.validation = self.on_device(arrays, 0)
        self.stages = [
            Stage(self, spec, self.on_device(arrays, 1 + i))
            for i, spec in enumerate(config["stages"])
            if f"{1 + i}.tokens" in arrays
        ]
        self.steps = [stage.spec["steps"] for stage in self.stages]
        self.minutes = minutes
        # Graphs never run at once, and nothing in one outlives its step: one memory for all.
        self.pool = torch.cuda.graph_pool_handle() if self.device.type == "cuda" else None

    def on_device(self, arrays, part):
        def tensor(name, dtype):
            array = arrays[f"{part}.{name}"]
            signed = array.astype(numpy.int32) if array.dtype == numpy.uint16 else array
            return torch.from_numpy(signed).to(self.device).to(dtype)

        return {
            "tokens": tensor("tokens", torch.int64),
            "weights": tensor("weights", torch.float32),
            "starts": tensor("starts", torch.int64),
        }

    @torch.no_grad()
    def validate(self, window):
        scores, count = torch.zeros(3, device=self.device), 0
        for i in range(len(self.validation["tokens"])):
            rows = {k: v[i] for k, v in self.validation.items()}
            loss, answer = self.krill.losses(rows, window)
            scores += torch.stack([loss, *answer])
            count += 1
        return [x / count for x in scores.tolist()]

    def fit(self):
        """Scales the stages' steps to the minutes that the run was given; trains nothing."""
        before = [t.clone() for t in self.state()]
        self.updates.share.fill_(0)
        seconds = []
        for stage in self.stages:
            for index in range(WARM_STEPS + 1):
                stage.step(index).tolist()
            begin = time.monotonic()
            for index in range(TIMED_STEPS):
                result = stage.step(index)
            result.tolist()  # Waits for the device.
            seconds.append((time.monotonic() - begin) / TIMED_STEPS)
        for tensor, value in zip(self.state(), before, strict=True):
            tensor.copy_(value)
        cost = sum(n * s for n, s in zip(self.steps, seconds, strict=True))
        scale = (self.minutes * 60 - (time.monotonic() - self.began)) / cost
        self.steps = [max(1, int(n * scale)) for n in self.steps]
        print("seconds a step", [round(s, 4) for s in seconds], "steps", self.steps, flush=True)

    def state(self):
        updates = self.updates
        groups = [*updates.groups, updates.rest]
        biases = [b for n, b in self.krill.model.named_buffers() if n.endswith("correction_bias")]
        held = [group[key] for group in groups for key in ("value", "first")]
        return [*held, updates.second, updates.step, *biases]

    def go(self, out, every, on_border):
        self.began = time.monotonic()
        if self.minutes:
            self.fit()
        curves = open(out / "curves.csv", "w")
        print("step,stage,tokens,loss,answer_loss,answer_accuracy,rate_share,seconds,"
              "validation_loss,validation_answer_loss,validation_accuracy", file=curves)  # fmt: skip
        step, tokens, pending = 0, 0, []
        for s, stage in enumerate(self.stages):
            counts = (stage.samples["starts"] >= 0).flatten(1).sum(dim=1).tolist()
            index = 0
            while index < self.steps[s]:
                total = sum(self.steps)
                share = rate_share(step, total, self.config["schedule"])
                self.updates.share.fill_(share)
                result = stage.step(index).clone()
                tokens += counts[index % len(counts)]
                step, index = step + 1, index + 1
                pending.append((step, stage.spec["name"], tokens, result, share))
                if step % every == 0 or step == total:
                    self.report(curves, pending, stage, step % (every * 10) == 0 or step == total)
                    pending = []
                on_border(step, total)
            stage.graph = None
        curves.close()

    def report(self, curves, pending, stage, validate):
        seconds = time.monotonic() - self.began
        rows = torch.stack([p[3] for p in pending]).tolist()
        scores = self.validate(stage.spec.get("window", self.window)) if validate else None
        for i, ((step, name, tokens, _, share), row) in enumerate(zip(pending, rows, strict=True)):
            extra = scores if scores and i + 1 == len(pending) else ["", "", ""]
            print(step, name, tokens, *row, share, round(seconds, 2), *extra, sep=",", file=curves)
        curves.flush()
        last = rows[-1]
        print(f"step {pending[-1][0]} {stage.spec['name']}: {pending[-1][2] / 1e6:.1f} M tokens, "
              f"loss {last[0]:.4f}, answers {last[2]:.1%}, {seconds:.0f} s"
              + (f"; validation {scores[0]:.4f}, {scores[1]:.4f}, {scores[2]:.2%}" if scores else ""),
              flush=True)  # fmt: skip
        if not math.isfinite(last[0]):
            raise SystemExit(f"step {pending[-1][0]}: the loss is not finite; lower the rates")


def numbers(fields):
    return {k: v for k, v in fields.items() if k != "kind"}


# --- folders ---------------------------------------------------------------------------------

# transformers' name -> DeepSeek's, in order.
NAMES = (
    (r"^model\.", ""),
    (r"^lm_head\.", "head."),
    (r"^embed_tokens\.", "embed."),
    (r"^hc_head\.hc_", "hc_head_"),
    (r"\.(attn|ffn)_hc\.", r".hc_\1_"),
    (r"\.input_layernorm\.", ".attn_norm."),
    (r"\.post_attention_layernorm\.", ".ffn_norm."),
    (r"\.self_attn\.", ".attn."),
    (r"compressor\.kv_norm\.", "compressor.norm."),
    (r"\.mlp\.", ".ffn."),
    (r"\.sinks$", ".attn_sink"),
    (r"\.position_bias$", ".ape"),
    (r"\.q_a_proj\.", ".wq_a."),
    (r"\.q_b_proj\.", ".wq_b."),
    (r"\.kv_proj\.", ".wkv."),
    (r"\.q_a_norm\.", ".q_norm."),
    (r"\.o_a_proj\.", ".wo_a."),
    (r"\.o_b_proj\.", ".wo_b."),
    (r"compressor\.gate_proj\.", "compressor.wgate."),
    (r"\.e_score_correction_bias$", ".bias"),
    (r"shared_experts\.gate_proj\.", "shared_experts.w1."),
    (r"shared_experts\.up_proj\.", "shared_experts.w3."),
    (r"shared_experts\.down_proj\.", "shared_experts.w2."),
)


def checkpoint_tensors(state):
    tensors = {}
    for name, tensor in state.items():
        if ".indexer." in name or name.endswith("tid2eid"):
            continue
        tensor = tensor.detach().cpu()
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        if name.endswith("experts.gate_up_proj"):
            for e, expert in enumerate(tensor):
                for part, matrix in zip(("w1", "w3"), expert.chunk(2), strict=True):
                    tensors[name.replace("gate_up_proj", f"{e}.{part}.weight")] = matrix.clone()
        elif name.endswith("experts.down_proj"):
            for e, expert in enumerate(tensor):
                tensors[name.replace("down_proj", f"{e}.w2.weight")] = expert.clone()
        else:
            tensors[name] = tensor.clone()
    return tensors


def save(krill, start, out):
    """START with what was trained; the indexer, the draft block and the hash tables as they are."""
    out.mkdir(parents=True, exist_ok=True)
    tensors = load_file(start / "model.safetensors")
    for name, tensor in checkpoint_tensors(krill.model.state_dict()).items():
        if name not in tensors or tensors[name].shape != tensor.shape:
            raise SystemExit(f"'{start}' has no tensor {name} of shape {tuple(tensor.shape)}")
        tensors[name] = tensor.to(tensors[name].dtype)
    for other in start.iterdir():
        if other.suffix == ".json":
            shutil.copy(other, out / other.name)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


def check(config):
    for stage in config["stages"]:
        if stage.get("indexer", "off") != "off" or stage.get("quantise") or stage.get("mtp_weight") != 0:
            raise SystemExit(f"stage {stage['name']}: expected indexer off, mtp_weight 0 and no "
                             "quantise; leave such stages to `baleen train`")  # fmt: skip
    if config["optimiser"]["kind"] != "muon" or config["optimiser"].get("clip_norm"):
        raise SystemExit("optimiser: expected muon without clip_norm")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="documents -> rows of one shape per stage")
    packing.add_argument("config", type=Path)
    packing.add_argument("samples", type=Path, help="JSONL of `baleen train --write-samples`")
    packing.add_argument("out", type=Path, help=".npz")
    training = commands.add_parser("train", help="run the stages that the samples hold")
    training.add_argument("config", type=Path)
    training.add_argument("start", type=Path, help="float32 model folder")
    training.add_argument("samples", type=Path, help=".npz of pack")
    training.add_argument("out", type=Path, help="new float32 model folder; curves.csv beside it")
    training.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    training.add_argument("--minutes", type=float, default=0, help="scale the stages' steps to it")
    training.add_argument("--report-every", type=int, default=20)
    arguments = parser.parse_args()
    config = json.loads(arguments.config.read_text())
    check(config)
    if arguments.command == "pack":
        pack(config, arguments.samples, arguments.out)
        return
    torch.backends.cuda.matmul.allow_tf32 = True
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, "
          f"{arguments.device}", flush=True)  # fmt: skip
    run = Run(config, arguments.start, arguments.samples, arguments.device, arguments.minutes)
    stable = arguments.out / "before_decay"

    def on_border(step, total):
        if step == total - math.floor(config["schedule"].get("decay_share", 0.35) * total + 0.5):
            save(run.krill, arguments.start, stable)

    if run.device.type == "cuda":  # A graph isn't captured on the default stream.
        torch.cuda.synchronize()
        torch.cuda.set_stream(torch.cuda.Stream())
    run.go(arguments.out, arguments.report_every, on_border)
    for stage, steps in zip(config["stages"], run.steps):
        stage["steps"] = steps
    (arguments.out / "config_as_run.json").write_text(json.dumps(config, indent=1) + "\n")
    save(run.krill, arguments.start, arguments.out)


if __name__ == "__main__":
    sys.exit(main())
