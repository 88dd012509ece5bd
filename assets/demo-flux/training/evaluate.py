"""Judges the base as the demo base is judged: how often the right thing is drawn, and a sheet. `--raw STAGE` looks at the
checkpoint of a stage that is still running."""
import argparse, importlib.util, json, math

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from transformers import T5Config, T5EncoderModel

from train import OUT, SCHEDULER, T5, new_dit, pooled, t5_ids, velocity
from common import BASE, STYLES, WORK, caption, load_data


# The demo base's own evaluate.py, whose name this file has too.
spec = importlib.util.spec_from_file_location("evaluate_demo", BASE / "training/evaluate.py")
demo = importlib.util.module_from_spec(spec)
spec.loader.exec_module(demo)
SHEET, sheet, thumbs = demo.SHEET, demo.sheet, demo.thumbs


def sigmas(steps, tokens):
    """FLUX.1 dev's: evenly from 1, moved by the number of picture tokens."""
    s = SCHEDULER
    slope = (s["max_shift"] - s["base_shift"]) / (s["max_image_seq_len"] - s["base_image_seq_len"])
    mu = s["base_shift"] + slope * (tokens - s["base_image_seq_len"])
    even = torch.linspace(1, 1 / steps, steps)
    return torch.cat([math.exp(mu) / (math.exp(mu) + (1 / even - 1)), torch.zeros(1)])


@torch.no_grad()
def draw(dit, t5, vae, captions, steps=25, guidance=2.5, seed=0):
    out = []
    for i in range(0, len(captions), 25):
        c = captions[i : i + 25]
        states, vector = t5(input_ids=t5_ids(c)).last_hidden_state, pooled(c)
        x = torch.randn(len(c), 64, 64, generator=torch.Generator().manual_seed(seed + i))
        grid = sigmas(steps, 64)
        for now, then in zip(grid, grid[1:]):
            ones = torch.ones(len(c))
            x = x + (then - now) * velocity(dit, x, now * ones, states, vector, guidance * ones)
        z = x.view(len(c), 8, 8, 16, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(len(c), 16, 16, 16)
        y = vae.decode(z / vae.config.scaling_factor).sample
        out.append(((y.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(out)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--raw", choices=["dit", "guide"])
    p.add_argument("--captions", type=int, default=100)
    p.add_argument("--guidance", type=float, nargs="+", default=[2.5])
    p.add_argument("--threads", type=int)
    p.add_argument("--out", default=str(OUT))
    a = p.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    vae = AutoencoderKL.from_pretrained(BASE, subfolder="vae").float().eval()
    if a.raw:
        dit, s = new_dit(), torch.load(WORK / f"{a.raw}.pt", weights_only=False)
        dit.load_state_dict(s["model"])
        if "ema" in s:
            for q, e in zip(dit.parameters(), s["ema"]["avg"]):
                q.data.copy_(e)
        ids = t5_ids([caption(n, w) for k, w in STYLES.items() for n in load_data()[1][k]] + [""])
        trained = torch.load(WORK / "t5.pt", weights_only=True)
        wide = torch.zeros(T5["vocab_size"], T5["d_model"])
        wide[ids.unique()] = trained["shared.weight"]
        t5 = T5EncoderModel(T5Config(**T5))
        t5.load_state_dict({k: wide if k in ("shared.weight", "encoder.embed_tokens.weight") else v for k, v in trained.items()})
    else:
        dit = FluxTransformer2DModel.from_pretrained(OUT, subfolder="transformer").float().eval()
        t5 = T5EncoderModel.from_pretrained(OUT, subfolder="text_encoder_2").float().eval()
    data, names = load_data()
    rng, result = np.random.default_rng(3), {}
    asked = [(s, int(rng.integers(len(names[s])))) for s in STYLES for _ in range(a.captions // 4)]
    for guidance in a.guidance:
        pics = draw(dit, t5, vae, [caption(names[s][i], STYLES[s]) for s, i in asked], guidance=guidance)
        ranks = [
            int((np.argsort(((thumbs(data[s]) - t) ** 2).sum(1)) == i).argmax()) for (s, i), t in zip(asked, thumbs(pics))
        ]
        result[f"guidance {guidance}"] = {"first": sum(r < 1 for r in ranks), "among five": sum(r < 5 for r in ranks), "of": len(asked)}
        print(json.dumps(result), flush=True)
    drawn = draw(dit, t5, vae, [caption(n, w) for w in STYLES.values() for n in SHEET], guidance=a.guidance[0], seed=5)
    sheet(drawn.reshape(len(STYLES), len(SHEET), 128, 128, 3), f"{a.out}/sheet-drawn.png")
    if not a.raw:
        (OUT / "figures.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
