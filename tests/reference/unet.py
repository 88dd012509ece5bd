"""Tiny UNets of the SD 1.x, SD 2.x and SDXL layouts: output, and the gradients of a loss to latents and text states."""
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel

from common import normal, randomise, write, write_model

POOLED = 10
SHARED = dict(in_channels=4, out_channels=4)
# A number of heads and a depth of its own at every level: taking another level's shows.
SMALL = dict(
    sample_size=8, cross_attention_dim=12, norm_num_groups=2, layers_per_block=1, use_linear_projection=True,
)
CONFIGS = {
    "unet": dict(
        sample_size=16, cross_attention_dim=32, norm_num_groups=8,
        block_out_channels=(16, 32), layers_per_block=2, attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ),
    "unet-sd2": dict(
        **SMALL, upcast_attention=True, attention_head_dim=(1, 2, 4),
        block_out_channels=(8, 8, 16),  # layer norms over 4 channels make gradients that f32 holds to 1e-4 only
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    ),
    "unet-sdxl": dict(
        **SMALL, upcast_attention=None, attention_head_dim=(1, 2, 3), block_out_channels=(4, 8, 12),
        transformer_layers_per_block=(1, 1, 2),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=POOLED + 6 * 4,
    ),
}
TOKENS = {"unet": 77, "unet-sd2": 9, "unet-sdxl": 9}
# name: (latents shape, timesteps, original height and width, crop top and left, target height and width)
CASES = {
    "square": ((2, 4, 16, 16), (7.0, 923.0), ((768, 512, 0, 128, 1024, 1024), (1024, 1024, 8, 0, 1216, 832))),
    "wide": ((1, 4, 8, 16), (481.0,), ((600, 1200, 0, 0, 64, 128),)),
}


def tiny_unet(name="unet"):
    return randomise(UNet2DConditionModel(**SHARED, **CONFIGS[name]), seed=10 + list(CONFIGS).index(name))


def text_states(folder, batch, seed):
    return normal((batch, TOKENS[folder], CONFIGS[folder]["cross_attention_dim"]), seed)


def case(name, folder="unet"):
    """Latents, timesteps, text states and the target of the loss; for SDXL pooled states and the six numbers, too."""
    shape, t, ids = CASES[name]
    seed = 100 + 10 * list(CASES).index(name)
    c = dict(latents=normal(shape, seed), timesteps=torch.tensor(t), text=text_states(folder, shape[0], seed + 1),
             target=normal(shape, seed + 2))
    if folder == "unet-sdxl":
        c |= dict(pooled=normal((shape[0], POOLED), seed + 3), time_ids=torch.tensor(ids, dtype=torch.float32))
    return c


def run(unet, latents, c):
    added = dict(text_embeds=c["pooled"], time_ids=c["time_ids"]) if "pooled" in c else None
    return unet(latents, c["timesteps"], c["text"], added_cond_kwargs=added).sample


INPUTS = ("latents", "text", "pooled")


def loss_and_gradients(unet, c):
    """The output, the mean squared error and its gradients to the inputs."""
    inputs = [k for k in INPUTS if k in c]
    for k in inputs:
        c[k].requires_grad_()
    y = run(unet, c["latents"], c)
    loss = F.mse_loss(y, c["target"])
    loss.backward()
    return dict(output=y, loss=loss) | {f"grad_{k}": c[k].grad for k in inputs}


def make():
    for folder in CONFIGS:
        unet, out = tiny_unet(folder), {}
        write_model(unet, folder)
        for name in CASES:
            c = case(name, folder)
            c |= loss_and_gradients(unet, c)
            out |= {f"{name}.{k}": v for k, v in c.items()}
        write(f"{folder}/cases.safetensors", out)
