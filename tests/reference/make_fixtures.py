"""Writes the parity fixtures under tests/fixtures/parity. `python make_fixtures.py` makes all, `... unet lora` some."""
import sys

import torch

import common


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in sys.argv[1:] or ["unet", "lora", "vae", "clip", "samplers", "tokenizer", "flux", "t5"]:
        __import__(name).make()
    common.print_table()


if __name__ == "__main__":
    main()
