"""Tiny UNets of the Stable Diffusion 1.x layout: output, and the gradients of a loss to latents and text states."""
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel

from common import normal, randomise, write, write_model

SHARED = dict(in_channels=4, out_channels=4, sample_size=16, cross_attention_dim=32, norm_num_groups=8)
CONFIGS = {
    "unet": dict(
        block_out_channels=(16, 32), layers_per_block=2, attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ),
    "unet-linear": dict(
        block_out_channels=(16, 32, 32), layers_per_block=1, attention_head_dim=2, use_linear_projection=True,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    ),
}
# name: (latents shape, timesteps)
CASES = {"square": ((2, 4, 16, 16), (7.0, 923.0)), "wide": ((1, 4, 8, 16), (481.0,))}


def tiny_unet(name="unet"):
    return randomise(UNet2DConditionModel(**SHARED, **CONFIGS[name]), seed=10 + list(CONFIGS).index(name))


def case(name):
    """Latents, timesteps, text states and the target of the loss."""
    shape, t = CASES[name]
    seed = 100 + 10 * list(CASES).index(name)
    text = normal((shape[0], 77, 32), seed + 1)
    return dict(latents=normal(shape, seed), timesteps=torch.tensor(t), text=text, target=normal(shape, seed + 2))


def make():
    for folder in CONFIGS:
        unet, out = tiny_unet(folder), {}
        write_model(unet, folder)
        for name in CASES:
            c = case(name)
            c["latents"].requires_grad_(), c["text"].requires_grad_()
            y = unet(c["latents"], c["timesteps"], c["text"]).sample
            loss = F.mse_loss(y, c["target"])
            loss.backward()
            c |= dict(output=y, loss=loss, grad_latents=c["latents"].grad, grad_text=c["text"].grad)
            out |= {f"{name}.{k}": v for k, v in c.items()}
        write(f"{folder}/cases.safetensors", out)
