"""Does InvokeAI's LoRA reader take a file that Lorikeet exported, and add the right deltas? SD 1.x, 2.x, SDXL, FLUX.1.

Converts the file with InvokeAI's own code, patches denoiser and CLIP text encoders of the base folder with its LayerPatcher and compares
every changed weight with W + strength * alpha / rank * up @ down worked out here. Exit 1 if a layer finds no module or a delta differs.
"""
import argparse, json, re, sys
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

import invokeai.backend.model_manager.load  # noqa: F401  (first, or the imports below go round in a circle)
from invokeai.backend.flux.model import Flux, FluxParams
from invokeai.backend.patches.layer_patcher import LayerPatcher
from invokeai.backend.patches.lora_conversions.flux_kohya_lora_conversion_utils import (
    is_state_dict_likely_in_flux_kohya_format, lora_model_from_flux_kohya_state_dict,
)
from invokeai.backend.patches.lora_conversions.flux_lora_constants import FLUX_LORA_CLIP_PREFIX, FLUX_LORA_TRANSFORMER_PREFIX
from invokeai.backend.patches.lora_conversions.sd_lora_conversion_utils import lora_model_from_sd_state_dict
from invokeai.backend.patches.lora_conversions.sdxl_lora_conversion_utils import convert_sdxl_keys_to_diffusers_format


def text_encoder(base, folder="text_encoder", kind=CLIPTextModel):
    model = kind.from_pretrained(base, subfolder=folder, torch_dtype=torch.float32)
    # transformers dropped this level in 5.x; the keys of LoRA files have it
    return model if hasattr(model, "text_model") else torch.nn.ModuleDict({"text_model": model})


def flux(base):
    """InvokeAI's own network, with random weights: only what is added to them counts here."""
    c = json.loads((base / "transformer/config.json").read_text())
    return Flux(FluxParams(
        in_channels=c["in_channels"], vec_in_dim=c["pooled_projection_dim"], context_in_dim=c["joint_attention_dim"],
        hidden_size=c["num_attention_heads"] * c["attention_head_dim"], mlp_ratio=4.0, num_heads=c["num_attention_heads"],
        depth=c["num_layers"], depth_single_blocks=c["num_single_layers"], axes_dim=list(c["axes_dims_rope"]), theta=10000,
        qkv_bias=True, guidance_embed=c["guidance_embeds"],
    ))


def sdxl_layer(stem):
    """The diffusers name, with underscores, of a layer that kohya names by its place in Stability's UNet."""
    stem = re.sub(r"^input_blocks_(\d+)_1_", lambda m: "down_blocks_{}_attentions_{}_".format(*divmod(int(m[1]) - 1, 3)), stem)
    stem = re.sub(r"^output_blocks_(\d+)_1_", lambda m: "up_blocks_{}_attentions_{}_".format(*divmod(int(m[1]), 3)), stem)
    return stem.replace("middle_block_1_", "mid_block_attentions_0_")


def parts(base):
    """Of each part: its prefix in the file, its prefix in InvokeAI, the module, how a layer of the file is called in it."""
    same = lambda stem: stem
    if (base / "transformer").is_dir():
        return [("lora_unet_", FLUX_LORA_TRANSFORMER_PREFIX, flux(base), same),
                ("lora_te1_", FLUX_LORA_CLIP_PREFIX, text_encoder(base), same)]
    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet", torch_dtype=torch.float32)
    if (base / "text_encoder_2").is_dir():
        second = text_encoder(base, "text_encoder_2", CLIPTextModelWithProjection)
        return [("lora_unet_", "lora_unet_", unet, sdxl_layer), ("lora_te1_", "lora_te1_", text_encoder(base), same),
                ("lora_te2_", "lora_te2_", second, same)]
    return [("lora_unet_", "lora_unet_", unet, same), ("lora_te_", "lora_te_", text_encoder(base), same)]


def convert(base, tensors):
    """As its LoRALoader does for a base of that family."""
    if (base / "transformer").is_dir():
        if not is_state_dict_likely_in_flux_kohya_format(tensors):
            sys.exit("REFUSED: InvokeAI does not see that this is a kohya file for FLUX")
        return lora_model_from_flux_kohya_state_dict(tensors)
    if (base / "text_encoder_2").is_dir():
        tensors = convert_sdxl_keys_to_diffusers_format(tensors)
    return lora_model_from_sd_state_dict(tensors)


def delta(tensors, stem):
    down, up = (tensors[f"{stem}.lora_{d}.weight"].float() for d in ("down", "up"))
    alpha = tensors.get(f"{stem}.alpha", torch.tensor(float(len(down)))).item()
    return alpha / len(down) * (up.flatten(1) @ down.flatten(1)).reshape(*up.shape[:1], *down.shape[1:])


def check(part, tensors, patch, strength):
    """Every layer of the file patched, and the largest error relative to the delta's largest entry."""
    prefix, theirs, module, called = part
    stems = {k.split(".")[0] for k in tensors if k.startswith(prefix)}
    names = {name.replace(".", "_"): name for name, _ in module.named_modules()}
    found = {s: names[called(s.removeprefix(prefix))] for s in stems if called(s.removeprefix(prefix)) in names}
    before = {s: module.get_submodule(name).weight.detach().clone() for s, name in found.items()}
    worst, changed = 0.0, 0
    with LayerPatcher.apply_smart_model_patches(module, [(patch, strength)], theirs, torch.float32, force_direct_patching=True):
        for s, w in before.items():
            want = strength * delta(tensors, s).reshape(w.shape)
            got = (module.get_submodule(found[s]).weight - w).detach()
            changed += bool((got != 0).any()) or not want.any()
            worst = max(worst, float((got - want).abs().max() / want.abs().max().clamp(min=1e-12)))
    print(f"{prefix}: {len(stems)} layers in the file, {len(before)} found, {changed} patched, largest error {worst:.1e}")
    return len(stems) == len(before) == changed and worst < 1e-2


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("base", type=Path, help="diffusers folder")
    p.add_argument("lora", nargs="+", type=Path)
    p.add_argument("--strength", type=float, default=0.8)
    a = p.parse_args()
    torch.set_num_threads(1)
    good, modules = True, parts(a.base)
    for path in a.lora:
        tensors = load_file(path)
        patch = convert(a.base, tensors)
        kinds = {type(layer).__name__ for layer in patch.layers.values()}
        print(f"{path}: {len(patch.layers)} layers of kind {', '.join(sorted(kinds))}")
        good &= kinds == {"LoRALayer"} and len(patch.layers) == len({k.split(".")[0] for k in tensors})
        for part in modules:
            good &= check(part, tensors, patch, a.strength)
    print("accepted" if good else "REFUSED")
    sys.exit(not good)


if __name__ == "__main__":
    main()
