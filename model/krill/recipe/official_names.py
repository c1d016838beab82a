"""DeepSeek's names for the tensors of transformers' DeepSeek-V4; tests/oracle uses them, too."""

import re

# transformers name -> DeepSeek's, in order.
OFFICIAL_NAMES = (
    (r"^model\.", ""),
    (r"^lm_head\.", "head."),
    (r"^embed_tokens\.", "embed."),
    (r"^hc_head\.hc_", "hc_head_"),
    (r"\.(attn|ffn)_hc\.", r".hc_\1_"),
    (r"\.input_layernorm\.", ".attn_norm."),
    (r"\.post_attention_layernorm\.", ".ffn_norm."),
    (r"\.self_attn\.compressor\.indexer\.scorer\.", ".attn.indexer."),
    (r"\.self_attn\.compressor\.indexer\.q_b_proj\.", ".attn.indexer.wq_b."),
    (r"\.self_attn\.compressor\.indexer\.", ".attn.indexer.compressor."),
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


def official_tensors(state):
    """A state_dict of transformers' under DeepSeek's names, one tensor per expert."""
    tensors = {}
    for name, tensor in state.items():
        for pattern, replacement in OFFICIAL_NAMES:
            name = re.sub(pattern, replacement, name)
        if name.endswith("experts.gate_up_proj"):
            for e, expert in enumerate(tensor):
                w1, w3 = expert.chunk(2)
                tensors[name.replace("gate_up_proj", f"{e}.w1.weight")] = w1.contiguous()
                tensors[name.replace("gate_up_proj", f"{e}.w3.weight")] = w3.contiguous()
        elif name.endswith("experts.down_proj"):
            for e, expert in enumerate(tensor):
                tensors[name.replace("down_proj", f"{e}.w2.weight")] = expert.contiguous()
        else:
            tensors[name] = tensor.contiguous()
    return tensors
