"""Does diffusers draw the same picture as `lorikeet sample` from a LoRA file that Lorikeet exported?

Loads the base folder, `load_lora_weights` of the file, starts from the given noise (tensor `noise` [1, c, h, w] in a safetensors file,
before scaling by the sampler), draws with DDIM and compares with the PNG: mean absolute difference under 2 of 255, or exit 1.
Several LORA NOISE PICTURE triples may follow each other.
"""
import argparse, sys
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

LIMIT = 2.0


def pipeline(base):
    pipe = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, timestep_spacing="leading")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe, noise, a):
    factor = 2 ** (len(pipe.vae.config.block_out_channels) - 1)
    out = pipe(
        a.prompt, negative_prompt=a.negative, num_inference_steps=a.steps, guidance_scale=a.cfg, latents=noise,
        height=noise.shape[2] * factor, width=noise.shape[3] * factor, output_type="np",
    )
    return Image.fromarray((out.images[0] * 255).round().astype("uint8"))


def difference(one, other):
    one, other = (np.asarray(i.convert("RGB"), np.float32) for i in (one, other))
    return float(np.abs(one - other).mean()), float(np.abs(one - other).max())


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("base", type=Path, help="diffusers folder")
    p.add_argument("triples", nargs="+", help="LORA.safetensors (or none) NOISE.safetensors PICTURE.png, any number of times")
    p.add_argument("--prompt", required=True)
    p.add_argument("--negative", default="")
    p.add_argument("--cfg", type=float, default=4.0)
    p.add_argument("--steps", type=int, default=25)
    p.add_argument("--strength", type=float, default=1.0)
    p.add_argument("--keep", type=Path, help="folder for the pictures that diffusers drew")
    a = p.parse_args()
    if len(a.triples) % 3:
        p.error("LORA NOISE PICTURE come in threes")
    pipe, worst = pipeline(a.base), 0.0
    for lora, noise, picture in zip(*[iter(a.triples)] * 3):
        pipe.unload_lora_weights()
        if lora != "none":
            pipe.load_lora_weights(lora, adapter_name="checked")
            pipe.set_adapters("checked", a.strength)
        start = load_file(noise)["noise"].float()
        drawn = draw(pipe, start, a)
        mean, most = difference(drawn, Image.open(picture))
        worst = max(worst, mean)
        layers = sum(hasattr(m, "lora_A") for part in (pipe.unet, pipe.text_encoder) for m in part.modules())
        print(f"{lora} {picture}: {layers} layers adapted, mean difference {mean:.3f} of 255, largest {most:.0f}", flush=True)
        if a.keep:
            a.keep.mkdir(parents=True, exist_ok=True)
            drawn.save(a.keep / f"diffusers-{Path(picture).name}")
    print("same" if worst < LIMIT else f"DIFFERENT: limit {LIMIT}")
    sys.exit(worst >= LIMIT)


if __name__ == "__main__":
    main()
