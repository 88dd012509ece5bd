"""Tiny FLUX transformers: output, gradients of a loss to latents, text states and pooled embedding, LoRA, ten AdamW steps.

The models are diffusers'; the files carry Black Forest Labs' tensor names, with q, k, v (and the MLP) of a layer fused.
A LoRA on a fused layer has one A for all parts and a B a part, stacked: y += s [B_q; B_k; B_v] A x. That is the same function of A
and B as separate LoRAs on to_q, to_k, to_v whose A are equal, so by the chain rule the fused B's gradient is theirs stacked and the
fused A's is their sum. AdamW works number by number, so tying the three A is the whole of it.
"""
import torch
import torch.nn.functional as F
from diffusers import FluxTransformer2DModel

from common import ROOT, generator, normal, randomise, write
from lora import STEPS, adapt, matrices

CONFIGS = {
    "flux": dict(num_attention_heads=2, attention_head_dim=10, axes_dims_rope=(2, 2, 6), guidance_embeds=True),
    "flux-schnell": dict(num_attention_heads=2, attention_head_dim=8, axes_dims_rope=(2, 2, 4), guidance_embeds=False),
}
SHARED = dict(in_channels=64, num_layers=2, num_single_layers=2, joint_attention_dim=16, pooled_projection_dim=10)
# name: (latents shape, text tokens, sigmas, guidance)
CASES = {"square": ((2, 16, 4, 4), 5, (0.03, 0.875), 3.5), "tall": ((1, 16, 8, 6), 7, (0.5,), 1.0)}

# BFL path: diffusers paths whose rows are stacked.
OUTER = {
    "img_in": ["x_embedder"], "txt_in": ["context_embedder"], "final_layer.linear": ["proj_out"],
    **{f"{bfl}.{'in' if n == 1 else 'out'}_layer": [f"time_text_embed.{hf}.linear_{n}"]
       for bfl, hf in (("time_in", "timestep_embedder"), ("vector_in", "text_embedder"), ("guidance_in", "guidance_embedder")) for n in (1, 2)},
}
DOUBLE = {
    "img_mod.lin": ["norm1.linear"], "txt_mod.lin": ["norm1_context.linear"],
    "img_attn.qkv": ["attn.to_q", "attn.to_k", "attn.to_v"],
    "txt_attn.qkv": ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"],
    "img_attn.proj": ["attn.to_out.0"], "txt_attn.proj": ["attn.to_add_out"],
    "img_mlp.0": ["ff.net.0.proj"], "img_mlp.2": ["ff.net.2"], "txt_mlp.0": ["ff_context.net.0.proj"], "txt_mlp.2": ["ff_context.net.2"],
}
SINGLE = {"modulation.lin": ["norm.linear"], "linear1": ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"], "linear2": ["proj_out"]}
DOUBLE_NORMS = {
    "img_attn.norm.query_norm": "attn.norm_q", "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q", "txt_attn.norm.key_norm": "attn.norm_added_k",
}
SINGLE_NORMS = {"norm.query_norm": "attn.norm_q", "norm.key_norm": "attn.norm_k"}


def in_blocks(double, single):
    """One block's table, for every block."""
    kinds = (("double_blocks", "transformer_blocks", SHARED["num_layers"], double),
             ("single_blocks", "single_transformer_blocks", SHARED["num_single_layers"], single))
    for bfl, hf, count, table in kinds:
        for i in range(count):
            for name, parts in table.items():
                yield f"{bfl}.{i}.{name}", [f"{hf}.{i}.{p}" for p in ([parts] if isinstance(parts, str) else parts)]


BLOCK_LINEARS = dict(in_blocks(DOUBLE, SINGLE))


def to_bfl(state):
    state, out = dict(state), {}
    for bfl, parts in (OUTER | BLOCK_LINEARS).items():
        for kind in ("weight", "bias"):
            if f"{parts[0]}.{kind}" in state:
                out[f"{bfl}.{kind}"] = torch.cat([state.pop(f"{p}.{kind}") for p in parts])
    for bfl, (hf,) in in_blocks(DOUBLE_NORMS, SINGLE_NORMS):
        out[f"{bfl}.scale"] = state.pop(f"{hf}.weight")
    for kind in ("weight", "bias"):  # diffusers: scale then shift; BFL: shift then scale
        scale, shift = state.pop(f"norm_out.linear.{kind}").chunk(2)
        out[f"final_layer.adaLN_modulation.1.{kind}"] = torch.cat([shift, scale])
    assert not state, list(state)
    return out


def tiny_flux(name="flux"):
    return randomise(FluxTransformer2DModel(**SHARED, **CONFIGS[name]), seed=40 + list(CONFIGS).index(name))


def case(name):
    shape, tokens, sigmas, guidance = CASES[name]
    seed = 1100 + 10 * list(CASES).index(name)
    return dict(
        latents=normal(shape, seed), text=normal((shape[0], tokens, SHARED["joint_attention_dim"]), seed + 1),
        pooled=normal((shape[0], SHARED["pooled_projection_dim"]), seed + 2), target=normal(shape, seed + 3),
        sigmas=torch.tensor(sigmas), guidance=torch.tensor(guidance),
    )


def pack(x):
    """[b, c, h, w] -> [b, h/2 w/2, 4 c], inner order (c, row, column)."""
    b, c, h, w = x.shape
    return x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w // 4, 4 * c)


def unpack(x, h, w):
    b, _, c = x.shape
    return x.view(b, h // 2, w // 2, c // 4, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(b, c // 4, h, w)


def run(model, c):
    """Latents in, latents out."""
    b, _, h, w = c["latents"].shape
    rows, columns = torch.meshgrid(torch.arange(h // 2.), torch.arange(w // 2.), indexing="ij")
    ids = torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).reshape(-1, 3)
    guidance = c["guidance"].expand(b) if model.config.guidance_embeds else None
    y = model(pack(c["latents"]), c["text"], c["pooled"], c["sigmas"], ids, torch.zeros(c["text"].shape[1], 3), guidance)
    return unpack(y.sample, h, w)


def make_cases():
    for folder in CONFIGS:
        model, out = tiny_flux(folder), {}
        model.save_config(ROOT / folder)
        write(f"{folder}/flux.safetensors", to_bfl(model.state_dict()))
        for name in CASES:
            c = case(name)
            inputs = ["latents", "text", "pooled"]
            for key in inputs:
                c[key].requires_grad_()
            y = run(model, c)
            loss = F.mse_loss(y, c["target"])
            loss.backward()
            c |= dict(output=y, loss=loss) | {f"grad_{key}": c[key].grad for key in inputs}
            out |= {f"{name}.{k}": v for k, v in c.items()}
        write(f"{folder}/cases.safetensors", out)


def share_a(model, tie=False):
    """The parts of a fused layer get the first part's A; tied, they are one parameter."""
    found = {name: (a, b) for name, a, b in matrices(model)}
    assert set(found) == {p for parts in BLOCK_LINEARS.values() for p in parts}
    for first, *others in BLOCK_LINEARS.values():
        for other in others:
            if tie:
                model.get_submodule(other).lora_A["default"].weight = found[first][0]
            else:
                found[other][0].data.copy_(found[first][0].data)
    return model


def fused(model, value=lambda p: p, a_of=lambda grads: grads[0]):
    """{BFL path.lora_A, .lora_B}: B stacked, A as `a_of` takes it from the parts."""
    found = {name: (value(a), value(b)) for name, a, b in matrices(model)}
    out = {}
    for bfl, parts in BLOCK_LINEARS.items():
        out[f"{bfl}.lora_A"] = a_of([found[p][0] for p in parts])
        out[f"{bfl}.lora_B"] = torch.cat([found[p][1] for p in parts])
    return out


def lora_flux(rank, alpha, seed, **more):
    """On every linear of every block, as kohya's networks.lora_flux: 304 fused layers in FLUX.1."""
    targets = [p for parts in BLOCK_LINEARS.values() for p in parts]
    pattern = "(" + "|".join(t.replace(".", r"\.") for t in targets) + ")"
    return adapt(tiny_flux(), pattern, rank, alpha, seed, **more)


def make_gradients():
    model, c = share_a(lora_flux(rank=4, alpha=2, seed=1200)), case("square")
    y = run(model, c)
    loss = F.mse_loss(y, c["target"])
    loss.backward()
    grads = fused(model, lambda p: p.grad, a_of=sum)
    tensors = fused(model) | {f"{k}.grad": v for k, v in grads.items()} | dict(output=y, loss=loss)
    write("flux/lora-gradients.safetensors", tensors, {"rank": "4", "alpha": "2"})


def make_trajectory():
    """As lora.py's, with rectified flow: noisy = (1 - sigma) x + sigma noise, target noise - x, guidance 1; large noise at odd steps."""
    model, out = share_a(lora_flux(rank=4, alpha=4, seed=1300, zero_b=True), tie=True), {}
    params = list({id(p): p for _, a, b in matrices(model) for p in (a, b)}.values())
    assert len(params) == sum(1 + len(parts) for parts in BLOCK_LINEARS.values())
    out |= {f"before.{k}": v.clone() for k, v in fused(model).items()}
    opt = torch.optim.AdamW(params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2)
    for i in range(STEPS):
        shape = (2, 16, 4, 4) if i % 2 else (1, 16, 4, 8)
        x, noise = normal(shape, 5000 + i), normal(shape, 6000 + i) * (4 if i % 2 else 1)
        sigmas = torch.rand(shape[0], generator=generator(7000 + i))
        s = sigmas.view(-1, 1, 1, 1)
        c = dict(latents=(1 - s) * x + s * noise, text=normal((shape[0], 5, SHARED["joint_attention_dim"]), 8000 + i),
                 pooled=normal((shape[0], SHARED["pooled_projection_dim"]), 9000 + i), target=noise - x, sigmas=sigmas,
                 guidance=torch.tensor(1.0))
        loss = F.mse_loss(run(model, c), c["target"])
        opt.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        out |= {f"step{i}.{k}": v for k, v in (c | dict(loss=loss, grad_norm=norm)).items()}
    out |= {f"after.{k}": v for k, v in fused(model).items()}
    write("flux/trajectory.safetensors", out, {"rank": "4", "alpha": "4"})
    print("FLUX trajectory losses", [round(out[f"step{i}.loss"].item(), 6) for i in range(STEPS)])
    print("FLUX trajectory gradient norms", [round(out[f"step{i}.grad_norm"].item(), 4) for i in range(STEPS)])


def make():
    make_cases()
    make_gradients()
    make_trajectory()
