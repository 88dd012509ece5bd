"""LoRA by peft on the tiny UNets: gradients of every matrix, files as diffusers writes them, ten AdamW steps."""
import shutil, tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from common import ROOT, generator, normal, note, write
from unet import POOLED, case, loss_and_gradients, run, text_states, tiny_unet

# The linears and 1 x 1 convolutions of the transformer blocks: 192 of them in SD 1.5 and SD 2.x, 722 in SDXL.
UNET_TARGETS = r".*attentions\.\d+\.(proj_in|proj_out|.*\.(to_q|to_k|to_v|to_out\.0|ff\.net\.0\.proj|ff\.net\.2))"
# What kohya's conv_dim adds: 86 in SD 1.5 and SD 2.x, 66 in SDXL.
CONVOLUTION_TARGETS = r".*(resnets\.\d+\.(conv1|conv2|time_emb_proj|conv_shortcut)|(down|up)samplers\.0\.conv)"
SCHEDULE = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000)
STEPS = 10


def matrices(module):
    """(path of the base layer, lora_A weight, lora_B weight) of every adapted layer, in the module's order."""
    for name, m in module.named_modules():
        if hasattr(m, "lora_A") and len(m.lora_A):
            yield name, m.lora_A["default"].weight, m.lora_B["default"].weight


def adapt(module, targets, rank, alpha, seed, zero_b=False):
    """Adds the adapter and fills A (Kaiming-uniform, a = sqrt 5) and B (normal, or zero) from one seed."""
    module.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, lora_dropout=0.0))
    g = generator(seed)
    with torch.no_grad():
        for _, a, b in matrices(module):
            bound = 1 / a[0].numel() ** 0.5
            a.copy_((2 * torch.rand(a.shape, generator=g) - 1) * bound)
            b.copy_(torch.zeros(b.shape) if zero_b else 0.3 * torch.randn(b.shape, generator=g))
    return module


def gradients(module):
    out = {}
    for name, a, b in matrices(module):
        out |= {f"{name}.lora_A": a, f"{name}.lora_B": b, f"{name}.lora_A.grad": a.grad, f"{name}.lora_B.grad": b.grad}
    return out


def make_gradients():
    unet, c = adapt(tiny_unet(), UNET_TARGETS, rank=4, alpha=2, seed=200), case("square")
    y = unet(c["latents"], c["timesteps"], c["text"]).sample
    loss = F.mse_loss(y, c["target"])
    loss.backward()
    write("lora/gradients.safetensors", gradients(unet) | dict(output=y, loss=loss), {"rank": "4", "alpha": "2"})
    with tempfile.TemporaryDirectory() as folder:
        unet.save_lora_adapter(folder)
        keep(Path(folder) / "pytorch_lora_weights.safetensors", "lora/saved-by-save_lora_adapter.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        meta = unet.peft_config["default"].to_dict()
        StableDiffusionPipeline.save_lora_weights(
            folder, unet_lora_layers=get_peft_model_state_dict(unet), unet_lora_adapter_metadata=meta)
        keep(Path(folder) / "pytorch_lora_weights.safetensors", "lora/saved-by-save_lora_weights.safetensors")


def make_other_gradients(folder, name, targets=UNET_TARGETS):
    """Also to the inputs: with the adapter at work they are others than in `unet.py`."""
    unet, c = adapt(tiny_unet(folder), targets, rank=2, alpha=1, seed=220), case("square", folder)
    out = loss_and_gradients(unet, c)
    write(f"lora/{name}-gradients.safetensors", gradients(unet) | out, {"rank": "2", "alpha": "1"})


def keep(source, name):
    (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, ROOT / name)
    note(ROOT / name, len(list(matrices_in(ROOT / name))))


def matrices_in(path):
    from safetensors import safe_open
    with safe_open(path, "pt") as f:
        return list(f.keys())


def make_trajectory(folder, path, rank, seed):
    """AdamW lr 1e-3, betas 0.9 0.999, eps 1e-8, decay 1e-2, gradients clipped to norm 1, epsilon prediction."""
    unet, out = adapt(tiny_unet(folder), UNET_TARGETS, rank=rank, alpha=rank, seed=seed, zero_b=True), {}
    schedule = DDPMScheduler(**SCHEDULE)
    params = [p for _, a, b in matrices(unet) for p in (a, b)]
    for name, a, b in matrices(unet):
        out |= {f"before.{name}.lora_A": a.clone(), f"before.{name}.lora_B": b.clone()}
    opt = torch.optim.AdamW(params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2)
    for i in range(STEPS):
        latents, text = normal((2, 4, 8, 8), 1000 + i), text_states(folder, 2, 3000 + i)
        noise = normal((2, 4, 8, 8), 2000 + i) * (9 if i % 2 else 1)  # large at odd steps, so that clipping bites there
        t = torch.randint(0, 1000, (2,), generator=generator(4000 + i))
        noisy = schedule.add_noise(latents, noise, t)
        c = dict(timesteps=t, text=text)
        if folder == "unet-sdxl":
            ids = torch.randint(0, 2048, (2, 6), generator=generator(6000 + i)).float()
            c |= dict(pooled=normal((2, POOLED), 5000 + i), time_ids=ids)
        loss = F.mse_loss(run(unet, noisy, c), noise)
        opt.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        step = c | dict(latents=latents, noise=noise, timesteps=t.float(), noisy=noisy, loss=loss, grad_norm=norm)
        out |= {f"step{i}.{k}": v for k, v in step.items()}
    for name, a, b in matrices(unet):
        out |= {f"after.{name}.lora_A": a, f"after.{name}.lora_B": b}
    write(path, out, {"rank": str(rank), "alpha": str(rank)})
    print(folder, "trajectory losses", [round(out[f"step{i}.loss"].item(), 6) for i in range(STEPS)])
    print(folder, "trajectory gradient norms", [round(out[f"step{i}.grad_norm"].item(), 4) for i in range(STEPS)])


def make():
    make_gradients()
    make_other_gradients("unet-sd2", "unet-sd2")
    make_other_gradients("unet-sdxl", "unet-sdxl")
    make_other_gradients("unet", "unet-convolutions", CONVOLUTION_TARGETS)
    make_trajectory("unet", "lora/trajectory.safetensors", rank=4, seed=300)
    make_trajectory("unet-sdxl", "lora/unet-sdxl-trajectory.safetensors", rank=2, seed=320)
