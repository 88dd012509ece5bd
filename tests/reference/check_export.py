"""Does diffusers draw the same picture as `lorikeet sample` from a LoRA file that Lorikeet exported? SD 1.x, 2.x, SDXL, FLUX.1.

Loads the base folder, `load_lora_weights` of the file, starts from the given noise (tensor `noise` [1, c, h, w] in a safetensors file,
before scaling by the sampler), draws and compares with the PNG. Exit 1 when the mean absolute difference reaches the limit, when
diffusers leaves a layer of the file out, or when the LoRA changes the picture by less than twice the limit.
Several LORA NOISE PICTURE triples may follow each other.
"""
import argparse, inspect, json, sys
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, EulerDiscreteScheduler
from diffusers.loaders import lora_conversion_utils, lora_pipeline
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

SAMPLERS = {"ddim": DDIMScheduler, "euler": EulerDiscreteScheduler}
# As every Stable Diffusion has it, also where the folder names a scheduler that does not know the last two.
SCHEDULE = dict(timestep_spacing="leading", clip_sample=False, set_alpha_to_one=False)


def is_flux(pipe):
    return hasattr(pipe, "transformer")


def pipeline(base, sampler):
    more = {}
    if json.loads((base / "model_index.json").read_text())["_class_name"] == "StableDiffusionPipeline":
        more = dict(safety_checker=None, requires_safety_checker=False)
    pipe = DiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32, **more)
    if is_flux(pipe):
        fit_flux_width(pipe.transformer.inner_dim)
    else:
        pipe.scheduler = SAMPLERS[sampler].from_config(pipe.scheduler.config, **SCHEDULE)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def fit_flux_width(width):
    """diffusers' reader of kohya FLUX files has the width of the real FLUX written in; a tiny base has another."""
    name = "_convert_kohya_flux_lora_to_diffusers"
    source = inspect.getsource(getattr(lora_conversion_utils, name))
    assert source.count("[3072, 3072, 3072, 12288]") == 1
    exec(source.replace("[3072, 3072, 3072, 12288]", str([width] * 3 + [4 * width])), vars(lora_conversion_utils))
    setattr(lora_pipeline, name, getattr(lora_conversion_utils, name))


def draw(pipe, noise, a):
    factor = 2 ** (len(pipe.vae.config.block_out_channels) - 1)
    height, width = (side * factor for side in noise.shape[2:])
    if is_flux(pipe):
        noise = pipe._pack_latents(noise, *noise.shape)
        # It was trained on so many tokens of T5.
        tokens = 512 if pipe.transformer.config.guidance_embeds else 256
        tokens = min(tokens, getattr(pipe.text_encoder_2.config, "n_positions", tokens))
        more = dict(true_cfg_scale=a.cfg, guidance_scale=a.guidance, max_sequence_length=tokens)
    else:
        more = dict(guidance_scale=a.cfg)
    out = pipe(
        a.prompt, negative_prompt=a.negative, num_inference_steps=a.steps, latents=noise, height=height, width=width,
        output_type="np", **more,
    )
    return Image.fromarray((out.images[0] * 255).round().astype("uint8"))


def difference(one, other):
    one, other = (np.asarray(i.convert("RGB"), np.float32) for i in (one, other))
    return float(np.abs(one - other).mean()), float(np.abs(one - other).max())


def layers_in(lora):
    """As diffusers counts them: it has the fused layers of FLUX apart."""
    with safe_open(lora, "pt") as file:
        stems = {key.removesuffix(".alpha").rsplit(".lora_", 1)[0] for key in file.keys()}
    return sum(3 if s.endswith("_attn_qkv") else 4 if s.endswith("_linear1") else 1 for s in stems)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("base", type=Path, help="diffusers folder")
    p.add_argument("triples", nargs="+", help="LORA.safetensors (or none) NOISE.safetensors PICTURE.png, any number of times")
    p.add_argument("--prompt", required=True)
    p.add_argument("--negative", default="")
    p.add_argument("--cfg", type=float, default=4.0)
    p.add_argument("--guidance", type=float, default=3.5, help="what FLUX.1 dev is told")
    p.add_argument("--sampler", choices=SAMPLERS, default="ddim", help="FLUX has its own")
    p.add_argument("--steps", type=int, default=25)
    p.add_argument("--strength", type=float, default=1.0)
    p.add_argument("--limit", type=float, default=2.0, help="mean absolute difference of 255 that is too much")
    p.add_argument("--keep", type=Path, help="folder for the pictures that diffusers drew")
    a = p.parse_args()
    if len(a.triples) % 3:
        p.error("LORA NOISE PICTURE come in threes")
    torch.set_num_threads(1)
    pipe, good = pipeline(a.base, a.sampler), True
    parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    for lora, noise, picture in zip(*[iter(a.triples)] * 3):
        start, facts = load_file(noise)["noise"].float(), ""
        pipe.unload_lora_weights()
        drawn = draw(pipe, start, a)
        if lora != "none":
            alone = drawn
            pipe.load_lora_weights(lora, adapter_name="checked")
            pipe.set_adapters("checked", a.strength)
            drawn = draw(pipe, start, a)
            adapted = sum(hasattr(m, "lora_A") for part in parts for m in part.modules())
            changed, _ = difference(drawn, alone)
            facts = f"{adapted} of {layers_in(lora)} layers adapted, picture changed by {changed:.1f}, "
            good &= adapted == layers_in(lora) and changed >= 2 * a.limit
        mean, most = difference(drawn, Image.open(picture))
        good &= mean < a.limit
        print(f"{lora} {picture}: {facts}mean difference {mean:.3f} of 255, largest {most:.0f}", flush=True)
        if a.keep:
            a.keep.mkdir(parents=True, exist_ok=True)
            drawn.save(a.keep / f"diffusers-{Path(picture).name}")
    print("same" if good else f"DIFFERENT: limit {a.limit}")
    sys.exit(not good)


if __name__ == "__main__":
    main()
