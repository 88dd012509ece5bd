"""Writes a diffusers folder of the real size of Stable Diffusion 1.5 with random weights (f16, 2 GB), to measure with."""
import argparse, json, shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

UNET = dict(
    sample_size=64, in_channels=4, out_channels=4, cross_attention_dim=768, attention_head_dim=8, layers_per_block=2,
    block_out_channels=(320, 640, 1280, 1280),
    down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
)
VAE = dict(
    block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512, scaling_factor=0.18215,
    down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
)
TEXT = dict(
    vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, projection_dim=768,
    max_position_embeddings=77, hidden_act="quick_gelu", bos_token_id=49406, eos_token_id=49407, pad_token_id=49407,
)
SCHEDULER = dict(
    num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
    set_alpha_to_one=False, clip_sample=False, prediction_type="epsilon", timestep_spacing="leading",
)
INDEX = {
    "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1", "feature_extractor": [None, None],
    "image_encoder": [None, None], "requires_safety_checker": False, "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("folder", type=Path)
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    torch.manual_seed(a.seed)
    for name, make in (
        ("unet", lambda: UNet2DConditionModel(**UNET)),
        ("vae", lambda: AutoencoderKL(**VAE)),
        ("text_encoder", lambda: CLIPTextModel(CLIPTextConfig(**TEXT))),
    ):
        module = make().half()
        module.save_pretrained(a.folder / name)
        print(name, f"{sum(p.numel() for p in module.parameters()) / 1e6:.1f} M parameters", flush=True)
        del module
    DDIMScheduler(**SCHEDULER).save_pretrained(a.folder / "scheduler")
    tokenizer = Path(__file__).resolve().parents[2] / "assets" / "demo-base" / "tokenizer"
    shutil.copytree(tokenizer, a.folder / "tokenizer", dirs_exist_ok=True)
    (a.folder / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n")


if __name__ == "__main__":
    main()
