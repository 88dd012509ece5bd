"""What every script here shares: styles, folders, concepts, captions, checkpoints."""
import os, pathlib, time

import numpy as np
import torch

HERE = pathlib.Path(__file__).resolve().parent
BASE = HERE.parent
# The work folder holds npm packages, rendered pictures and checkpoints; it is never committed.
WORK = pathlib.Path(os.environ.get("DEMO_TRAIN_DIR", pathlib.Path.home() / ".cache/lorikeet-demo-train"))

# npm package (under @iconify-json) -> style word. The UNet never sees the ink set.
STYLES = {"noto": "shaded", "noto-v1": "blob", "fluent-emoji": "gradient", "fluent-emoji-flat": "flat"}
INK = "fluent-emoji-high-contrast"


def concepts():
    lines = (l for l in (HERE / "concepts.txt").read_text().splitlines() if l and l[0] != "#")
    return [n for l in lines for n in l.split(":")[1].split()]


def caption(name, style):
    return f"{name.replace('-', ' ')}, {style} style"


def load_data():
    """Dict of uint8 arrays [n, 128, 128, 3] by package, and of their names."""
    z = np.load(WORK / "data.npz")
    sets = [*STYLES, INK, "ink-heldout"]
    return {s: z[s] for s in sets}, {s: list(z[s + "/names"]) for s in sets}


def save(state, path):
    torch.save(state, str(path) + ".part")
    os.replace(str(path) + ".part", path)


class Ema:
    """Slow average of a module's parameters, with a horizon that grows from ten steps to 1/(1-decay)."""

    def __init__(self, module, decay):
        self.decay, self.n = decay, 0
        self.now = list(module.parameters())
        self.avg = [p.detach().clone() for p in self.now]

    @torch.no_grad()
    def update(self):
        self.n += 1
        d = min(self.decay, (1 + self.n) / (10 + self.n))
        torch._foreach_lerp_(self.avg, [p.detach() for p in self.now], 1 - d)

    def swap(self):
        for p, a in zip(self.now, self.avg):
            p.data, a.data = a.data, p.data

    def state_dict(self):
        return {"n": self.n, "avg": self.avg}

    @torch.no_grad()
    def load_state_dict(self, s):
        self.n = s["n"]
        for a, b in zip(self.avg, s["avg"]):
            a.copy_(b)


class Clock:
    """Training time in seconds, counted over restarts."""

    def __init__(self, before=0.0):
        self.before, self.start = before, time.time()

    def __call__(self):
        return self.before + time.time() - self.start
