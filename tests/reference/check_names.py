"""Does an exported LoRA file have every layer that kohya's sd-scripts trains, under its name there, and the metadata programs go by?

Compares names and shapes with the weights of the base folder, the hash with the data, and the metadata with family and tensors: SD 1.x, 2.x,
SDXL, FLUX.1. A text encoder may be absent; one that is there must be whole. Exit 1 on any difference.
"""
import argparse, hashlib, json, re, sys
from pathlib import Path

import torch
from safetensors import safe_open

STABILITY, BFL = "https://github.com/Stability-AI/generative-models", "https://github.com/black-forest-labs/flux"
# ss_base_model_version, modelspec.architecture, modelspec.implementation, ss_network_module, ss_v2, modelspec.prediction_type
FAMILIES = {
    "sd1": ("sd_v1", "stable-diffusion-v1", "diffusers", "networks.lora", "False", "epsilon"),
    "sd1-v": ("sd_v1_v", "stable-diffusion-v1", "diffusers", "networks.lora", "False", "v"),
    "sd2": ("sd_v2", "stable-diffusion-v2-512", "diffusers", "networks.lora", "True", "epsilon"),
    "sd2-v": ("sd_v2_v", "stable-diffusion-v2-768-v", "diffusers", "networks.lora", "True", "v"),
    "sdxl": ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base", STABILITY, "networks.lora", "False", "epsilon"),
    "flux-dev": ("flux1", "flux-1-dev", BFL, "networks.lora_flux", "False", None),
    "flux-schnell": ("flux1", "flux-1-schnell", BFL, "networks.lora_flux", "False", None),
}


def config(base, part):
    return json.loads((base / part / ("scheduler_config.json" if part == "scheduler" else "config.json")).read_text())


def family(base):
    if (base / "transformer").is_dir():
        return "flux-dev" if config(base, "transformer")["guidance_embeds"] else "flux-schnell"
    if (base / "text_encoder_2").is_dir():
        return "sdxl"
    velocity = config(base, "scheduler").get("prediction_type") == "v_prediction"
    return ("sd2" if config(base, "unet")["cross_attention_dim"] == 1024 else "sd1") + ("-v" if velocity else "")


def weights(base, part):
    """Shape of each weight by the path of its layer."""
    file = next((base / part).glob("*.safetensors"))
    with safe_open(file, "pt") as f:
        return {k.removesuffix(".weight"): tuple(f.get_slice(k).get_shape()) for k in f.keys() if k.endswith(".weight")}


def unet_layers(base, sdxl):
    """Of the transformers, as diffusers names them; SDXL by the place in Stability's UNet."""
    down = lambda m: f"input_blocks_{3 * int(m[1]) + int(m[2]) + 1}_1_"
    up = lambda m: f"output_blocks_{3 * int(m[1]) + int(m[2])}_1_"
    layers = {}
    for path, shape in weights(base, "unet").items():
        if ".attentions." in path and not re.search(r"norm\d?$", path):
            name = path.replace(".", "_")
            if sdxl:
                name = re.sub(r"^down_blocks_(\d+)_attentions_(\d+)_", down, name)
                name = re.sub(r"^up_blocks_(\d+)_attentions_(\d+)_", up, name)
                name = name.replace("mid_block_attentions_0_", "middle_block_1_")
            layers[f"lora_unet_{name}"] = shape
    return layers


def flux_layers(base):
    c = config(base, "transformer")
    h, layers = c["num_attention_heads"] * c["attention_head_dim"], {}
    for i in range(c["num_layers"]):
        for side in ("img", "txt"):
            for name, outputs, inputs in (
                ("attn_qkv", 3, 1), ("attn_proj", 1, 1), ("mlp_0", 4, 1), ("mlp_2", 1, 4), ("mod_lin", 6, 1),
            ):
                layers[f"lora_unet_double_blocks_{i}_{side}_{name}"] = (outputs * h, inputs * h)
    for i in range(c["num_single_layers"]):
        for name, outputs, inputs in (("linear1", 7, 1), ("linear2", 1, 5), ("modulation_lin", 3, 1)):
            layers[f"lora_unet_single_blocks_{i}_{name}"] = (outputs * h, inputs * h)
    return layers


def text_layers(base, part, prefix):
    paths = {p.removeprefix("text_model."): s for p, s in weights(base, part).items() if ".self_attn." in p or ".mlp." in p}
    return {f"{prefix}text_model_{path.replace('.', '_')}": shape for path, shape in paths.items()}


def expected(base, kind):
    """The groups of layers: the first must be there, each other one wholly or not at all."""
    if kind.startswith("flux"):
        return [flux_layers(base), text_layers(base, "text_encoder", "lora_te1_")]
    if kind == "sdxl":
        return [unet_layers(base, True), text_layers(base, "text_encoder", "lora_te1_"),
                text_layers(base, "text_encoder_2", "lora_te2_")]
    return [unet_layers(base, False), text_layers(base, "text_encoder", "lora_te_")]


def problems(base, path):
    kind = family(base)
    with safe_open(path, "pt") as file:
        told, tensors = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}
    stems = {k.split(".")[0] for k in tensors}
    first, *others = expected(base, kind)
    shapes = {s: shape for group in [first, *(g for g in others if g.keys() & stems)] for s, shape in group.items()}
    print(f"{path}: {kind}, {len(stems)} layers, {len(first.keys() & stems)} of the denoiser")
    yield from (f"no layer {s}" for s in shapes.keys() - stems)
    yield from (f"a layer {s} that is not expected" for s in stems - shapes.keys())
    wanted = {f"{s}.{end}" for s in stems for end in ("alpha", "lora_down.weight", "lora_up.weight")}
    yield from (f"{k} missing or not expected" for k in wanted ^ tensors.keys())
    rank, alpha = int(told["ss_network_dim"]), float(told["ss_network_alpha"])
    for s in shapes.keys() & stems:
        outputs, inputs, *kernel = shapes[s]
        ones = [1] * len(kernel)
        for end, shape in (("lora_down.weight", [rank, inputs, *kernel]), ("lora_up.weight", [outputs, rank, *ones]), ("alpha", [])):
            tensor = tensors[f"{s}.{end}"]
            if list(tensor.shape) != shape or not torch.isfinite(tensor).all():
                yield f"{s}.{end} {list(tensor.shape)} should be {shape}, and finite"
        if tensors[f"{s}.alpha"] != alpha:
            yield f"{s}.alpha should be {alpha}"
    version, architecture, implementation, module, v2, prediction = FAMILIES[kind]
    data = path.read_bytes()
    digest = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little"):]).hexdigest()
    for key, value in {
        "ss_base_model_version": version, "modelspec.architecture": f"{architecture}/lora", "modelspec.implementation": implementation,
        "ss_network_module": module, "ss_v2": v2, "modelspec.prediction_type": prediction, "modelspec.sai_model_spec": "1.0.1",
        "ss_output_name": path.stem, "modelspec.title": path.stem, "sshs_model_hash": digest, "modelspec.hash_sha256": f"0x{digest}",
        "lora_adapter_metadata": None,
    }.items():
        if told.get(key) != value:
            yield f"{key} is {told.get(key)}, should be {value}"
    for key in ("ss_tag_frequency", "ss_dataset_dirs", "ss_bucket_info", "ss_network_args"):
        json.loads(told[key])


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("base", type=Path, help="diffusers folder that it was trained on")
    p.add_argument("lora", nargs="+", type=Path)
    a = p.parse_args()
    found = [problem for path in a.lora for problem in problems(a.base, path)]
    print("\n".join(found) or "as expected")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
