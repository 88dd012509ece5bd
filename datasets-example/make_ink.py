"""Draws the ink-style example and its held-out half (tests/fixtures/ink-heldout) from the ink emoji set.

Run with the Python of assets/demo-base/training (see its README).
"""
import pathlib, sys

from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "assets/demo-base/training"))
from common import INK, concepts
from fetch_data import draw, icons

TRAIN = """red-apple cat-face elephant hamburger guitar bicycle rocket umbrella butterfly mushroom owl camera
cactus ice-cream house sailboat alarm-clock fish carrot key snail crown birthday-cake soccer-ball""".split()
HELD_OUT = """banana dog-face lion pizza violin motorcycle helicopter backpack honeybee tulip duck telephone
palm-tree doughnut castle anchor hourglass-done octopus pear scissors turtle top-hat strawberry light-bulb""".split()

have, known = icons(INK), set(concepts())
assert set(TRAIN + HELD_OUT) <= known and not set(TRAIN) & set(HELD_OUT)
for names, folder in (TRAIN, HERE / "ink-style"), (HELD_OUT, HERE.parent / "tests/fixtures/ink-heldout"):
    folder.mkdir(parents=True, exist_ok=True)
    for n in names:
        Image.fromarray(draw(have[n])).convert("L").convert("RGB").save(folder / f"{n}.png", optimize=True)
        (folder / f"{n}.txt").write_text(n.replace("-", " ") + ", ink style\n")
