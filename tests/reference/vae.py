"""Tiny AutoencoderKLs with attention in the middle: moments of the encoder, output of the decoder.

`vae` is of Stable Diffusion's kind, `vae-flux` of FLUX's: 16 channels, no 1 x 1 convolutions around the latents, a shift.
"""
import torch
from diffusers import AutoencoderKL

from common import normal, randomise, write, write_model

SHARED = dict(
    in_channels=3, out_channels=3, layers_per_block=1, norm_num_groups=4, sample_size=32,
    block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
)
CONFIGS = {
    "vae": dict(latent_channels=4, scaling_factor=0.18215),
    "vae-flux": dict(
        latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False,
    ),
}
CASES = {"square": (2, 3, 16, 16), "wide": (1, 3, 16, 24)}


@torch.no_grad()
def make():
    for k, (folder, config) in enumerate(CONFIGS.items()):
        vae, out = randomise(AutoencoderKL(**SHARED, **config), seed=20 + k), {}
        write_model(vae, folder)
        for i, (name, shape) in enumerate(CASES.items()):
            picture = normal(shape, 500 + i).clamp(-1, 1)
            dist = vae.encode(picture).latent_dist
            latents = normal(dist.mean.shape, 510 + i)
            decoded = vae.decode(latents).sample
            case = dict(picture=picture, mean=dist.mean, logvar=dist.logvar, latents=latents, decoded=decoded)
            out |= {f"{name}.{k}": v for k, v in case.items()}
        write(f"{folder}/cases.safetensors", out)
