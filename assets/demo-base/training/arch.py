"""The demo base's architecture: the Stable Diffusion 1.x layout, small. Changing it invalidates the weights."""
import gzip, json

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from common import BASE, WORK

# Attention where the picture is decided (middle and the way up); the way down only sees noise when the thing is chosen.
UNET = dict(
    sample_size=16, in_channels=16, out_channels=16, block_out_channels=(64, 96, 224), layers_per_block=1,
    down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    cross_attention_dim=96, attention_head_dim=4, norm_num_groups=16, use_linear_projection=False,
)
TEXT = dict(
    vocab_size=49408, hidden_size=96, intermediate_size=384, projection_dim=96, num_hidden_layers=2, num_attention_heads=4,
    max_position_embeddings=77, hidden_act="quick_gelu", bos_token_id=49406, eos_token_id=49407, pad_token_id=49407,
)
SCHEDULER = dict(
    num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
    set_alpha_to_one=False, clip_sample=False, prediction_type="v_prediction",
)


def write_tokenizer():
    """CLIP's BPE table (from the open_clip_torch wheel) as vocab.json and merges.txt."""
    import subprocess, zipfile
    wheel = next(WORK.glob("open_clip_torch-*.whl"), None)
    if wheel is None:
        subprocess.run(["python", "-m", "pip", "download", "-q", "--no-deps", "open_clip_torch==3.3.0", "-d", str(WORK)], check=True)
        wheel = next(WORK.glob("open_clip_torch-*.whl"))
    text = gzip.decompress(zipfile.ZipFile(wheel).read("open_clip/bpe_simple_vocab_16e6.txt.gz")).decode()
    merges = text.split("\n")[1 : 49152 - 256 - 2 + 1]
    keep = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [b for b in range(256) if b not in keep]
    chars = [chr(b) for b in keep] + [chr(256 + i) for i in range(len(rest))]
    vocab = chars + [c + "</w>" for c in chars] + [m.replace(" ", "") for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    d = BASE / "tokenizer"
    d.mkdir(parents=True, exist_ok=True)
    (d / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(vocab)}, ensure_ascii=False))
    (d / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    special = dict(bos_token="<|startoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>", pad_token="<|endoftext|>")
    (d / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    more = dict(add_prefix_space=False, do_lower_case=True, errors="replace", model_max_length=77, tokenizer_class="CLIPTokenizer")
    (d / "tokenizer_config.json").write_text(json.dumps(special | more, indent=2) + "\n")


def write_index():
    (BASE / "model_index.json").write_text(json.dumps({
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1", "feature_extractor": [None, None],
        "image_encoder": [None, None], "requires_safety_checker": False, "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
    }, indent=2) + "\n")
    DDIMScheduler(**SCHEDULER).save_pretrained(BASE / "scheduler")


def new_unet():
    """Residual branches and transformers start at zero, so that the untrained UNet is its shortest path."""
    unet = UNet2DConditionModel(**UNET)
    for name, m in unet.named_modules():
        if name.endswith(("conv2", "proj_out", "conv_out")):
            torch.nn.init.zeros_(m.weight), torch.nn.init.zeros_(m.bias)
    return unet


def new_text(rows=TEXT["vocab_size"]):
    """Starts so that the caption speaks loudest: positions and the special tokens (last two rows) are zero, so each of the
    70 padding states is the normalised mean of the words before it, and an empty caption is zero."""
    special = {} if rows == TEXT["vocab_size"] else dict(bos_token_id=rows - 2, eos_token_id=rows - 1, pad_token_id=rows - 1)
    text = CLIPTextModel(CLIPTextConfig(**{**TEXT, "vocab_size": rows, **special}))
    words = text.get_input_embeddings().weight
    torch.nn.init.normal_(words, std=0.1)  # larger than usual: words differ from the start
    with torch.no_grad():
        words[-2:] = 0
        for name, p in text.named_parameters():
            if "position_embedding" in name:
                p.zero_()
            if name.endswith("layers.0.self_attn.out_proj.weight"):
                p.mul_(8)  # else the mean is so short that one step of the optimiser turns it round
    return text
