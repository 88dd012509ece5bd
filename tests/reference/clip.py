"""Tiny CLIP text encoders: last, last-but-one and pooled states, and LoRA gradients through them."""
import torch
import torch.nn.functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from common import generator, normal, randomise, write, write_model
from lora import UNET_TARGETS, adapt, gradients
from unet import case, tiny_unet

TEXT_TARGETS = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
VOCAB, BEGIN, END = 256, 254, 255


def tiny_text(act):
    config = CLIPTextConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=64, projection_dim=32, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=77, hidden_act=act, bos_token_id=BEGIN, eos_token_id=END, pad_token_id=END,
    )
    return randomise(CLIPTextModel(config), seed=30 + len(act))


def tiny_projection():
    """As the second text encoder of SDXL: exact gelu, a projection of another width, padding with id 0."""
    config = CLIPTextConfig(
        vocab_size=VOCAB, hidden_size=16, intermediate_size=32, projection_dim=10, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=77, hidden_act="gelu", bos_token_id=BEGIN, eos_token_id=END, pad_token_id=0,
    )
    return randomise(CLIPTextModelWithProjection(config), seed=50)


def ids(padding=END):
    """One short sentence with padding, one that fills all 77 places."""
    short = [BEGIN, *torch.randint(0, BEGIN, (9,), generator=generator(600)).tolist()]
    full = [BEGIN, *torch.randint(0, BEGIN, (75,), generator=generator(601)).tolist(), END]
    return torch.tensor([short + [END] + [padding] * (76 - len(short)), full])


def final_norm(text):
    return getattr(text, "text_model", text).final_layer_norm


def make_states():
    for act, folder in (("quick_gelu", "clip-quick-gelu"), ("gelu", "clip-gelu")):
        text = tiny_text(act)
        write_model(text, folder)
        with torch.no_grad():
            out = text(ids(), output_hidden_states=True)
            norm = final_norm(text)
            assert torch.allclose(norm(out.hidden_states[-1]), out.last_hidden_state, atol=1e-6)
            tensors = dict(ids=ids(), last=out.last_hidden_state, penultimate_normed=norm(out.hidden_states[-2]),
                           pooled=out.pooler_output)
        write(f"{folder}/cases.safetensors", tensors)


def make_projection():
    """States and pooled state as SDXL's pipeline takes them, and LoRA gradients of a sum over both, given weights."""
    text = tiny_projection()
    write_model(text, "clip-projection")
    adapt(text, TEXT_TARGETS, rank=2, alpha=1, seed=720)
    text.disable_adapters()
    with torch.no_grad():
        out = text(ids(padding=0), output_hidden_states=True)
    tensors = dict(ids=ids(padding=0), penultimate=out.hidden_states[-2], pooled=out.text_embeds)
    text.enable_adapters()
    out = text(ids(padding=0), output_hidden_states=True)
    states, pooled = out.hidden_states[-2], out.text_embeds
    d_states, d_pooled = normal(states.shape, 730), normal(pooled.shape, 731)
    ((states * d_states).sum() + (pooled * d_pooled).sum()).backward()
    found = {k.removeprefix("text_model."): v for k, v in gradients(text).items()}
    tensors |= found | {"lora.states": states, "lora.pooled": pooled, "d_states": d_states, "d_pooled": d_pooled}
    write("clip-projection/cases.safetensors", tensors, {"rank": "2", "alpha": "1"})


def make_joint_gradients():
    text = adapt(tiny_text("quick_gelu"), TEXT_TARGETS, rank=4, alpha=2, seed=700)
    unet, c = adapt(tiny_unet(), UNET_TARGETS, rank=4, alpha=2, seed=200), case("square")
    states = text(ids()).last_hidden_state
    loss = F.mse_loss(unet(c["latents"], c["timesteps"], states).sample, c["target"])
    loss.backward()
    found = {k.removeprefix("text_model."): v for k, v in gradients(text).items()}
    tensors = {f"text_encoder.{k}": v for k, v in found.items()} | {f"unet.{k}": v for k, v in gradients(unet).items()}
    write("clip-quick-gelu/joint-lora.safetensors", tensors | dict(states=states, loss=loss), {"rank": "4", "alpha": "2"})


def make():
    make_states()
    make_projection()
    make_joint_gradients()
