"""Muon, AdamW and their rates, as `baleen train` has them (model/training)."""

import math
import re

import torch

DEFAULTS = dict(
    matrix_rate=0.01, rest_rate=0.004, momentum=0.95, matrix_decay=0.1, update_rms=0.18,
    newton_schulz_fast=8, newton_schulz_stable=2, beta1=0.9, beta2=0.95, epsilon=1e-20,
    rest_decay=0.1,
)  # fmt: skip


def numbers(fields):
    return {k: v for k, v in fields.items() if k != "kind"}


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
