"""What the fixture modules share: seeded weights, small files, the table of what was written."""
import json, math, pathlib

import torch
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "parity"
WRITTEN = []


def generator(seed):
    return torch.Generator().manual_seed(seed)


def normal(shape, seed):
    return torch.randn(shape, generator=generator(seed))


@torch.no_grad()
def randomise(module, seed):
    """Weights of about unit gain, biases off zero, norm scales off one: an error in any of them shows."""
    g = generator(seed)
    for name, p in module.named_parameters():
        r = torch.randn(p.shape, generator=g)
        if p.ndim == 2 and ("token_embedding" in name or "position_embedding" in name):
            p.copy_(0.5 * r)
        elif p.ndim >= 2:
            p.copy_(r / math.sqrt(p[0].numel()))
        elif "norm" in name and name.endswith("weight"):
            p.copy_(1 + 0.2 * r)
        else:
            p.copy_(0.1 * r)
    return module.eval().requires_grad_(False)


def write(path, tensors, metadata=None):
    """Saves f32 (and i64) tensors under ROOT and remembers the file for the table."""
    path = ROOT / path
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
    save_file(flat, path, metadata)
    note(path, len(flat))


def write_rows(path, rows):
    """JSON: a list with one row a line, ASCII only."""
    path = ROOT / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    note(path, len(rows))


def write_model(module, folder):
    """A diffusers or transformers folder: config.json and its safetensors."""
    module.save_pretrained(ROOT / folder)
    for path in sorted((ROOT / folder).glob("*model*.safetensors")):
        note(path, len(module.state_dict()))


def note(path, entries):
    WRITTEN.append((str(path.relative_to(ROOT)), entries, path.stat().st_size))


def print_table():
    for name, entries, size in WRITTEN:
        print(f"{name:55} {entries:6} entries {size / 1000:9.1f} kB")
    print(f"{'all':55} {'':14} {sum(s for *_, s in WRITTEN) / 1000:9.1f} kB")
