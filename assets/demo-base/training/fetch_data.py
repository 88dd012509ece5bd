"""Gets the five emoji sets from npm and draws them at 128 x 128 on white into WORK/data.npz."""
import io, json, multiprocessing, subprocess, tarfile

import numpy as np
from PIL import Image

from common import INK, STYLES, WORK, concepts

VERSIONS = {"noto": "1.2.9", "noto-v1": "1.2.5", "fluent-emoji": "1.2.7", "fluent-emoji-flat": "1.2.6", INK: "1.2.6"}


def icons(name):
    tgz = WORK / f"iconify-json-{name}-{VERSIONS[name]}.tgz"
    if not tgz.exists():
        subprocess.run(["npm", "pack", f"@iconify-json/{name}@{VERSIONS[name]}"], cwd=WORK, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(tgz) as t:
        j = json.load(t.extractfile("package/icons.json"))
    w, h = j.get("width", 16), j.get("height", 16)
    return {n: (i["body"], i.get("width", w), i.get("height", h)) for n, i in j["icons"].items()}


def draw(icon, size=128):
    import resvg_py
    body, w, h = icon
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {w} {h}" width="{size}" height="{size}">{body}</svg>'
    try:
        png = resvg_py.svg_to_bytes(svg_string=svg, background="#ffffff")
        return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGB"))
    except BaseException:  # resvg panics on a few icons; they are left out
        return None


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    if (WORK / "data.npz").exists():
        return
    known, out = concepts(), {}
    with multiprocessing.Pool(2) as pool:
        for s in [*STYLES, INK]:
            have = icons(s)
            jobs = {s: [n for n in known if n in have]}
            if s == INK:  # ink pictures the autoencoder never sees, to judge it by
                jobs["ink-heldout"] = sorted(set(have) - set(known))[::12]
            for key, names in jobs.items():
                pics = pool.map(draw, [have[n] for n in names], chunksize=8)
                ok = [(n, p) for n, p in zip(names, pics) if p is not None and p.std() > 5]
                out[key], out[key + "/names"] = np.stack([p for _, p in ok]), np.array([n for n, _ in ok])
                print(key, len(ok), "of", len(names), flush=True)
    np.savez_compressed(WORK / "data.npz", **out)


if __name__ == "__main__":
    main()
