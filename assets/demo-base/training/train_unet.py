"""Trains the UNet and the text encoder together on cached latents of the four styles.

Resumes from WORK/unet.pt; `--init-from FOLDER` starts from exported weights instead (say, the committed ones).
Only the token rows that occur in captions are trained; the table is widened to CLIP's 49408 rows on export.
The loss is the plain v-prediction loss: min-SNR weights would mute the noisy end, where the thing is chosen.
"""
import argparse, math

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from arch import SCHEDULER, TEXT, new_text, new_unet, write_index, write_tokenizer
from common import BASE, STYLES, WORK, Clock, Ema, caption, load_data, save
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


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--minutes", type=float, default=240, help="training time in all, restarts included")
    a.add_argument("--batch", type=int, default=16)
    a.add_argument("--lr", type=float, default=1e-3)
    a.add_argument("--export-every", type=float, default=300, help="seconds")
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a.add_argument("--init-from")
    a = a.parse_args()
    torch.manual_seed(2)
    write_tokenizer(), write_index()
    latents, captions = cache_latents(a.device)
    tok = CLIPTokenizer.from_pretrained(BASE / "tokenizer")
    ids = tok(captions + [""], padding="max_length", max_length=77, return_tensors="pt").input_ids
    rows, ids = ids.unique(return_inverse=True)  # ids now index the small table
    ids = ids.to(a.device)
    empty = len(captions)

    text, unet = new_text(len(rows)), new_unet()
    text.config.eos_token_id = len(rows) - 1  # <|endoftext|> is the last row of both tables
    if a.init_from:
        full = CLIPTextModel.from_pretrained(a.init_from, subfolder="text_encoder").float().state_dict()
        text.load_state_dict({k: v[rows] if k.endswith("token_embedding.weight") else v for k, v in full.items()})
        unet.load_state_dict(UNet2DConditionModel.from_pretrained(a.init_from, subfolder="unet").float().state_dict())
    text.to(a.device)
    unet.to(a.device, memory_format=torch.channels_last)
    both = torch.nn.ModuleList([unet, text])
    params = [p for p in both.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=a.lr, weight_decay=0.01, betas=(0.9, 0.99), foreach=True)
    ema, step, clock, ckpt = Ema(both, 0.998), 0, Clock(), WORK / "unet.pt"
    if ckpt.exists():
        s = torch.load(ckpt, weights_only=False)
        both.load_state_dict(s["model"]), opt.load_state_dict(s["opt"]), ema.load_state_dict(s["ema"])
        step, clock = s["step"], Clock(s["seconds"])
    torch.manual_seed(2 + step)
    alphas = DDIMScheduler(**SCHEDULER).alphas_cumprod.to(a.device)
    last_save = last_export = clock()
    order, seen, mean_loss = [], step * a.batch, None
    print(f"{len(captions)} captions, {len(rows)} tokens, latent mean {latents.mean():.3f} std {latents.std():.3f}", flush=True)
    while True:
        done = clock() / (60 * a.minutes)
        # warm-up, then flat, then a cosine over the last 40 % of the time
        lr = a.lr * min(1, (step + 1) / 150) * (1 if done < 0.6 else 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1, (done - 0.6) / 0.4))))
        for g in opt.param_groups:
            g["lr"] = lr
        if len(order) < a.batch:
            order = order + torch.randperm(len(captions)).tolist()
        pick, order = torch.tensor(order[: a.batch]), order[a.batch :]
        x = latents[pick]
        cap = torch.where(torch.rand(a.batch) < 0.1, empty, pick)
        t = ((torch.randperm(a.batch) + torch.rand(a.batch)) * 1000 / a.batch).long().clamp(max=999).to(a.device)  # stratified
        noise = torch.randn_like(x)
        al = alphas[t].view(-1, 1, 1, 1)
        noisy, target = al.sqrt() * x + (1 - al).sqrt() * noise, al.sqrt() * noise - (1 - al).sqrt() * x
        h = text(ids[cap]).last_hidden_state
        loss = F.mse_loss(unet(noisy.contiguous(memory_format=torch.channels_last), t, h).sample, target)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        ema.update()
        step, seen = step + 1, seen + a.batch
        mean_loss = loss.item() if mean_loss is None else 0.98 * mean_loss + 0.02 * loss.item()
        if step % 50 == 0:
            print(f"step {step} epoch {seen / len(captions):.1f} {clock():.0f} s loss {mean_loss:.4f} lr {lr:.2e}", flush=True)
        end = done >= 1
        if end or clock() - last_save > 120:
            save(dict(model=both.state_dict(), opt=opt.state_dict(), ema=ema.state_dict(), step=step, seconds=clock()), ckpt)
            last_save = clock()
        if end or clock() - last_export > a.export_every:
            ema.swap()
            export(unet, text, rows, BASE if end else WORK / "export")
            ema.swap()
            last_export = clock()
        if end:
            break


if __name__ == "__main__":
    main()
