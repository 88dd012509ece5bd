"""A tiny T5 v1.1 encoder over a text long enough to reach every bucket: states with and without a mask, LoRA gradients."""
import torch
import torch.nn.functional as F
from transformers import T5Config, T5EncoderModel

from common import generator, normal, randomise, write, write_model
from lora import adapt, gradients

VOCAB, LENGTH = 64, 150
TARGETS = ["q", "k", "v", "o", "wi_0", "wi_1", "wo"]


def tiny_t5():
    """Heads of 6 numbers beside a width of 20: nothing may take one for the other."""
    config = T5Config(
        vocab_size=VOCAB, d_model=20, d_kv=6, d_ff=32, num_layers=2, num_heads=3, feed_forward_proj="gated-gelu",
        relative_attention_num_buckets=32, relative_attention_max_distance=128, is_encoder_decoder=False, use_cache=False,
        attn_implementation="eager",
    )
    model = randomise(T5EncoderModel(config), seed=50)
    for block in model.encoder.block:  # unscaled scores: smaller queries keep the softmax soft
        block.layer[0].SelfAttention.q.weight.mul_(0.5)
    model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.normal_(generator=generator(51))
    return model


def ids():
    """One short text with padding, one that fills all places."""
    short = [*torch.randint(3, VOCAB, (9,), generator=generator(1400)).tolist(), 1]
    full = [*torch.randint(3, VOCAB, (LENGTH - 1,), generator=generator(1401)).tolist(), 1]
    return torch.tensor([short + [0] * (LENGTH - len(short)), full])


def make():
    model = tiny_t5()
    write_model(model, "t5")
    mask = (ids() != 0).long()
    with torch.no_grad():
        everything = model(ids(), attention_mask=torch.ones_like(mask)).last_hidden_state
        assert torch.allclose(everything, model(ids()).last_hidden_state, atol=1e-6)
        masked = model(ids(), attention_mask=mask).last_hidden_state
    write("t5/cases.safetensors", dict(ids=ids(), mask=mask, states=everything, masked=masked))

    model, target = adapt(tiny_t5(), TARGETS, rank=2, alpha=1, seed=1500), normal(everything.shape, 1600)
    states = model(ids()).last_hidden_state
    loss = F.mse_loss(states, target)
    loss.backward()
    write("t5/lora-gradients.safetensors", gradients(model) | dict(states=states, target=target, loss=loss), {"rank": "2", "alpha": "1"})
