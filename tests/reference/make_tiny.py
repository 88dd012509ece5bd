"""Tiny random bases of every family but Stable Diffusion 1 (that is assets/demo-base): python make_tiny.py [--small] FOLDER [FAMILY ...]

Diffusers folders as the real ones are laid out, with few and narrow layers, for checks of what is drawn and exported. They draw
patterns, no pictures, but every weight and every word of the prompt shows in them. Families: sd2 sdxl flux-dev flux-schnell.

With --small everything is narrower and words share embeddings, without tokenizers: tests/fixtures/tiny, which the whole-run
tests train on, was made by `make_tiny.py --small ../fixtures/tiny sd2 sdxl flux-dev`. SD2 is known by its text width of 1024,
with which words take 100 MB: there the configuration alone is kept, and the test writes the weights.
"""
import gzip, shutil, sys, tempfile
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL, DDIMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel,
    StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, PreTrainedTokenizerFast, T5Config, T5EncoderModel,
)

from common import randomise

ASSETS = Path(__file__).parents[2] / "assets"
SMALL = "--small" in sys.argv
BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)


def text(width):
    return width // 4 if SMALL else width


def clip_tokenizer(padding="<|endoftext|>"):
    return CLIPTokenizer.from_pretrained(ASSETS / "demo-base/tokenizer", pad_token=padding)


def t5_tokenizer():
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(gzip.decompress((ASSETS / "tokenizers/t5/tokenizer.json.gz").read_bytes()))
        file.flush()
        return PreTrainedTokenizerFast(tokenizer_file=file.name, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def clip(width, act, kind=CLIPTextModel):
    return kind(CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=2 * width if width < 1024 else 64, num_hidden_layers=2,
        num_attention_heads=2, hidden_act=act, projection_dim=width, bos_token_id=49406, eos_token_id=49407, pad_token_id=1,
    ))


def t5(width):
    return T5EncoderModel(T5Config(
        vocab_size=32128, d_model=width, d_kv=8, d_ff=2 * width, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu",
        is_encoder_decoder=False, use_cache=False,
    ))


def vae(channels, **more):
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, block_out_channels=[8, 8, 16, 16],
        latent_channels=channels, norm_num_groups=4, sample_size=64, **more,
    )


def sd2():
    """Known by its text width of 1024; predicts velocity, as Stable Diffusion 2.1 does."""
    unet = UNet2DConditionModel(
        sample_size=8, layers_per_block=1, block_out_channels=[32, 64], down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"], cross_attention_dim=1024, attention_head_dim=[2, 4],
        use_linear_projection=True, norm_num_groups=8,
    )
    return StableDiffusionPipeline(
        unet=unet, vae=vae(4), text_encoder=clip(1024, "gelu"), tokenizer=clip_tokenizer("!"),
        scheduler=DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )


def sdxl():
    unet = UNet2DConditionModel(
        sample_size=8, layers_per_block=2, block_out_channels=[16, 32, 32] if SMALL else [32, 64, 64],
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], cross_attention_dim=text(32) + text(48),
        attention_head_dim=[2, 4, 4], transformer_layers_per_block=[1, 1, 2], use_linear_projection=True, norm_num_groups=8,
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + text(48),
    )
    return StableDiffusionXLPipeline(
        unet=unet, vae=vae(4, scaling_factor=0.13025), text_encoder=clip(text(32), "quick_gelu"), tokenizer=clip_tokenizer(),
        text_encoder_2=clip(text(48), "gelu", CLIPTextModelWithProjection), tokenizer_2=clip_tokenizer("!"),
        scheduler=EulerDiscreteScheduler(**BETAS, timestep_spacing="leading"),
    )


def flux(dev):
    transformer = FluxTransformer2DModel(
        num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2, axes_dims_rope=(4, 6, 6),
        joint_attention_dim=text(24), pooled_projection_dim=text(32), guidance_embeds=dev,
    )
    return FluxPipeline(
        transformer=transformer, text_encoder=clip(text(32), "quick_gelu"), tokenizer=clip_tokenizer(), text_encoder_2=t5(text(24)),
        tokenizer_2=t5_tokenizer(), scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=dev, shift=3.0 if dev else 1.0),
        vae=vae(16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False),
    )


FAMILIES = {"sd2": sd2, "sdxl": sdxl, "flux-dev": lambda: flux(True), "flux-schnell": lambda: flux(False)}


def main():
    args = [a for a in sys.argv[1:] if a != "--small"]
    if not args:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    for name in args[1:] or FAMILIES:
        torch.manual_seed(0)
        pipe = FAMILIES[name]()
        for part in ("unet", "transformer", "text_encoder", "text_encoder_2"):
            model = getattr(pipe, part, None)
            if model is None:
                continue
            randomise(model, 0)
            if SMALL and part.startswith("text"):
                words = model.get_input_embeddings().weight.data
                words.copy_(words[torch.arange(len(words)) % 256])  # so that a repository packs them
        folder = Path(args[0]) / name
        pipe.to(torch.bfloat16 if "flux" in name else torch.float16).save_pretrained(folder)
        for tokenizer in folder.glob("tokenizer*") if SMALL else ():
            shutil.rmtree(tokenizer)
        if SMALL and name == "sd2":
            (folder / "text_encoder/model.safetensors").unlink()


if __name__ == "__main__":
    main()
