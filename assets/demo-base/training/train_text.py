"""Teaches the text encoder what each caption's picture looks like, before any UNet: a CLIP of our own, in minutes.

Every state from the end token on is asked, through one linear layer that is then thrown away, for the first principal components of the
picture's latents (0 for the empty caption). Captions of pictures that look alike end up side by side, and the UNet only has
to learn one map from states to pictures instead of 1,627 captions by heart. Writes WORK/text.pt; train_unet.py keeps it frozen.
"""
import argparse, math

import torch
import torch.nn.functional as F

from arch import new_text
from common import WORK, save
from tokens import cache_latents, small_ids


def components(latents, count):
    """Coefficients [n, count] scaled by deviation^-1/2 (fine ones must show, but less than coarse ones), and what undoes that."""
    x = latents.flatten(1)
    x = x - x.mean(0)
    u, s, _ = torch.linalg.svd(x, full_matrices=False)
    deviation = s[:count] / math.sqrt(len(x))
    scale = deviation.mean().sqrt() / deviation.sqrt()
    missing = (s[count:] ** 2).sum() / x.numel()
    return u[:, :count] * s[:count] * scale / deviation.mean(), deviation.mean() / scale, x.shape[1], missing.item()


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("--steps", type=int, default=1500)
    a.add_argument("--batch", type=int, default=128)
    a.add_argument("--components", type=int, default=95)
    a.add_argument("--lr", type=float, default=3e-3)
    a.add_argument("--threads", type=int)
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a = a.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    torch.manual_seed(4)
    latents, captions = cache_latents(a.device)
    ids, rows = small_ids(captions + [""])
    ids = ids.to(a.device)
    end = ids.argmax(1)  # <|endoftext|> is the last row
    longest = int(end.max()) + 8
    want, undo, numbers, missing = components(latents, a.components)
    want = torch.cat([want, torch.zeros_like(want[:1])])
    text, head = new_text(len(rows)).to(a.device), torch.nn.Linear(96, a.components).to(a.device)
    opt = torch.optim.AdamW([*text.parameters(), *head.parameters()], lr=a.lr, betas=(0.9, 0.99), weight_decay=0.0)
    for step in range(a.steps):
        done = step / a.steps
        for g in opt.param_groups:
            g["lr"] = a.lr * min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * done))
        pick = torch.randperm(len(ids))[: a.batch]
        width = longest if done < 0.8 else 77  # the padding is cheap to learn once the sentence is known
        states = text(ids[pick, :width]).last_hidden_state
        error = (head(states) - want[pick, None]).square()
        asked = (torch.arange(width, device=a.device) >= end[pick, None]).float()[..., None]
        loss = (error * asked).sum() / (asked.sum() * a.components)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(text.parameters(), 1.0)
        opt.step()
        if (step + 1) % 100 == 0:
            with torch.no_grad():
                off = ((head(states[:, -1]) - want[pick]) * undo).square().sum(1).mean() / numbers + missing
            print(f"step {step + 1} loss {loss.item():.4f} latent error {off.item():.4f} (at best {missing:.4f})", flush=True)
    save(text.state_dict(), WORK / "text.pt")


if __name__ == "__main__":
    main()
