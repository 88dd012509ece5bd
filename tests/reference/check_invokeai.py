"""Does InvokeAI's LoRA reader for Stable Diffusion 1.x take a file that Lorikeet exported, and add the right deltas?

Converts the file with InvokeAI's own code, patches UNet and text encoder of the base folder with its LayerPatcher and compares every
changed weight with W + strength * alpha / rank * up @ down worked out here. Exit 1 if a layer finds no module or a delta differs.
"""
import argparse, sys
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel

import invokeai.backend.model_manager.load  # noqa: F401  (first, or the imports below go round in a circle)
from invokeai.backend.patches.layer_patcher import LayerPatcher
from invokeai.backend.patches.lora_conversions.sd_lora_conversion_utils import lora_model_from_sd_state_dict


def delta(tensors, stem):
    down, up = (tensors[f"{stem}.lora_{d}.weight"].float() for d in ("down", "up"))
    alpha = tensors.get(f"{stem}.alpha", torch.tensor(float(len(down)))).item()
    return alpha / len(down) * (up.flatten(1) @ down.flatten(1)).reshape(*up.shape[:1], *down.shape[1:])


def check(module, prefix, tensors, patch, strength):
    """Layers patched, and the largest error relative to the delta's largest entry."""
    stems = {k.split(".")[0] for k in tensors if k.startswith(prefix)}
    names = {prefix + name.replace(".", "_"): name for name, _ in module.named_modules()}
    before = {s: module.get_submodule(names[s]).weight.detach().clone() for s in stems if s in names}
    worst, changed = 0.0, 0
    with LayerPatcher.apply_smart_model_patches(module, [(patch, strength)], prefix, torch.float32, force_direct_patching=True):
        for s, w in before.items():
            want = strength * delta(tensors, s).reshape(w.shape)
            got = (module.get_submodule(names[s]).weight - w).detach()
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
    unet = UNet2DConditionModel.from_pretrained(a.base, subfolder="unet", torch_dtype=torch.float32)
    text = CLIPTextModel.from_pretrained(a.base, subfolder="text_encoder", torch_dtype=torch.float32)
    if not hasattr(text, "text_model"):  # transformers dropped this level in 5.x; the keys of LoRA files have it
        text = torch.nn.ModuleDict({"text_model": text})
    good = True
    for path in a.lora:
        tensors = load_file(path)
        patch = lora_model_from_sd_state_dict(tensors)
        kinds = {type(layer).__name__ for layer in patch.layers.values()}
        print(f"{path}: {len(patch.layers)} layers of kind {', '.join(sorted(kinds))}")
        good &= kinds == {"LoRALayer"}
        for prefix, module in (("lora_unet_", unet), ("lora_te_", text)):
            good &= check(module, prefix, tensors, patch, a.strength)
    print("accepted" if good else "REFUSED")
    sys.exit(not good)


if __name__ == "__main__":
    main()
