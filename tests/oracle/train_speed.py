#!/usr/bin/env python3
"""Tokens per CPU second of a training step (forward and backward, no optimiser) of Hugging Face
transformers' DeepSeek-V4 on the CPU, for the config of tests/training/training_speed_test.cc.

Environment: tests/oracle/README.md. One thread, CPU time: neighbours on the machine don't count.
"""

import argparse
import time

import torch
from transformers import DeepseekV4Config, DeepseekV4ForCausalLM


def config():
    return DeepseekV4Config(
        vocab_size=2048,
        hidden_size=128,
        num_hidden_layers=6,
        compress_ratios=[0, 4, 4, 0, 4, 4],
        num_hash_layers=2,
        num_nextn_predict_layers=0,
        num_attention_heads=4,
        head_dim=160,
        qk_rope_head_dim=32,
        q_lora_rank=96,
        o_lora_rank=96,
        o_groups=2,
        sliding_window=64,
        index_n_heads=4,
        index_head_dim=64,
        index_topk=512,
        moe_intermediate_size=192,
        n_routed_experts=8,
        num_experts_per_tok=2,
        routed_scaling_factor=1.5,
        swiglu_limit=10.0,
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=1,
        attn_implementation="eager",
        experts_implementation="eager",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = DeepseekV4ForCausalLM(config()).train()
    ids = torch.randint(0, 2048, (4, 512))
    best = 0.0
    for _ in range(arguments.steps):
        model.zero_grad()
        start = time.process_time()
        logits = model(input_ids=ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        best = max(best, ids.numel() / (time.process_time() - start))
    count = sum(p.numel() for p in model.parameters())
    print(f"{count} parameters: best step {best:.0f} tokens per CPU second")


if __name__ == "__main__":
    main()
