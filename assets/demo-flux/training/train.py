"""Makes the demo base in the layout of FLUX.1: see README.md.

Stages, each kept in the work folder and not done again: `text` (the small T5), `dit` (the transformer, rectified flow), `guide`
(its guidance embedding is taught what classifier-free guidance does, as FLUX.1 dev was distilled). A killed stage goes on from its
last checkpoint. Pictures, autoencoder and CLIP are the demo base's: run its fetch_data.py first.
"""
import argparse, copy, gzip, json, math, pathlib, sys

import torch
import torch.nn.functional as F
from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from tokenizers import Tokenizer
from transformers import CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE.parent
sys.path.insert(0, str(HERE.parents[1] / "demo-base/training"))
from common import BASE, STYLES, WORK, Clock, Ema, caption, load_data, save
from muon import Muon
from tokens import cache_latents
from train_text import components
from train_unet import unknown

TOKENS = 32  # of a caption that T5 reads, padding included
WIDTH = 64
T5 = dict(
    n_positions=TOKENS,
    vocab_size=32128, d_model=WIDTH, d_kv=16, d_ff=192, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu",
    tie_word_embeddings=False, dropout_rate=0.0,
)
DIT = dict(
    in_channels=64, num_layers=2, num_single_layers=5, attention_head_dim=32, num_attention_heads=6, axes_dims_rope=(8, 12, 12),
    joint_attention_dim=WIDTH, pooled_projection_dim=96, guidance_embeds=True,
)
SCHEDULER = dict(use_dynamic_shifting=True, shift=3.0, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=4096)


def t5_ids(captions):
    """ids [n, TOKENS]: the caption, </s>, padding, which is read too."""
    tok = Tokenizer.from_str(gzip.decompress((OUT.parent / "tokenizers/t5/tokenizer.json.gz").read_bytes()).decode())
    rows = [(tok.encode(c, add_special_tokens=False).ids[: TOKENS - 1] + [1]) for c in captions]
    return torch.tensor([r + [0] * (TOKENS - len(r)) for r in rows])


@torch.no_grad()
def pooled(captions):
    """CLIP's vector [n, 96] of each caption, by the demo base's text encoder, which stays as it is."""
    tok = CLIPTokenizer.from_pretrained(BASE / "tokenizer")
    clip = CLIPTextModel.from_pretrained(BASE, subfolder="text_encoder").float()
    ids = tok(captions, padding="max_length", max_length=77, return_tensors="pt").input_ids
    return torch.cat([clip(part).pooler_output for part in ids.split(128)])


def pack(x):
    """[n, 16, h, w] -> [n, h/2 * w/2, 64], as FLUX does."""
    n, c, h, w = x.shape
    return x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, h * w // 4, c * 4)


def places(side):
    ids = torch.zeros(side, side, 3)
    ids[..., 1] = torch.arange(side)[:, None]
    ids[..., 2] = torch.arange(side)[None]
    return ids.view(-1, 3)


def new_dit():
    """Modulations and the last layer start at zero, so that each block starts as the identity (DiT's adaLN-Zero)."""
    dit = FluxTransformer2DModel(**DIT)
    for name, m in dit.named_modules():
        modulates = name.endswith(("norm1.linear", "norm1_context.linear", "norm.linear", "norm_out.linear"))
        if modulates or name == "proj_out":
            torch.nn.init.zeros_(m.weight), torch.nn.init.zeros_(m.bias)
    return dit


def velocity(dit, x, t, states, vector, guidance):
    side = math.isqrt(x.shape[1])
    return dit(
        hidden_states=x, encoder_hidden_states=states, pooled_projections=vector, timestep=t, guidance=guidance,
        img_ids=places(side), txt_ids=torch.zeros(states.shape[1], 3),
    ).sample


def train_text(ids, rows, latents, a):
    """The small T5 learns, alone, to say in each of its states what the picture looks like (train_text.py of the demo base)."""
    want, undo, numbers, missing = components(latents, 60)
    want = torch.cat([want, torch.zeros_like(want[:1])])
    t5, head = T5EncoderModel(T5Config(**T5 | dict(vocab_size=len(rows)))), torch.nn.Linear(WIDTH, 60)
    with torch.no_grad():
        torch.nn.init.normal_(t5.get_input_embeddings().weight, std=1.0)
    opt = torch.optim.AdamW([*t5.parameters(), *head.parameters()], lr=3e-3, betas=(0.9, 0.99), weight_decay=0.0)
    for step in range(a.text_steps):
        for g in opt.param_groups:
            g["lr"] = 3e-3 * min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / a.text_steps))
        pick = torch.randperm(len(ids))[:128]
        said = head(t5(input_ids=ids[pick]).last_hidden_state)
        loss = (said - want[pick, None]).square().mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(t5.parameters(), 1.0)
        opt.step()
        if (step + 1) % 100 == 0:
            off = ((said.detach().mean(1) - want[pick]) * undo).square().sum(1).mean() / numbers + missing
            print(f"text step {step + 1} loss {loss.item():.4f} latent error {off.item():.4f} (at best {missing:.4f})", flush=True)
    save(t5.state_dict(), WORK / "t5.pt")


def timesteps(n):
    """Stratified; a third even over the noisiest fifth, where the thing is chosen, the rest logit-normal."""
    u = (torch.randperm(n) + torch.rand(n)) / n
    rest = torch.sigmoid(torch.randn(n))
    return torch.where(u < 0.33, 0.8 + 0.2 * u / 0.33, rest)


def train_dit(dit, stage, minutes, x, states, vectors, a):
    """`x` [n, 64, 64] packed latents; the last row of `states` and `vectors` is the empty caption's. In stage `guide` the
    target is what guidance of 1 to 4 makes of the frozen teacher's two answers."""
    teacher = copy.deepcopy(dit).eval().requires_grad_(False) if stage == "guide" else None
    inner = [p for n, p in dit.named_parameters() if p.ndim == 2 and "embed" not in n and n != "proj_out.weight"]
    chosen = {id(p) for p in inner}
    rest = [p for p in dit.parameters() if id(p) not in chosen]
    opts = [
        torch.optim.AdamW(rest, lr=a.lr, betas=(0.9, 0.99), weight_decay=0.01, foreach=True),
        Muon(inner, lr=a.muon_lr),
    ]
    full = [a.lr, a.muon_lr] if stage == "dit" else [0.5 * a.lr, 0.5 * a.muon_lr]
    ema, step, clock, ckpt = Ema(dit, 0.998), 0, Clock(), WORK / f"{stage}.pt"
    if ckpt.exists():
        s = torch.load(ckpt, weights_only=False)
        if s.get("done"):
            dit.load_state_dict(s["model"])
            return
        dit.load_state_dict(s["model"]), ema.load_state_dict(s["ema"])
        teacher and teacher.load_state_dict(s["teacher"])
        for opt, state in zip(opts, s["opts"]):
            opt.load_state_dict(state)
        step, clock = s["step"], Clock(s["seconds"])
    torch.manual_seed(2 + step)
    total, last, order, mean = 60 * minutes, clock(), [], [None, None]
    empty = len(x)
    while True:
        done = clock() / total
        fall = max(0.02, min(1, (1 - done) / 0.5))
        for opt, lr in zip(opts, full):
            for g in opt.param_groups:
                g["lr"] = lr * min(1, (step + 1) / 100) * fall
        if len(order) < a.batch:
            order = order + torch.randperm(len(x)).tolist()
        pick, order = torch.tensor(order[: a.batch]), order[a.batch :]
        cap = torch.where(torch.rand(a.batch) < 0.1, empty, pick)
        t, noise = timesteps(a.batch), torch.randn(a.batch, *x.shape[1:])
        guidance = 1 + 3 * torch.rand(a.batch)
        noisy = torch.lerp(x[pick], noise, t.view(-1, 1, 1))
        with torch.autocast("cpu", torch.bfloat16, enabled=a.bf16):
            target = noise - x[pick]
            if teacher:
                guidance[: a.batch // 4] = 1
                with torch.no_grad():
                    yes, no = (
                        velocity(teacher, noisy, t, states[c], vectors[c], torch.ones(a.batch)).float()
                        for c in (cap, torch.full_like(cap, empty))
                    )
                    # A quarter keeps learning from pictures, so that guidance 1 stays the plain model.
                    led = no + guidance.view(-1, 1, 1) * (yes - no)
                    target = torch.where((torch.arange(a.batch) < a.batch // 4).view(-1, 1, 1), target, led)
            v = velocity(dit, noisy, t, states[cap], vectors[cap], guidance if teacher else torch.ones(a.batch)).float()
        each = (v - target).square().mean((1, 2))
        dit.zero_grad(set_to_none=True)
        each.mean().backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        for opt in opts:
            opt.step()
        ema.update()
        step += 1
        for i, part in enumerate((t >= 0.8, t < 0.8)):
            now = each[part].mean().item()
            mean[i] = now if mean[i] is None else 0.97 * mean[i] + 0.03 * now
        if step % 25 == 0:
            print(f"{stage} step {step} epoch {step * a.batch / len(x):.1f} {clock():.0f} s loss noisy {mean[0]:.4f} rest {mean[1]:.4f}", flush=True)
        end = done >= 1
        if end or clock() - last > 120:
            state = dict(model=dit.state_dict(), opts=[o.state_dict() for o in opts], ema=ema.state_dict(), step=step, seconds=clock())
            if teacher:
                state["teacher"] = teacher.state_dict()
            if end:
                ema.swap()
                state = dict(model=dit.state_dict(), done=True, step=step, seconds=clock())
            save(state, ckpt)
            last = clock()
        if end:
            return


def export(dit, rows, styles):
    """Writes transformer and text encoder in bf16, as FLUX.1 is published, and the small files beside them."""
    trained = torch.load(WORK / "t5.pt", weights_only=True)
    full = T5EncoderModel(T5Config(**T5))
    table = trained["shared.weight"]
    names = [rows.tolist().index(i) for i in styles]
    with torch.no_grad():
        wide = unknown(table, table[names], T5["vocab_size"])
        wide[rows] = table
    full.load_state_dict({k: wide if k in ("shared.weight", "encoder.embed_tokens.weight") else v for k, v in trained.items()})
    full.bfloat16().save_pretrained(OUT / "text_encoder_2")
    copy.deepcopy(dit).bfloat16().save_pretrained(OUT / "transformer")
    config = OUT / "transformer/config.json"
    # Of latents, as UNets tell it: Lorikeet draws at 128 px then. Diffusers passes over it.
    config.write_text(json.dumps(json.loads(config.read_text()) | {"sample_size": 16}, indent=2) + "\n")
    FlowMatchEulerDiscreteScheduler(**SCHEDULER).save_pretrained(OUT / "scheduler")
    (OUT / "tokenizer_2").mkdir(exist_ok=True)
    (OUT / "tokenizer_2/tokenizer_config.json").write_text(json.dumps({"model_max_length": TOKENS, "tokenizer_class": "T5Tokenizer"}, indent=2) + "\n")
    parts = dict(
        scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"], text_encoder=["transformers", "CLIPTextModel"],
        text_encoder_2=["transformers", "T5EncoderModel"], tokenizer=["transformers", "CLIPTokenizer"],
        tokenizer_2=["transformers", "T5TokenizerFast"], transformer=["diffusers", "FluxTransformer2DModel"],
        vae=["diffusers", "AutoencoderKL"],
    )
    index = {"_class_name": "FluxPipeline", "_diffusers_version": "0.42.1"} | parts
    (OUT / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--text-steps", type=int, default=2000)
    p.add_argument("--minutes", type=float, default=60, help="of the stage dit, restarts included")
    p.add_argument("--guide-minutes", type=float, default=10)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--lr", type=float, default=1e-3, help="of AdamW")
    p.add_argument("--muon-lr", type=float, default=3e-3)
    p.add_argument("--no-bf16", dest="bf16", action="store_false")
    p.add_argument("--threads", type=int)
    a = p.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    torch.manual_seed(4)
    latents, captions = cache_latents("cpu")
    ids = t5_ids(captions + [""])
    rows, ids = ids.unique(return_inverse=True)
    if not (WORK / "t5.pt").exists():
        train_text(ids, rows, latents, a)
    t5 = T5EncoderModel(T5Config(**T5 | dict(vocab_size=len(rows))))
    t5.load_state_dict(torch.load(WORK / "t5.pt", weights_only=True))
    with torch.no_grad():
        states = torch.cat([t5(input_ids=part).last_hidden_state for part in ids.split(128)])
    vectors, x = pooled(captions + [""]), pack(latents)
    dit = new_dit()
    size = lambda m: sum(p.numel() for p in m.parameters()) / 1e6
    print(f"{len(captions)} captions, {len(rows)} tokens, longest {int((ids != ids[-1, -1]).sum(1).max())}, latents std {x.std():.3f},"
          f" states std {states.std():.3f}, vectors std {vectors.std():.3f}, transformer {size(dit):.2f} M", flush=True)
    train_dit(dit, "dit", a.minutes, x, states, vectors, a)
    export(dit, rows, style_rows())
    train_dit(dit, "guide", a.guide_minutes, x, states, vectors, a)
    export(dit, rows, style_rows())


def style_rows():
    """T5's ids of the words that name a style."""
    return sorted({i for row in t5_ids(STYLES.values()).tolist() for i in row if i > 3})


if __name__ == "__main__":
    main()
