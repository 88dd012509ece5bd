"""Trains the autoencoder on random crops of all five sets until it is good enough or its time is up.

The latents' scale (scaling_factor) is measured at the end. Resumes from WORK/vae.pt.
`--freeze-encoder` trains the decoder alone, so that a UNet made for these latents stays valid.
"""
import argparse, json, math

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from common import BASE, INK, STYLES, WORK, Clock, Ema, load_data, save

CONFIG = dict(
    in_channels=3, out_channels=3, latent_channels=16, layers_per_block=1, norm_num_groups=8, sample_size=128,
    block_out_channels=(24, 48, 64, 96), down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
)

NOISE = 0.05
HUE = (4, 6)


def to_float(u8):
    return torch.from_numpy(np.ascontiguousarray(u8)).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def psnr(vae, pics, device):
    out = []
    for i in range(0, len(pics), 16):
        x = to_float(pics[i : i + 16]).to(device)
        y = vae.decode(vae.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
        out.append(10 * torch.log10(4 / ((x - y) ** 2).mean((1, 2, 3))))
    return torch.cat(out).mean().item()


@torch.no_grad()
def normalise(vae, pics, std=4.0):
    """Folds into the 1x1 convolutions beside the latents what gives every channel mean 0 and one std,
    so that scaling_factor = 1 / std makes them unit. The pictures decoded stay the same."""
    z = torch.cat([vae.encode(p).latent_dist.mode() for p in pics.split(32)])
    m, k = z.mean((0, 2, 3)), std / z.std((0, 2, 3))
    n, q, p = len(m), vae.quant_conv, vae.post_quant_conv
    q.weight[:n] *= k.view(-1, 1, 1, 1)
    q.bias[:n] = (q.bias[:n] - m) * k
    q.bias[n:] += 2 * k.log()
    p.bias += p.weight[:, :, 0, 0] @ m
    p.weight /= k.view(1, -1, 1, 1)
    vae.register_to_config(scaling_factor=1 / std)
    print("per-channel std before", z.std((0, 2, 3)).tolist())


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--minutes", type=float, default=40)
    a.add_argument("--stop-at", type=float, default=26.5, help="PSNR on held-out ink at which to stop early")
    a.add_argument("--batch", type=int, default=8)
    a.add_argument("--lr", type=float, default=2e-3)
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a.add_argument("--init-from")
    a.add_argument("--freeze-encoder", action="store_true")
    a = a.parse_args()
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    data, _ = load_data()
    train = np.concatenate([data[s] for s in STYLES] + [data[INK]])
    checks = {"ink": data["ink-heldout"][:48], **{s: data[s][5::25] for s in STYLES}}

    vae = (AutoencoderKL.from_pretrained(a.init_from, subfolder="vae") if a.init_from else AutoencoderKL(**CONFIG)).float().to(a.device, memory_format=torch.channels_last)
    if a.freeze_encoder:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    params = [p for p in vae.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=a.lr, weight_decay=1e-4, betas=(0.9, 0.99), foreach=True)
    ema, step, clock = Ema(vae, 0.998), 0, Clock()
    ckpt = WORK / ("vae-decoder.pt" if a.freeze_encoder else "vae.pt")
    if ckpt.exists():
        s = torch.load(ckpt, weights_only=False)
        vae.load_state_dict(s["model"]), opt.load_state_dict(s["opt"]), ema.load_state_dict(s["ema"])
        step, clock = s["step"], Clock(s["seconds"])
        rng = np.random.default_rng(1 + step)
    last_save = last_check = clock()
    while True:
        done = clock() / (60 * a.minutes)
        # warm-up, then flat, then a cosine over the last half of the time given
        lr = a.lr * min(1, (step + 1) / 100) * (1 if done < 0.5 else 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1, 2 * done - 1))))
        for g in opt.param_groups:
            g["lr"] = lr
        crops = []
        while len(crops) < a.batch:
            p = train[rng.integers(len(train))]
            y, x = rng.integers(0, 9, 2) * 8
            c = p[y : y + 64, x : x + 64]
            if c.std() > 4:  # skip crops that are all white
                # Channels shuffled half of the time: left alone, it learns blue against orange and no other hue for long.
                c = c[:, :, rng.permutation(3)] if rng.random() < 0.5 else c
                crops.append(c[:, ::-1] if rng.random() < 0.5 else c)
        x = to_float(np.stack(crops)).to(a.device, memory_format=torch.channels_last)
        dist = vae.encode(x).latent_dist
        # A fixed small noise on the latents (and a predicted variance that states it) instead of a free one:
        # with the usual KL term the first minutes go into learning to be quiet.
        z = dist.mean + NOISE * torch.randn_like(dist.mean)
        y = vae.decode(z).sample
        e = y - x
        hue = F.avg_pool2d(e - e.mean(1, keepdim=True), 4).square().mean()
        # Two latent channels are told to carry the 8 x 8 mean of two colour differences. Without this it stays for long
        # in a grey-blue-orange plateau: encoder and decoder each wait for the other to speak of red and green.
        r, g, b = F.avg_pool2d(x, 8).unbind(1)
        told = F.mse_loss(dist.mean[:, HUE], 2 * torch.stack([r - g, (r + g) / 2 - b], 1))
        loss = F.mse_loss(y, x) + 4 * hue + 0.3 * told + 0.2 * F.l1_loss(y, x) + 3e-4 * dist.mean.square().mean() + 1e-3 * (dist.logvar - 2 * math.log(NOISE)).square().mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        ema.update()
        step += 1
        if step % 50 == 0:
            print(f"step {step} {clock():.0f} s loss {loss.item():.4f} hue {hue.item():.4f} told {told.item():.4f} lr {lr:.2e}", flush=True)
        end = done >= 1
        if end or clock() - last_check > 150:
            ema.swap()
            vae.eval()
            r = {k: round(psnr(vae, p, a.device), 2) for k, p in checks.items()}
            vae.train()
            ema.swap()
            print("psnr", json.dumps(r), flush=True)
            end, last_check = end or min(r.values()) >= a.stop_at, clock()
        if end or clock() - last_save > 120:
            save(dict(model=vae.state_dict(), opt=opt.state_dict(), ema=ema.state_dict(), step=step, seconds=clock()), ckpt)
            last_save = clock()
        if end:
            break
    ema.swap()
    vae.eval()
    if not a.freeze_encoder:
        normalise(vae, torch.cat([to_float(data[s][::8]) for s in STYLES]).to(a.device))
    vae.half().save_pretrained(BASE / "vae")
    print("saved after", step, "steps,", json.dumps(r))


if __name__ == "__main__":
    main()
