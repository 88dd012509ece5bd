"""Has a real ComfyUI read a LoRA of ours, and run a workflow of ours.

    check_comfyui.py COMFYUI BASE LORA [--workflow FILE]

COMFYUI is its source folder, with what it needs installed; BASE a checkpoint that it reads; LORA an export under kohya's names. Prints how many
modules it took, and how far the weights it makes are from `W + strength * alpha / rank * up down`. FILE is a workflow (.json) or a
picture that holds one (.png): its nodes are run by ComfyUI's own code, with and without the LoRAs.
"""
import argparse, json, sys
from pathlib import Path

p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
p.add_argument("comfyui", type=Path)
p.add_argument("base", type=Path)
p.add_argument("lora", type=Path)
p.add_argument("--workflow", type=Path)
a = p.parse_args()
sys.path.insert(0, str(a.comfyui))
sys.argv[1:] = ["--cpu"]  # ComfyUI reads the command line itself
try:
    import comfy.cmd.main_pre  # forks that install as a package
    from comfy.cmd import folder_paths
    from comfy.nodes import base_nodes as nodes
except ImportError:
    import comfy.options
    comfy.options.enable_args_parsing()
    import folder_paths, nodes
import comfy.lora, comfy.sd, comfy.utils
import torch

STRENGTH = 0.7


def check_weights():
    model, clip, _, _ = comfy.sd.load_checkpoint_guess_config(str(a.base), output_vae=False, output_clip=True, embedding_directory=None)
    lora = comfy.utils.load_torch_file(str(a.lora), safe_load=True)
    modules = sorted({name.split(".")[0] for name in lora})
    with_unet, with_clip = comfy.sd.load_lora_for_models(model, clip, lora, STRENGTH, STRENGTH)
    taken = len(with_unet.patches) + len(with_clip.patcher.patches)
    print(f"{len(modules)} modules in the file, {taken} taken: {len(with_unet.patches)} of the denoiser, {len(with_clip.patcher.patches)} of text encoders")
    names = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, comfy.lora.model_lora_keys_unet(model.model, {}))
    weights = model.model.state_dict() | clip.cond_stage_model.state_dict()
    patches = with_unet.patches | with_clip.patcher.patches
    missing = [name for name in modules if names.get(name) not in patches]
    assert not missing and taken == len(modules), f"not taken: {missing}"
    worst = 0.0
    for name in modules:
        weight = weights[names[name]].float()
        made = comfy.lora.calculate_weight(patches[names[name]], weight.clone(), names[name])
        up, down = (lora[f"{name}.lora_{side}.weight"].float() for side in ("up", "down"))
        delta = (up.flatten(1) @ down.flatten(1)).reshape(weight.shape) * (STRENGTH * float(lora[f"{name}.alpha"]) / down.shape[0])
        worst = max(worst, ((made - weight - delta).abs().max() / delta.abs().max()).item())
    print(f"largest difference of a weight, by the largest change of its layer: {worst:.1e}")
    assert worst < 2e-3, "ComfyUI makes other weights of it"


def run(workflow, strength):
    """What comes out of the sampler, and the decoded picture. Widgets follow each other in the file as the node's class lists its inputs."""
    links = {link[0]: link for link in workflow["links"]}
    made, latents, picture = {}, None, None
    for node in sorted(workflow["nodes"], key=lambda node: node["order"]):
        if node["type"] in ("Note", "MarkdownNote", "SaveImage", "PreviewImage"):
            continue
        kind = nodes.NODE_CLASS_MAPPINGS[node["type"]]
        linked = {i["name"]: links[i["link"]] for i in node["inputs"] if i.get("link") is not None}
        values, arguments = list(node.get("widgets_values") or []), {}
        asked = kind.INPUT_TYPES()
        for name, (what, *options) in (asked["required"] | asked.get("optional", {})).items():
            if name in linked:
                _, source, slot, _, _, sort = linked[name]
                assert sort == what, f"{node['type']}.{name} takes {what}, not {sort}"
                arguments[name] = made[source][slot]
            elif isinstance(what, list) or what in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"):
                arguments[name] = values.pop(0)
                if isinstance(what, list):
                    assert arguments[name] in what, f"{node['type']}.{name}: {arguments[name]!r} is none of {what}"
                if options and options[0].get("control_after_generate"):
                    values.pop(0)
        assert not values, f"{node['type']} has {values} to spare"
        if strength is not None and node["type"].startswith("LoraLoader"):
            arguments |= {name: strength for name in arguments if name.startswith("strength")}
        print(f"  {node['type']}: {[name for name in arguments if name not in linked]}")
        made[node["id"]] = getattr(kind(), kind.FUNCTION)(**arguments)
        if node["type"].startswith("LoraLoader") and strength is None:
            # On a CPU a fork keeps a model as it was loaded, whatever patches came after. Forced, the same code patches it.
            for model in made[node["id"]]:
                getattr(model, "patcher", model).load(torch.device("cpu"), force_patch_weights=True, full_load=True)
        if node["type"] == "VAEDecode":
            latents, picture = arguments["samples"]["samples"], made[node["id"]][0]
    return latents, picture


def check_workflow():
    if a.workflow.suffix == ".png":
        from PIL import Image
        workflow = json.loads(Image.open(a.workflow).text["workflow"])
    else:
        workflow = json.loads(a.workflow.read_text())
    folder_paths.add_model_folder_path("checkpoints", str(a.base.resolve().parent))
    folder_paths.add_model_folder_path("loras", str(a.lora.resolve().parent))
    with torch.inference_mode():
        # In this order: patched weights stay.
        (without, _), (latents, picture) = run(workflow, 0.0), run(workflow, None)
    change = ((latents - without).abs().mean() / without.abs().mean()).item()
    print(f"the workflow draws {tuple(picture.shape)}; the LoRA changes what the sampler gives by {change:.1e} of itself")
    assert picture.isfinite().all() and change > 0


check_weights()
if a.workflow:
    check_workflow()
