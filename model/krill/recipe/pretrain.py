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
"""

import argparse
import json
import math
import shutil
import sys
import time
from pathlib import Path

import numpy
import torch
import transformers
from official_names import official_tensors
from packed_rows import pack
from safetensors.torch import load_file, save_file
from torch_krill import Krill
from torch_updates import DEFAULTS, Updates, numbers, rate_share

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


def trained(krill):
    """What training may have changed, on the CPU, under the checkpoint's names."""
    state = {
        name: tensor.detach().cpu()
        for name, tensor in krill.model.state_dict().items()
        if ".indexer." not in name and not name.endswith("tid2eid")
    }
    # Copies: the parameters are views of a few large buffers.
    return {name: tensor.clone() for name, tensor in official_tensors(state).items()}


def save(krill, start, out):
    """START with what was trained; the indexer, the draft block and the hash tables as they are."""
    out.mkdir(parents=True, exist_ok=True)
    tensors = load_file(start / "model.safetensors")
    for name, tensor in trained(krill).items():
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
