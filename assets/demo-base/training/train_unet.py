"""Trains the UNet and the text encoder together on cached latents of the four styles.

Resumes from WORK/unet.pt; `--init-from FOLDER` starts from exported weights instead (say, the committed ones).
Only the token rows that occur in captions are trained; the table is widened to CLIP's 49408 rows on export.
The loss is the plain v-prediction loss, and half of the timesteps are above 800: that is where the thing is chosen.
"""
import argparse, datetime, math

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from arch import SCHEDULER, TEXT, new_text, new_unet, write_index, write_tokenizer
from common import BASE, STYLES, WORK, Clock, Ema, caption, load_data, save
from muon import Muon
from train_vae import to_float


@torch.no_grad()
def cache_latents(device):
    vae = AutoencoderKL.from_pretrained(BASE, subfolder="vae").float().to(device)
    data, names = load_data()
    z, captions = [], []
    for s, word in STYLES.items():
        for i in range(0, len(data[s]), 32):
            z.append(vae.encode(to_float(data[s][i : i + 32]).to(device)).latent_dist.mode() * vae.config.scaling_factor)
        captions += [caption(n, word) for n in names[s]]
    return torch.cat(z), captions


def export(unet, text, rows, folder):
    """Writes both in f16. Words that never occurred get random rows as long as the trained ones."""
    full = new_text().float()
    table = full.get_input_embeddings().weight
    trained = text.get_input_embeddings().weight.detach().cpu()
    state = {k: v.cpu() for k, v in text.state_dict().items()}
    key = next(k for k in state if k.endswith("token_embedding.weight"))
    with torch.no_grad():
        g = torch.Generator().manual_seed(7)
        table.normal_(std=trained.std().item(), generator=g)
        table[rows] = trained
    state[key] = table.detach()
    full.load_state_dict(state)
    full.half().save_pretrained(folder / "text_encoder")
    half = new_unet()
    half.load_state_dict({k: v.cpu() for k, v in unet.state_dict().items()})
    half.half().save_pretrained(folder / "unet")


def timesteps(n, noisy=0.5):
    """Stratified: a share `noisy` of them even over [800, 1000), the rest even over [0, 1000)."""
    u = (torch.randperm(n) + torch.rand(n)) / n
    return torch.where(u < noisy, 800 + 200 * u / noisy, 1000 * (u - noisy) / (1 - noisy)).long().clamp(max=999)


def optimisers(unet, text, lr, muon_lr):
    """Muon for the inner matrices; AdamW for vectors, token and position tables, and the first and last convolution."""
    inner, rest, table = [], [], []
    for name, p in [*unet.named_parameters(prefix="unet"), *text.named_parameters(prefix="text")]:
        if "embedding.weight" in name:
            table.append(p)
        elif muon_lr and p.ndim >= 2 and name not in ("unet.conv_in.weight", "unet.conv_out.weight"):
            inner.append(p)
        else:
            rest.append(p)
    groups = [dict(params=rest, weight_decay=0.01), dict(params=table, weight_decay=0.0)]
    adam = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), foreach=True)
    return [(adam, lr)] + ([(Muon(inner, lr=muon_lr), muon_lr)] if inner else []), rest + table


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--minutes", type=float, default=240, help="training time in all, restarts included")
    a.add_argument("--deadline", help="UTC, as 18:10: end then instead, whatever the time spent")
    a.add_argument("--batch", type=int, default=16)
    a.add_argument("--lr", type=float, default=1e-3, help="of AdamW")
    a.add_argument("--muon-lr", type=float, default=2e-3, help="0: AdamW for everything")
    a.add_argument("--cooldown", type=float, default=0.5, help="last share of the time, over which the learning rate falls to 0")
    a.add_argument("--export-every", type=float, default=300, help="seconds")
    a.add_argument("--threads", type=int)
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a.add_argument("--init-from")
    a = a.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    torch.manual_seed(2)
    write_tokenizer(), write_index()
    latents, captions = cache_latents(a.device)
    tok = CLIPTokenizer.from_pretrained(BASE / "tokenizer")
    ids = tok(captions + [""], padding="max_length", max_length=77, return_tensors="pt").input_ids
    rows, ids = ids.unique(return_inverse=True)  # ids now index the small table; <|endoftext|> is its last row
    ids, empty = ids.to(a.device), len(captions)

    text, unet = new_text(len(rows)), new_unet()
    if a.init_from:
        full = CLIPTextModel.from_pretrained(a.init_from, subfolder="text_encoder").float().state_dict()
        text.load_state_dict({k: v[rows] if k.endswith("token_embedding.weight") else v for k, v in full.items()})
        unet.load_state_dict(UNet2DConditionModel.from_pretrained(a.init_from, subfolder="unet").float().state_dict())
    text.to(a.device)
    unet.to(a.device, memory_format=torch.channels_last)
    both = torch.nn.ModuleList([unet, text])
    opts, clipped = optimisers(unet, text, a.lr, a.muon_lr)
    ema, step, clock, ckpt = Ema(both, 0.995), 0, Clock(), WORK / "unet.pt"
    if ckpt.exists():
        s = torch.load(ckpt, weights_only=False)
        both.load_state_dict(s["model"]), ema.load_state_dict(s["ema"])
        for (opt, _), state in zip(opts, s["opts"]):
            opt.load_state_dict(state)
        step, clock = s["step"], Clock(s["seconds"])
    total = 60 * a.minutes
    if a.deadline:
        now = datetime.datetime.now(datetime.timezone.utc)
        at = now.replace(hour=int(a.deadline[:2]), minute=int(a.deadline[3:]), second=0)
        total = clock() + (at - now).total_seconds()
    torch.manual_seed(2 + step)
    alphas = DDIMScheduler(**SCHEDULER).alphas_cumprod.to(a.device)
    last_save = last_export = clock()
    order, mean = [], [None, None]  # mean loss of the noisy half and of the rest
    print(f"{len(captions)} captions, {len(rows)} tokens, latent mean {latents.mean():.3f} std {latents.std():.3f}", flush=True)
    while True:
        done = clock() / total
        fall = max(0.01, min(1, (1 - done) / a.cooldown))
        for opt, lr in opts:
            for g in opt.param_groups:
                g["lr"] = lr * min(1, (step + 1) / 60) * 0.5 * (1 - math.cos(math.pi * fall))
        if len(order) < a.batch:
            order = order + torch.randperm(len(captions)).tolist()
        pick, order = torch.tensor(order[: a.batch]), order[a.batch :]
        x = latents[pick]
        cap = torch.where(torch.rand(a.batch) < 0.1, empty, pick)
        t = timesteps(a.batch).to(a.device)
        noise = torch.randn_like(x)
        al = alphas[t].view(-1, 1, 1, 1)
        noisy, target = al.sqrt() * x + (1 - al).sqrt() * noise, al.sqrt() * noise - (1 - al).sqrt() * x
        h = text(ids[cap]).last_hidden_state
        v = unet(noisy.contiguous(memory_format=torch.channels_last), t, h).sample
        each = F.mse_loss(v, target, reduction="none").mean((1, 2, 3))
        both.zero_grad(set_to_none=True)
        each.mean().backward()
        torch.nn.utils.clip_grad_norm_(clipped, 1.0)
        for opt, _ in opts:
            opt.step()
        ema.update()
        step += 1
        for i, part in enumerate((t >= 800, t < 800)):
            now = each[part].mean().item()
            mean[i] = now if mean[i] is None else 0.95 * mean[i] + 0.05 * now
        if step % 25 == 0:
            epoch, lr = step * a.batch / len(captions), opts[0][0].param_groups[0]["lr"]
            print(f"step {step} epoch {epoch:.1f} {clock():.0f} s loss noisy {mean[0]:.4f} rest {mean[1]:.4f} lr {lr:.2e}", flush=True)
        end = done >= 1
        if end or clock() - last_save > 120:
            state = dict(model=both.state_dict(), opts=[o.state_dict() for o, _ in opts], ema=ema.state_dict())
            save(state | dict(step=step, seconds=clock()), ckpt)
            last_save = clock()
        if end or clock() - last_export > a.export_every:
            ema.swap()
            export(unet, text, rows, WORK / "export")
            ema.swap()
            last_export = clock()
        if end:
            break


if __name__ == "__main__":
    main()
