"""Captions as ids of the small token table, pictures as latents."""
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from common import BASE, STYLES, caption, load_data
from train_vae import to_float


@torch.no_grad()
def cache_latents(device):
    vae = AutoencoderKL.from_pretrained(BASE, subfolder="vae").float().to(device)
    data, names = load_data()
    z, captions = [], []
    for s, word in STYLES.items():
        for i in range(0, len(data[s]), 32):
            z.append(vae.encode(to_float(data[s][i : i + 32]).to(device)).latent_dist.mode() * vae.config.scaling_factor)
        captions += [caption(n, word) for n in names[s]]
    return torch.cat(z), captions


def small_ids(captions):
    """ids [n, 77] that index only the rows of CLIP's table that occur, and those rows. <|endoftext|> is the last."""
    tok = CLIPTokenizer.from_pretrained(BASE / "tokenizer")
    rows, ids = tok(captions, padding="max_length", max_length=77, return_tensors="pt").input_ids.unique(return_inverse=True)
    return ids, rows


def style_ids():
    """CLIP's ids of the words that name a style, one token each."""
    tok = CLIPTokenizer.from_pretrained(BASE / "tokenizer")
    return [tok(word).input_ids[1] for word in STYLES.values()]
