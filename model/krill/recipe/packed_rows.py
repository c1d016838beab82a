"""Documents of a step -> rows of one shape, and what may see what in them.

Rows hold several documents; a document never sees another. Documents of 128 tokens and more begin
at a multiple of 128 and the shorter ones at a multiple of 4, so that compressor windows are the
document's own, and positions may count from the row's start: rope and entries are relative.
"""

import json
import math

import numpy
import torch

CSA, HCA = 4, 128


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
