"""Noise schedules and samplers of diffusers on a model that is a formula: Stable Diffusion 1.5, without signal at the end, flow."""
import random

import numpy as np
import torch
from diffusers import (
    DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler, EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from common import normal, write

SD15 = dict(
    num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
    timestep_spacing="leading",
)
SAMPLERS = {
    "ddim": (DDIMScheduler, dict(set_alpha_to_one=False, clip_sample=False)),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),  # dpmsolver++, order 2, lower order at the end, last sigma zero
}
SHAPE = (1, 4, 4, 6)


def model(x, t):
    """Stands for the UNet: takes the scaled input, gives noise or velocity alike."""
    return 0.3 * x * torch.cos(t.float() / 100) + 0.1 * torch.sin(3 * x)


class GivenNoise:
    """Replaces randn_tensor in the module of a scheduler: seeded noise, remembered in order."""

    def __init__(self, scheduler, seed):
        self.module, self.seed, self.drawn = __import__(type(scheduler).__module__, fromlist=["x"]), seed, []

    def __enter__(self):
        self.original = self.module.randn_tensor
        self.module.randn_tensor = self.draw
        return self

    def draw(self, shape, **_):
        self.drawn.append(normal(shape, self.seed + len(self.drawn)))
        return self.drawn[-1]

    def __exit__(self, *_):
        self.module.randn_tensor = self.original


def run(name, prediction, steps, seed):
    """One whole sampling: timesteps, sigmas, the start, the model input and x after each step, and noise where it is used."""
    cls, more = SAMPLERS[name]
    s = cls(**SD15, **more, prediction_type=prediction)
    s.set_timesteps(steps)
    return draw(s, seed)


def draw(s, seed, to_model=lambda t: t):
    noise = normal(SHAPE, seed)
    x = noise * getattr(s, "init_noise_sigma", 1.0)
    out = dict(timesteps=s.timesteps.float(), init_noise=noise, init_noise_sigma=torch.tensor(float(getattr(s, "init_noise_sigma", 1.0))))
    if hasattr(s, "sigmas"):
        out["sigmas"] = s.sigmas.float()
    with GivenNoise(s, seed + 10) as given:
        for i, t in enumerate(s.timesteps):
            scaled = s.scale_model_input(x, t) if hasattr(s, "scale_model_input") else x
            x = s.step(model(scaled, to_model(t)), t, x).prev_sample
            out |= {f"input{i}": scaled, f"x{i + 1}": x}
        out |= {f"noise{i}": n for i, n in enumerate(given.drawn)}
    assert x.isfinite().all()
    return out


def one_step(name, prediction, seed):
    """A single first step of 25 on random tensors: no formula in between."""
    cls, more = SAMPLERS[name]
    s = cls(**SD15, **more, prediction_type=prediction)
    s.set_timesteps(25)
    sample, output = normal(SHAPE, seed) * s.init_noise_sigma, normal(SHAPE, seed + 1)
    s.scale_model_input(sample, s.timesteps[0])
    with GivenNoise(s, seed + 2) as given:
        after = s.step(output, s.timesteps[0], sample).prev_sample
    return dict(sample=sample, model_output=output, timestep=s.timesteps[0].float(), next=after) | ({"noise": given.drawn[0]} if given.drawn else {})


def make_schedule():
    s = DDPMScheduler(**{**SD15, "timestep_spacing": "leading"})
    t = torch.tensor([0, 1, 20, 499, 999])
    x, noise = normal((5, 4, 4, 4), 800), normal((5, 4, 4, 4), 801)
    write("samplers/schedule.safetensors", dict(
        alphas_cumprod=s.alphas_cumprod, timesteps=t.float(), latents=x, noise=noise,
        noisy=s.add_noise(x, noise, t), velocity=s.get_velocity(x, noise, t),
    ))


def make_zero_snr():
    """Velocity with betas rescaled to no signal at the last timestep, trailing spacing, 5 steps."""
    out = {}
    for k, (name, (cls, more)) in enumerate(SAMPLERS.items()):
        more = {**more, "timestep_spacing": "trailing", "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
        s = cls(**{**SD15, **more})
        s.set_timesteps(5)
        out |= {f"{name}.{key}": v for key, v in draw(s, 6000 + 100 * k).items()}
        if name == "ddim":
            out["alphas_cumprod"] = s.alphas_cumprod
    write("samplers/zero_snr.safetensors", out)


def make_flow():
    """Sigmas as the FLUX pipeline gives them; the model is told sigma."""
    dynamic = dict(use_dynamic_shifting=True, shift=3.0)
    cases = {
        "square": (dynamic, 32 * 32), "tall": (dynamic, 84 * 48), "static": (dict(shift=3.0), None), "schnell": (dict(shift=1.0), None),
    }
    out = {}
    for k, (name, (config, tokens)) in enumerate(cases.items()):
        for steps in (4, 7):
            s = FlowMatchEulerDiscreteScheduler(**config)
            mu = calculate_shift(tokens, 256, 4096, 0.5, 1.15) if tokens else None
            s.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
            out |= {f"{name}.{steps}.{key}": v for key, v in draw(s, 7000 + 100 * k + steps, lambda t: t / 1000).items()}
    write("samplers/flow.safetensors", out)


def make_pyramid():
    """Multi-resolution noise as in kohya's scripts, for one sample."""
    random.seed(7)
    noise, discount = normal((1, 3, 20, 12), 810), 0.4
    out, total = dict(noise=noise), noise.clone()
    uniforms, (h, w) = [], noise.shape[2:]
    for i in range(6):
        uniforms.append(np.float32(random.random()))
        r = float(uniforms[-1]) * 2 + 2
        hn, wn = max(1, int(h / r**i)), max(1, int(w / r**i))
        layer = normal((1, 3, hn, wn), 820 + i)
        out[f"layer{i}"] = layer
        total += torch.nn.functional.interpolate(layer, size=(h, w), mode="bilinear", align_corners=False) * discount**i
        if hn == 1 or wn == 1:
            break
    write("samplers/pyramid.safetensors", out | dict(uniforms=torch.tensor(np.array(uniforms)), out=total / total.std()))


def make():
    make_schedule()
    make_zero_snr()
    make_flow()
    make_pyramid()
    for k, name in enumerate(SAMPLERS):
        out = {}
        for prediction in ("epsilon", "v_prediction"):
            for steps in (4, 7):
                out |= {f"{prediction}.{steps}.{key}": v for key, v in run(name, prediction, steps, 900 + 100 * k + steps).items()}
            out |= {f"{prediction}.one.{key}": v for key, v in one_step(name, prediction, 5000 + 100 * k).items()}
        write(f"samplers/{name}.safetensors", out)
