"""Makes the random weights that both sides of the bench run on, and times PyTorch (diffusers, peft, eager, fused attention).

    torch_step.py WORK FOLDER [--steps N] [--device cpu|cuda] [--make]

WORK as in tests/src/step_bench.rs. FOLDER gets config.json and weights.safetensors (f16) with --make; without it one training step
is timed N times: LoRA of rank 16 on all attention and feed-forward layers, AdamW, clipping at 1; f32 on the CPU, on a card the base
in bf16 and the LoRA in f32 under autocast, as training scripts have it.
"""
import argparse, importlib.util, json, resource, sys, time
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, FluxTransformer2DModel, UNet2DConditionModel
from peft import LoraConfig
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "reference")]
from make_sd15 import UNET, VAE

SDXL = dict(
    sample_size=128, in_channels=4, out_channels=4, cross_attention_dim=2048, attention_head_dim=(5, 10, 20), layers_per_block=2,
    block_out_channels=(320, 640, 1280), transformer_layers_per_block=(1, 2, 10), use_linear_projection=True,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
)
FLUX = dict(num_layers=1, num_single_layers=2, guidance_embeds=True)
WHOLE_FLUX = dict(num_layers=19, num_single_layers=38, guidance_embeds=True)
# name: (class, configuration, batch, edge of the latents)
WORKS = {
    "demo": (UNet2DConditionModel, None, 8, 16), "sd15-256": (UNet2DConditionModel, UNET, 1, 32),
    "sd15-512": (UNet2DConditionModel, UNET, 1, 64), "sdxl-512": (UNet2DConditionModel, SDXL, 1, 64),
    "sdxl-1024": (UNet2DConditionModel, SDXL, 1, 128), "flux-blocks": (FluxTransformer2DModel, FLUX, 1, 64),
    "flux-blocks-1024": (FluxTransformer2DModel, FLUX, 1, 128), "flux-1024": (FluxTransformer2DModel, WHOLE_FLUX, 1, 128),
    "vae-512": (AutoencoderKL, VAE, 1, 512),
}
TARGETS = {
    UNet2DConditionModel: r".*attentions\.\d+\.(proj_in|proj_out|.*\.(to_q|to_k|to_v|to_out\.0|ff\.net\.0\.proj|ff\.net\.2))",
    FluxTransformer2DModel: r".*transformer_blocks\.\d+\.(.*\.(to_q|to_k|to_v|add_[qkv]_proj|to_out\.0|to_add_out|net\.0\.proj|net\.2)|proj_mlp|proj_out)",
}


def build(work):
    kind, config, *_ = WORKS[work]
    if config is None:
        config = json.loads((HERE.parents[1] / "assets/demo-base/unet/config.json").read_text())
        return kind, kind.from_config(config)
    if config is WHOLE_FLUX:  # 48 GB in f32
        torch.set_default_dtype(torch.bfloat16)
    model = kind(**config)
    torch.set_default_dtype(torch.float32)
    return kind, model


def make(work, folder):
    torch.manual_seed(0)
    kind, model = build(work)
    state = model.state_dict()
    if kind is FluxTransformer2DModel:
        import flux  # tests/reference: the names of Black Forest Labs, as our file has them
        flux.SHARED.update({key: model.config[key] for key in ("num_layers", "num_single_layers")})
        flux.BLOCK_LINEARS = dict(flux.in_blocks(flux.DOUBLE, flux.SINGLE))
        state = flux.to_bfl(state)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in state.items()}, folder / "weights.safetensors")
    (folder / "config.json").write_text(json.dumps(dict(model.config)))


def load(work, folder):
    kind, model = build(work)
    if kind is not FluxTransformer2DModel:  # for FLUX the names differ, and any numbers do
        model.load_state_dict({k: v.float() for k, v in load_file(folder / "weights.safetensors").items()})
    return kind, model


def step_of(work, kind, model, device):
    """All that is made from here on is made on `device`."""
    _, _, batch, edge = WORKS[work]
    torch.set_default_device(device)
    on_card = device != "cpu"
    model.to(device)
    if on_card:
        model.to(torch.bfloat16)
    cast = lambda: torch.autocast(device, torch.bfloat16, enabled=on_card)
    if kind is AutoencoderKL:
        def encode():
            with torch.no_grad(), cast():
                return model.encode(torch.randn(1, 3, edge, edge)).latent_dist.mean.sum().item()
        return encode
    model.requires_grad_(False)
    model.add_adapter(LoraConfig(r=16, lora_alpha=16, target_modules=TARGETS[kind]))
    model.train()
    if work == "flux-1024":  # as ours, which computes it block by block
        model.enable_gradient_checkpointing()
    params = [q for q in model.parameters() if q.requires_grad]
    for q in params:
        q.data = q.data.float()
    print(f"{len(params) // 2} layers, {sum(q.numel() for q in params) / 1e6:.2f} M trained numbers", flush=True)
    opt = torch.optim.AdamW(params, lr=1e-4)
    if kind is FluxTransformer2DModel:
        latents = torch.randn(batch, edge * edge // 4, 64)
        ids = torch.stack(torch.meshgrid(torch.zeros(1, dtype=torch.long), torch.arange(edge // 2), torch.arange(edge // 2), indexing="ij"), -1).reshape(-1, 3).float()
        rest = dict(encoder_hidden_states=torch.randn(batch, 512, 4096), pooled_projections=torch.randn(batch, 768), timestep=torch.full((batch,), 0.5),
                    guidance=torch.ones(batch), img_ids=ids, txt_ids=torch.zeros(512, 3))
    else:
        latents = torch.randn(batch, model.config.in_channels, edge, edge)
        rest = dict(timestep=torch.full((batch,), 500), encoder_hidden_states=torch.randn(batch, 77, model.config.cross_attention_dim))
        if model.config.addition_embed_type:
            rest["added_cond_kwargs"] = dict(text_embeds=torch.randn(batch, 1280), time_ids=torch.tensor([[512.0, 512, 0, 0, 512, 512]] * batch))

    def step():
        noise = torch.randn_like(latents)
        with cast():
            loss = F.mse_loss(model(0.7 * latents + 0.7 * noise, **rest).sample.float(), noise)
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        return loss.item()
    return step


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("work", choices=WORKS)
    p.add_argument("folder", type=Path)
    p.add_argument("--steps", type=int, default=6)
    p.add_argument("--threads", type=int, default=torch.get_num_threads())
    p.add_argument("--device", default="cpu")
    p.add_argument("--make", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    if a.make:
        return make(a.work, a.folder)
    step = step_of(a.work, *load(a.work, a.folder), a.device)
    for _ in range(a.steps):
        start, before = time.perf_counter(), time.process_time()
        loss = step()
        print(f"step {time.perf_counter() - start:.3f} processor {time.process_time() - before:.2f} loss {loss:.4f}", flush=True)
    peak = torch.cuda.max_memory_reserved() if a.device != "cpu" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"peak {peak / 1e9:.2f}")


if __name__ == "__main__":
    main()
