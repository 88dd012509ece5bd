"""Trains the UNet on cached latents and text states of the four styles.

Resumes from WORK/unet.pt; `--init-from FOLDER` starts from exported weights instead (say, the committed ones).
The text encoder has only the token rows that occur in captions; the table is widened to CLIP's 49408 rows on export.
The loss is the plain v-prediction loss, and half of the timesteps are above 800: that is where the thing is chosen.
"""
import argparse, datetime, math

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel

from arch import SCHEDULER, new_text, new_unet, write_index, write_tokenizer
from common import WORK, Clock, Ema, save
from muon import Muon
from tokens import cache_latents, small_ids, style_ids


def unknown(trained, styles, count):
    """Rows for words that occur in no caption, `trained` [words, width], `styles` the rows of the words that name a style.

    Near the middle of the styles: "anchor, ink style" is then an anchor in some style, and a LoRA need only learn which.
    Rows as far out as the trained ones push the picture off what was asked for (of 20 things 2 were lost, the rest torn)."""
    away = torch.randn(count, trained.shape[1], generator=torch.Generator().manual_seed(7))
    usual = (trained - trained.mean(0)).norm(dim=1).mean()
    return styles.mean(0) + 0.3 * usual * away / away.norm(dim=1, keepdim=True)


def export(unet, text, rows, folder):
    """Writes both in f16."""
    full = new_text().float()
    table = full.get_input_embeddings().weight
    trained = text.get_input_embeddings().weight.detach().cpu()
    state = {k: v.cpu() for k, v in text.state_dict().items()}
    key = next(k for k in state if k.endswith("token_embedding.weight"))
    names = [rows.tolist().index(i) for i in style_ids()]
    with torch.no_grad():
        table.copy_(unknown(trained, trained[names], len(table)))
        table[rows] = trained
    state[key] = table.detach()
    full.load_state_dict(state)
    full.half().save_pretrained(folder / "text_encoder")
    half = new_unet()
    half.load_state_dict({k: v.cpu() for k, v in unet.state_dict().items()})
    half.half().save_pretrained(folder / "unet")


def timesteps(n, noisy):
    """Stratified: a share `noisy` of them even over [800, 1000), the rest even over [0, 1000)."""
    u = (torch.randperm(n) + torch.rand(n)) / n
    return torch.where(u < noisy, 800 + 200 * u / noisy, 1000 * (u - noisy) / (1 - noisy)).long().clamp(max=999)


def hide(x, t, free):
    """What the noise is laid over: above timestep 800, unless the caption is empty, a quarter of the pictures is left out and
    a quarter is another picture. The end of this schedule still shows the outline of a picture (4096 numbers, 0.5 % signal);
    a network that reads it there finds outlines in pure noise too, where sampling starts, and the caption says nothing."""
    u = torch.rand(len(x), device=x.device)
    u = torch.where((t < 800) | free.to(x.device), 1.0, u).view(-1, 1, 1, 1)
    return torch.where(u < 0.25, 0, torch.where(u < 0.5, x.roll(1, 0), x))


def optimisers(unet, lr, muon_lr):
    """Muon (if `muon_lr`) for the inner matrices; AdamW for the rest, twice as fast where the text comes in."""
    inner, text, rest = [], [], []
    for name, p in unet.named_parameters():
        if "attn2.to_k" in name or "attn2.to_v" in name:
            text.append(p)
        elif muon_lr and p.ndim >= 2 and name not in ("conv_in.weight", "conv_out.weight"):
            inner.append(p)
        else:
            rest.append(p)
    groups = [dict(params=rest, full_lr=lr), dict(params=text, full_lr=2 * lr)]
    adam = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), weight_decay=0.01, foreach=True)
    return [adam] + ([Muon([dict(params=inner, full_lr=muon_lr)], lr=muon_lr)] if inner else []), rest + text


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--minutes", type=float, default=240, help="training time in all, restarts included")
    a.add_argument("--deadline", help="UTC, as 18:10: end then instead, whatever the time spent")
    a.add_argument("--batch", type=int, default=16)
    a.add_argument("--lr", type=float, default=1e-3, help="of AdamW")
    a.add_argument("--muon-lr", type=float, default=2e-3, help="0: AdamW for everything")
    a.add_argument("--noisy", type=float, default=0.5, help="share of extra timesteps above 800; less once captions are known")
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
    ids, rows = small_ids(captions + [""])
    ids, empty = ids.to(a.device), len(captions)

    text, unet = new_text(len(rows)), new_unet()
    if a.init_from:
        full = CLIPTextModel.from_pretrained(a.init_from, subfolder="text_encoder").float().state_dict()
        text.load_state_dict({k: v[rows] if k.endswith("token_embedding.weight") else v for k, v in full.items()})
        unet.load_state_dict(UNet2DConditionModel.from_pretrained(a.init_from, subfolder="unet").float().state_dict())
    else:
        text.load_state_dict(torch.load(WORK / "text.pt", weights_only=True))
    with torch.no_grad():  # the text encoder stays as train_text.py left it
        states = torch.cat([text.to(a.device)(part).last_hidden_state for part in ids.split(128)])
    unet.to(a.device, memory_format=torch.channels_last)
    opts, clipped = optimisers(unet, a.lr, a.muon_lr)
    ema, step, clock, ckpt = Ema(unet, 0.995), 0, Clock(), WORK / "unet.pt"
    if ckpt.exists():
        s = torch.load(ckpt, weights_only=False)
        unet.load_state_dict(s["model"]), ema.load_state_dict(s["ema"])
        for opt, state in zip(opts, s["opts"]):
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
        for opt in opts:
            for g in opt.param_groups:
                g["lr"] = g["full_lr"] * min(1, (step + 1) / 60) * 0.5 * (1 - math.cos(math.pi * fall))
        if len(order) < a.batch:
            order = order + torch.randperm(len(captions)).tolist()
        pick, order = torch.tensor(order[: a.batch]), order[a.batch :]
        x = latents[pick]
        cap = torch.where(torch.rand(a.batch) < 0.1, empty, pick)
        t = timesteps(a.batch, a.noisy).to(a.device)
        al = alphas[t].view(-1, 1, 1, 1)
        noisy = al.sqrt() * hide(x, t, cap == empty) + (1 - al).sqrt() * torch.randn_like(x)
        target = (al.sqrt() * noisy - x) / (1 - al).sqrt()  # the velocity that leads to x; where nothing is hidden, the usual one
        v = unet(noisy.contiguous(memory_format=torch.channels_last), t, states[cap]).sample
        each = F.mse_loss(v, target, reduction="none").mean((1, 2, 3))
        unet.zero_grad(set_to_none=True)
        each.mean().backward()
        torch.nn.utils.clip_grad_norm_(clipped, 1.0)
        for opt in opts:
            opt.step()
        ema.update()
        step += 1
        for i, part in enumerate((t >= 800, t < 800)):
            now = each[part].mean().item()
            mean[i] = now if mean[i] is None else 0.95 * mean[i] + 0.05 * now
        if step % 25 == 0:
            epoch, lr = step * a.batch / len(captions), opts[0].param_groups[0]["lr"]
            print(f"step {step} epoch {epoch:.1f} {clock():.0f} s loss noisy {mean[0]:.4f} rest {mean[1]:.4f} lr {lr:.2e}", flush=True)
        end = done >= 1
        if end or clock() - last_save > 120:
            state = dict(model=unet.state_dict(), opts=[o.state_dict() for o in opts], ema=ema.state_dict())
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
