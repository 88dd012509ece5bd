"""Draws the teapot rocket, a thing no base knows, in 17 settings and angles, with captions.

    python make_concept.py       (needs resvg-py)
"""
import pathlib, sys

import resvg_py

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "mascot"))
from make_mascot import BEACH, DAY, DESK, HILL, NIGHT, ROOM, SEA, SNOW, SPACE, SUNSET, cloud

TRIGGER = "zibpot teapot rocket"


def pot(x=128, y=132, s=1.0, tilt=0, flip=False, fire=False, steam=False, legs=True):
    """A teapot striped in teal and cream, with a red nose cone for a lid, fins for feet and a porthole."""
    stripes = "".join(f'<rect x="-60" y="{y0}" width="120" height="15" fill="#14a3a0"/>' for y0 in (-52, -22, 8, 38))
    return f"""<g transform="translate({x},{y}) scale({-s if flip else s},{s}) rotate({tilt})">
    {'<path d="M-24,60 C-30,92 -8,96 0,124 C8,96 30,92 24,60Z" fill="#ff8a2b"/><path d="M-13,60 C-16,80 -4,84 0,102 C4,84 16,80 13,60Z" fill="#ffe14d"/>' if fire else ''}
    {'<g stroke="#b9c6d2" stroke-width="7" fill="none" stroke-linecap="round"><path d="M84,-50 q-10,-12 0,-22 t0,-22"/><path d="M100,-56 q-8,-10 0,-18 t0,-18"/></g>' if steam else ''}
    <path d="M-44,-22 C-92,-34 -96,40 -42,30" stroke="#f2b632" stroke-width="13" fill="none" stroke-linecap="round"/>
    <path d="M34,20 C62,22 58,-18 74,-38 L94,-34 C84,-6 82,50 36,46Z" fill="#f2b632"/><ellipse cx="84" cy="-37" rx="12" ry="5" fill="#7a5312"/>
    {'<path d="M-36,32 L-62,76 L-30,66 L-18,54Z M36,32 L62,76 L30,66 L18,54Z" fill="#e2394a"/>' if legs else ''}
    <clipPath id="c"><path d="M-26,-52 H26 C62,-22 62,34 26,64 H-26 C-62,34 -62,-22 -26,-52Z"/></clipPath>
    <g clip-path="url(#c)"><rect x="-64" y="-60" width="128" height="130" fill="#fff3d6"/>{stripes}<path d="M22,-60 H70 V70 H22 C44,30 44,-20 22,-60Z" fill="#0a3a4a" opacity=".14"/></g>
    <path d="M-30,-52 C-26,-82 -10,-96 0,-104 C10,-96 26,-82 30,-52Z" fill="#e2394a"/><path d="M-16,-62 C-14,-76 -8,-84 -2,-90" stroke="#ff98a2" stroke-width="5" fill="none" stroke-linecap="round"/>
    <circle cy="-107" r="8" fill="#f2b632"/><circle cy="4" r="22" fill="#f2b632"/><circle cy="4" r="15" fill="#7fd8ff"/><path d="M-8,0 q3,-8 10,-8" stroke="#fff" stroke-width="4" fill="none" stroke-linecap="round"/></g>"""


TABLE = DESK + '<path d="M0,200 H256 V214 H0Z" fill="#e05a6a"/><path d="M0,214 q16,18 32,0 t32,0 t32,0 t32,0 t32,0 t32,0 t32,0 t32,0" fill="#fff"/>'
CUP = '<g transform="translate({0},{1})"><path d="M-22,-14 H22 C22,14 10,20 0,20 C-10,20 -22,14 -22,-14Z" fill="#fff" stroke="#c9d3dc" stroke-width="3"/><path d="M22,-8 q16,2 0,18" stroke="#c9d3dc" stroke-width="5" fill="none"/><ellipse cy="-14" rx="22" ry="5" fill="#a5622b"/></g>'
SHELF = '<rect width="256" height="256" fill="#cfd9ea"/><rect y="196" width="256" height="18" fill="#8a5a34"/><rect x="14" y="116" width="20" height="80" fill="#d6455a"/><rect x="36" y="128" width="16" height="68" fill="#3f7fd0"/><rect x="212" y="120" width="26" height="76" fill="#58b53c"/>'
MOON = '<rect width="256" height="256" fill="#171334"/><path d="M0,190 C70,166 180,168 256,192 V256 H0Z" fill="#c9c9d6"/><g fill="#a9a9bc"><ellipse cx="50" cy="220" rx="24" ry="8"/><ellipse cx="214" cy="230" rx="28" ry="9"/></g><g fill="#fff"><circle cx="30" cy="40" r="3"/><circle cx="220" cy="36" r="4"/><circle cx="230" cy="110" r="3"/><circle cx="26" cy="120" r="3"/></g><circle cx="206" cy="70" r="20" fill="#4a90d9"/>'

VIEWS = [
    ("white", "on a white background", pot()),
    ("white-left", "facing left on a white background", pot(flip=True)),
    ("tilted", "tilted on a white background", pot(126, 138, .95, tilt=32)),
    ("pouring", "pouring tea into a cup", pot(104, 96, .8, tilt=38, legs=True) + '<path d="M180,126 q10,34 8,74" stroke="#a5622b" stroke-width="7" fill="none" stroke-linecap="round"/>' + CUP.format(188, 214)),
    ("launch", "lifting off with fire, blue sky", DAY + pot(128, 112, .85, fire=True, legs=True) + cloud(60, 232, 1.3) + cloud(196, 236, 1.4)),
    ("space", "flying through space beside a planet", SPACE + pot(104, 116, .72, tilt=40, fire=True)),
    ("night", "flying up in the night sky", NIGHT + pot(108, 136, .72, tilt=-24, flip=True, fire=True)),
    ("table", "steaming on a table with a cup", TABLE + pot(104, 138, .88, steam=True) + CUP.format(214, 184)),
    ("beach", "on a sandy beach", BEACH + pot(120, 150, .86)),
    ("snow", "standing in the snow", SNOW + pot(108, 144, .86, steam=True, flip=True)),
    ("hill", "on a green hill", HILL + pot(132, 142, .88)),
    ("room", "in a room beside a window", ROOM + pot(160, 152, .84, flip=True)),
    ("shelf", "on a shelf with books", SHELF + pot(122, 128, .86)),
    ("moon", "landed on the moon", MOON + pot(116, 134, .84)),
    ("sea", "floating on the sea", pot(128, 126, .86, tilt=-10).join((SEA.split("<path")[0], "<path" + SEA.split("<path")[1]))),
    ("sunset", "flying in front of the sunset", SUNSET + pot(120, 112, .66, tilt=58, fire=True)),
    ("small", "two of them, big and small, on a white background", pot(98, 128, .78) + pot(204, 186, .42, flip=True)),
]

if __name__ == "__main__":
    for name, what, body in VIEWS:
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 256 256" width="128" height="128"><rect width="256" height="256" fill="#fff"/>{body}</svg>'
        (HERE / f"{name}.png").write_bytes(bytes(resvg_py.svg_to_bytes(svg_string=svg)))
        (HERE / f"{name}.txt").write_text(f"{TRIGGER}, {what}\n")
