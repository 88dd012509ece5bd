"""Seconds and memory of one training step at the size of Stable Diffusion 1.5 with diffusers and peft, beside `lorikeet train`.

Rank 16 on the 192 layers of the transformer blocks, batch 1, 512 x 512 (latents 64 x 64, already cached, as text states are), f32 on the
CPU, AdamW. Prints the median over the steps and the largest resident set.
"""
import argparse, resource, statistics, time

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from peft import LoraConfig

TARGETS = r".*attentions\.\d+\.(proj_in|proj_out|.*\.(to_q|to_k|to_v|to_out\.0|ff\.net\.0\.proj|ff\.net\.2))"
SCHEDULE = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("folder", help="as make_sd15.py wrote it")
    p.add_argument("--steps", type=int, default=3)
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--resolution", type=int, default=512)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    p.add_argument("--eager-attention", action="store_true", help="explicit scores instead of PyTorch's fused attention")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_pretrained(a.folder, subfolder="unet", torch_dtype=torch.float32)
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=a.rank, lora_alpha=a.rank, target_modules=TARGETS))
    if a.eager_attention:
        unet.set_default_attn_processor()
    if a.checkpointing:
        unet.enable_gradient_checkpointing()
    unet.train()
    params = [q for q in unet.parameters() if q.requires_grad]
    print(f"{len(params) // 2} layers, {sum(q.numel() for q in params) / 1e6:.2f} M trained parameters", flush=True)
    opt = torch.optim.AdamW(params, lr=1e-4)
    schedule, edge, times = DDPMScheduler(**SCHEDULE), a.resolution // 8, []
    latents, text = torch.randn(1, 4, edge, edge), torch.randn(1, 77, 768)
    for i in range(a.steps):
        start = time.perf_counter()
        noise, t = torch.randn_like(latents), torch.randint(0, 1000, (1,))
        loss = F.mse_loss(unet(schedule.add_noise(latents, noise, t), t, text).sample, noise)
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        times.append(time.perf_counter() - start)
        print(f"step {i} {times[-1]:.2f} s loss {loss.item():.4f}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"median {statistics.median(times):.2f} s a step, peak resident {peak:.2f} GB, torch {torch.__version__}, {a.threads} threads")


if __name__ == "__main__":
    main()
