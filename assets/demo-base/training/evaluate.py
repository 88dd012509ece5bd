"""Judges the base: autoencoder PSNR, how often the right thing is drawn, and the contact sheets.

Right: the thing asked for is among the five pictures of its style nearest to what was drawn (squared distance on
32 x 32 thumbnails, `--captions` captions, 25 DDIM steps).
"""
import argparse, json, pathlib

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from common import BASE, INK, STYLES, WORK, caption, load_data
from train_vae import psnr

SHEET = "red-apple cat-face automobile sunflower pizza rocket owl guitar house mushroom penguin umbrella".split()


class Base:
    def __init__(self, folder, weights, device):
        load = lambda c, d, n: c.from_pretrained(d, subfolder=n).float().eval().to(device)
        self.vae = load(AutoencoderKL, folder, "vae")
        self.text, self.unet = load(CLIPTextModel, weights, "text_encoder"), load(UNet2DConditionModel, weights, "unet")
        self.tok = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.sched, self.device = DDIMScheduler.from_pretrained(folder, subfolder="scheduler"), device

    @torch.no_grad()
    def draw(self, captions, steps=25, cfg=3.5, seed=0):
        out = []
        for i in range(0, len(captions), 25):
            c = captions[i : i + 25]
            ids = self.tok(c + [""] * len(c), padding="max_length", max_length=77, return_tensors="pt").input_ids.to(self.device)
            h = self.text(ids).last_hidden_state
            z = torch.randn(len(c), 16, 16, 16, generator=torch.Generator().manual_seed(seed + i)).to(self.device)
            self.sched.set_timesteps(steps)
            for t in self.sched.timesteps:
                yes, no = self.unet(torch.cat([z, z]), t, h).sample.chunk(2)
                z = self.sched.step(no + cfg * (yes - no), t, z).prev_sample
            y = self.vae.decode(z / self.vae.config.scaling_factor).sample
            out.append(((y.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy())
        return np.concatenate(out)


def thumbs(pics):
    return np.stack([np.asarray(Image.fromarray(p).resize((32, 32), Image.BOX), np.float32).ravel() for p in pics])


def sheet(rows, path, size=96):
    im = Image.fromarray(np.concatenate([np.concatenate(list(r), 1) for r in rows]))
    im = im.resize((im.width * size // 128, im.height * size // 128), Image.LANCZOS)
    im.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--weights", type=pathlib.Path, default=BASE, help="folder with unet/ and text_encoder/")
    a.add_argument("--out", type=pathlib.Path, default=BASE)
    a.add_argument("--captions", type=int, default=100)
    a.add_argument("--cfg", type=float, nargs="+", default=[3.0])
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a = a.parse_args()
    data, names = load_data()
    base, result = Base(BASE, a.weights, a.device), {}
    ref = {"ink, seen": data[INK][::8], "ink, held out": data["ink-heldout"], **{w: data[s][::8] for s, w in STYLES.items()}}
    result["psnr"] = {k: round(psnr(base.vae, v, a.device), 2) for k, v in ref.items()}
    rng = np.random.default_rng(3)
    asked = [(s, int(rng.integers(len(names[s])))) for s in STYLES for _ in range(a.captions // 4)]
    for cfg in a.cfg:
        pics, hits1, hits5, styles = base.draw([caption(names[s][i], STYLES[s]) for s, i in asked], cfg=cfg), 0, 0, dict.fromkeys(STYLES.values(), 0)
        for (s, i), t in zip(asked, thumbs(pics)):
            rank = int((np.argsort(((thumbs(data[s]) - t) ** 2).sum(1)) == i).argmax())
            hits1, hits5 = hits1 + (rank < 1), hits5 + (rank < 5)
            styles[STYLES[s]] += rank < 5
        result[f"cfg {cfg}"] = {"first": hits1, "among five": hits5, "by style": styles, "of": len(asked)}
    print(json.dumps(result), flush=True)
    (a.out / "figures.json").write_text(json.dumps(result, indent=1) + "\n")
    drawn = base.draw([caption(n, w) for w in STYLES.values() for n in SHEET], cfg=a.cfg[0], seed=5)
    sheet(drawn.reshape(len(STYLES), len(SHEET), 128, 128, 3), a.out / "sheet-drawn.png")
    truth = [[data[s][names[s].index(n)] for n in SHEET] for s in STYLES]
    sheet(np.array(truth), a.out / "sheet-truth.png")
    ink = data["ink-heldout"][:12]
    with torch.no_grad():
        x = torch.from_numpy(ink).permute(0, 3, 1, 2).float().to(a.device) / 127.5 - 1
        y = base.vae.decode(base.vae.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
    y = ((y + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    sheet(np.array([ink, y]), a.out / "sheet-autoencoder-ink.png")


if __name__ == "__main__":
    main()
