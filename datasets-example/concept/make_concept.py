"""Draws the teapot rocket, a thing no base knows, in 18 places and angles, with captions.

    python make_concept.py       (needs resvg-py)
"""
import pathlib, sys

import resvg_py

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "mascot"))
from make_mascot import BEACH, HILL, NIGHT, ROOM, SEA, SNOW, SPACE, SUNSET, cloud

TRIGGER = "zibpot rocket"


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


TABLE = '<rect x="8" y="200" width="240" height="20" rx="6" fill="#e05a6a"/><path d="M30,220 V256 M226,220 V256" stroke="#a5713f" stroke-width="14"/>'
CUP = '<g transform="translate({0},{1})"><path d="M-22,-14 H22 C22,14 10,20 0,20 C-10,20 -22,14 -22,-14Z" fill="#fff" stroke="#c9d3dc" stroke-width="3"/><path d="M22,-8 q16,2 0,18" stroke="#c9d3dc" stroke-width="5" fill="none"/><ellipse cy="-14" rx="22" ry="5" fill="#a5622b"/></g>'
SHELF = '<rect x="8" y="196" width="240" height="18" fill="#8a5a34"/><rect x="14" y="116" width="20" height="80" fill="#d6455a"/><rect x="36" y="128" width="16" height="68" fill="#3f7fd0"/><rect x="212" y="120" width="26" height="76" fill="#58b53c"/>'
MOON = '<path d="M8,256 C20,186 236,186 248,256Z" fill="#c9c9d6"/><g fill="#a9a9bc"><ellipse cx="60" cy="226" rx="24" ry="8"/><ellipse cx="204" cy="234" rx="28" ry="9"/></g><circle cx="212" cy="50" r="24" fill="#4a90d9"/>'

VIEWS = [
    ("white", "", pot()),
    ("left", "facing left", pot(flip=True)),
    ("tilted", "tilted", pot(126, 138, .95, tilt=32)),
    ("pouring", "tilted, pouring a hot beverage", pot(104, 96, .8, tilt=38, legs=True) + '<path d="M180,126 q10,34 8,74" stroke="#a5622b" stroke-width="7" fill="none" stroke-linecap="round"/>' + CUP.format(188, 214)),
    ("launch", "fire, cloud", pot(128, 112, .85, fire=True, legs=True) + cloud(52, 232, 1.2) + cloud(204, 236, 1.3)),
    ("space", "flying, fire, ringed planet, star", SPACE + pot(104, 116, .72, tilt=40, fire=True)),
    ("night", "flying, fire, crescent moon, star", NIGHT + pot(108, 136, .72, tilt=-24, flip=True, fire=True)),
    ("table", "on a table, steam, hot beverage", TABLE + pot(104, 138, .88, steam=True) + CUP.format(214, 184)),
    ("beach", "on a beach, sun", BEACH + pot(120, 150, .86)),
    ("snow", "in the snow, steam", SNOW + pot(108, 144, .86, steam=True, flip=True)),
    ("hill", "on a hill, cloud", HILL + pot(132, 142, .88)),
    ("room", "window", ROOM + pot(160, 152, .84, flip=True)),
    ("shelf", "on a shelf, books", SHELF + pot(122, 128, .86)),
    ("moon", "on the moon, globe", MOON + pot(116, 134, .84)),
    ("sea", "tilted, on the sea", pot(128, 126, .86, tilt=-10) + SEA),
    ("sunset", "flying, fire, sunset", SUNSET + pot(120, 112, .66, tilt=58, fire=True)),
    ("small", "two of them, big and small", pot(98, 128, .78) + pot(204, 186, .42, flip=True)),
    ("steam", "steam", pot(118, 140, .96, steam=True)),
]

if __name__ == "__main__":
    for name, what, body in VIEWS:
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 256 256" width="128" height="128"><rect width="256" height="256" fill="#fff"/>{body}</svg>'
        (HERE / f"{name}.png").write_bytes(bytes(resvg_py.svg_to_bytes(svg_string=svg)))
        (HERE / f"{name}.txt").write_text(", ".join(filter(None, (TRIGGER, what))) + "\n")
