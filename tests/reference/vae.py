"""A tiny AutoencoderKL with attention in the middle: moments of the encoder, output of the decoder."""
import torch
from diffusers import AutoencoderKL

from common import normal, randomise, write, write_model

CONFIG = dict(
    in_channels=3, out_channels=3, latent_channels=4, layers_per_block=1, norm_num_groups=4, sample_size=32,
    block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    scaling_factor=0.18215,
)
CASES = {"square": (2, 3, 16, 16), "wide": (1, 3, 16, 24)}


@torch.no_grad()
def make():
    vae, out = randomise(AutoencoderKL(**CONFIG), seed=20), {}
    write_model(vae, "vae")
    for i, (name, shape) in enumerate(CASES.items()):
        picture = normal(shape, 500 + i).clamp(-1, 1)
        dist = vae.encode(picture).latent_dist
        latents = normal(dist.mean.shape, 510 + i)
        decoded = vae.decode(latents).sample
        case = dict(picture=picture, mean=dist.mean, logvar=dist.logvar, latents=latents, decoded=decoded)
        out |= {f"{name}.{k}": v for k, v in case.items()}
    write("vae/cases.safetensors", out)
