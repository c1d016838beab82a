"""Hugging Face transformers' DeepSeek-V4 on packed rows, with the losses of a step."""

import torch
from packed_rows import CSA, HCA, Masks
from transformers import DeepseekV4ForCausalLM
from transformers.models.deepseek_v4 import modeling_deepseek_v4 as modeling


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
