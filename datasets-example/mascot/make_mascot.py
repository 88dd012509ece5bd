"""Draws Lori, a lorikeet of our own, in 24 poses and places: SVG in this script, PNG 128 x 128 and captions beside it.

    python make_mascot.py        (needs resvg-py)
"""
import math, pathlib

import resvg_py

HERE = pathlib.Path(__file__).resolve().parent
TRIGGER = "lorimascot bird"
WING = "M2,-2 C-26,-10 -46,20 -40,70 C-30,74 -22,66 -20,58 C-14,60 -8,54 -6,46 C4,40 12,14 2,-2Z"


def wing(angle, x=-10, y=2, dark=False):
    a, b = ("#128046", "#1b5fc4") if dark else ("#1ea45a", "#2b78ee")
    return f"""<g transform="translate({x},{y}) rotate({angle})"><path d="{WING}" fill="{a}"/>
      <path d="M-40,70 C-30,74 -22,66 -20,58 C-14,60 -8,54 -6,46 C-18,44 -30,48 -41,46 C-42,54 -41,62 -40,70Z" fill="{b}"/>
      <path d="M-26,20 C-22,28 -14,28 -10,20 M-32,34 C-27,42 -18,42 -13,33" stroke="#0f7a40" stroke-width="3" fill="none" stroke-linecap="round"/></g>"""


def eye(kind):
    if kind == "happy":
        return '<path d="M3,-42 C6,-54 20,-54 23,-42" stroke="#1b2140" stroke-width="5" fill="none" stroke-linecap="round"/>'
    if kind == "closed":
        return '<path d="M3,-46 C6,-36 20,-36 23,-46" stroke="#1b2140" stroke-width="5" fill="none" stroke-linecap="round"/>'
    return '<circle cx="13" cy="-45" r="13.5" fill="#fff"/><circle cx="15.5" cy="-44" r="9" fill="#1b2140"/><circle cx="19" cy="-48" r="3.4" fill="#fff"/>'


def beak(opened):
    low = '<path d="M27,-26 C36,-24 40,-16 34,-6 C26,-8 24,-16 27,-26Z" fill="#c4361c"/>' if opened else '<path d="M28,-27 C38,-27 42,-20 38,-14 C31,-13 27,-19 28,-27Z" fill="#c4361c"/>'
    return low + '<path d="M27,-50 C50,-54 62,-36 50,-12 C48,-24 40,-28 27,-27 C23,-34 23,-43 27,-50Z" fill="#ff5a36"/><path d="M31,-46 C40,-48 47,-43 50,-35" stroke="#ffa287" stroke-width="3.5" fill="none" stroke-linecap="round"/>'


FEET = '<g stroke="#e07b1a" stroke-width="6" stroke-linecap="round" fill="none"><path d="M-8,62 V74 M-16,76 H2 M14,62 V74 M8,76 H26"/></g>'
HATS = {
    "": "",
    "party": '<path d="M-16,-74 L2,-118 L18,-74Z" fill="#ff5fa2"/><path d="M-10,-88 L13,-84 M-5,-101 L9,-98" stroke="#ffe14d" stroke-width="5"/><circle cx="2" cy="-118" r="7" fill="#ffe14d"/>',
    "top": '<path d="M-20,-74 L-18,-112 H22 L24,-74Z" fill="#2a2d45"/><path d="M-20,-86 H24 V-76 H-20Z" fill="#e23c4b"/><path d="M-34,-74 H38" stroke="#2a2d45" stroke-width="8" stroke-linecap="round"/>',
    "straw": '<path d="M-22,-72 C-20,-100 24,-100 26,-72Z" fill="#f5d27a"/><path d="M-23,-76 H27" stroke="#e23c4b" stroke-width="7"/><path d="M-44,-68 C-20,-78 24,-78 48,-68" stroke="#f5d27a" stroke-width="9" stroke-linecap="round" fill="none"/>',
    "wool": '<path d="M-32,-66 C-34,-106 36,-106 36,-66Z" fill="#8a5be0"/><path d="M-33,-68 H37" stroke="#f3ecff" stroke-width="12" stroke-linecap="round"/><circle cx="2" cy="-98" r="10" fill="#f3ecff"/>',
    "crown": '<path d="M-22,-70 L-26,-104 L-10,-88 L2,-110 L14,-88 L30,-104 L26,-70Z" fill="#ffcf33"/><circle cx="2" cy="-82" r="5" fill="#e23c4b"/>',
    "pirate": '<path d="M-38,-70 C-36,-106 40,-106 42,-70 C20,-80 -16,-80 -38,-70Z" fill="#2a2d45"/><circle cx="2" cy="-88" r="7" fill="#fff"/><path d="M-8,-80 L12,-74 M12,-80 L-8,-74" stroke="#fff" stroke-width="3"/>',
}
TUFT = '<path d="M-4,-70 C-30,-80 -34,-98 -26,-106 C-16,-98 -6,-90 -4,-70Z" fill="#ff8a2b"/><path d="M0,-72 C-14,-92 -8,-112 2,-116 C8,-104 10,-88 0,-72Z" fill="#ffd23f"/><path d="M4,-70 C6,-90 18,-100 28,-100 C28,-88 20,-76 4,-70Z" fill="#ff5a36"/>'


def lori(x=132, y=142, s=.98, flip=False, tilt=0, near=0, far=None, eyes="open", opened=False, hat="", feet=True, hold="", at=(34, 30)):
    """One bird. `near` and `far` turn the wings about the shoulder; `hold` is drawn at `at` in front of the chest."""
    return f"""<g transform="translate({x},{y}) scale({-s if flip else s},{s}) rotate({tilt})">
    <path d="M-12,44 C-40,64 -58,92 -58,112 C-40,110 -20,92 -4,60Z" fill="#1ea45a"/><path d="M-8,50 C-28,72 -38,94 -36,110 C-22,104 -8,86 2,60Z" fill="#ffd23f"/>
    {'' if far is None else wing(far, 12, 0, True)}{FEET if feet else ''}
    <ellipse cx="0" cy="24" rx="37" ry="45" fill="#2cba68"/><path d="M-6,-10 C30,-16 46,20 34,46 C26,66 4,72 -8,66 C-22,50 -20,8 -6,-10Z" fill="#ff9a2e"/>
    <path d="M0,22 q5,7 10,0 M14,22 q5,7 10,0 M-4,36 q5,7 10,0 M10,36 q5,7 10,0 M2,50 q5,7 10,0 M16,50 q5,7 10,0" stroke="#ee5f22" stroke-width="3.5" fill="none" stroke-linecap="round"/>
    {'' if hat else TUFT}<circle cx="2" cy="-40" r="36" fill="#3a7bf0"/><path d="M-34,-44 C-32,-86 36,-86 38,-44 C22,-62 -16,-62 -34,-44Z" fill="#5a4fdc"/>
    <circle cx="8" cy="-24" r="7" fill="#ff9ec0" opacity=".85"/>{eye(eyes)}{beak(opened)}
    <path d="M-32,-12 C-16,4 20,6 34,-8 L36,4 C18,18 -18,16 -34,0Z" fill="#e23c4b"/><path d="M-30,-4 C-46,-6 -58,4 -62,16 C-50,16 -50,22 -54,30 C-40,28 -30,16 -26,4Z" fill="#e23c4b"/>
    <g fill="#fff"><circle cx="-14" cy="3" r="3"/><circle cx="4" cy="6" r="3"/><circle cx="22" cy="3" r="3"/><circle cx="-44" cy="8" r="3"/></g>
    {wing(near)}<g transform="translate({at[0]},{at[1]})">{hold}</g>{HATS[hat]}</g>"""


def cloud(x, y, s=1.0):
    return f'<g transform="translate({x},{y}) scale({s})" fill="#bfe3fa"><ellipse rx="32" ry="14"/><circle cx="-10" cy="-9" r="14"/><circle cx="10" cy="-12" r="17"/></g>'


def star(x, y, r=6, c="#ffe98a"):
    p = " ".join(f"{x + (r if i % 2 == 0 else r * .45) * math.sin(i * math.pi / 5):.1f},{y - (r if i % 2 == 0 else r * .45) * math.cos(i * math.pi / 5):.1f}" for i in range(10))
    return f'<polygon points="{p}" fill="{c}"/>'


# Places are a few things on white: the demo base knows no other ground.
DAY = cloud(58, 52) + cloud(206, 60, .8)
HILL = cloud(58, 52) + '<path d="M8,256 C20,196 236,196 248,256Z" fill="#6cc24a"/><path d="M40,256 C70,222 200,222 220,256Z" fill="#4da33a"/>'
BEACH = '<path d="M8,256 C20,204 236,204 248,256Z" fill="#f7e0a3"/><circle cx="216" cy="42" r="24" fill="#ffd94a"/>'
NIGHT = '<path d="M208,20 a34,34 0 1 0 30,54 a28,28 0 0 1 -30,-54z" fill="#f7c948"/>' + "".join(star(*p, c="#f7c948") for p in ((36, 40, 10), (84, 22, 7), (30, 116, 8), (226, 150, 9)))
SNOW = '<path d="M8,256 C20,206 236,206 248,256Z" fill="#d5ebfa"/><path d="M214,222 l-30,0 l30,-46 l30,46z M214,188 l-23,0 l23,-40 l23,40z" fill="#2f8a5a"/>' + "".join(f'<circle cx="{x}" cy="{y}" r="6" fill="#bfe0f7"/>' for x, y in ((30, 40), (52, 100), (34, 160), (190, 40), (226, 96)))
SUNSET = '<path d="M56,190 a72,72 0 0 1 144,0z" fill="#ffb347"/><path d="M20,190 H236 V204 H20Z M52,212 H204 V224 H52Z" fill="#e8643c"/>'
ROOM = '<rect x="18" y="30" width="70" height="76" fill="#bfe6ff" stroke="#b9774a" stroke-width="9"/><path d="M53,30 V106 M18,68 H88" stroke="#b9774a" stroke-width="6"/>'
BRANCH = '<path d="M4,212 C80,204 170,222 252,206 V224 C170,238 80,222 4,228Z" fill="#8a5a34"/><g fill="#4da33a"><ellipse cx="32" cy="194" rx="26" ry="12" transform="rotate(-24 30 194)"/><ellipse cx="222" cy="192" rx="28" ry="12" transform="rotate(20 224 192)"/><ellipse cx="206" cy="238" rx="24" ry="10"/></g>'
RAIN = "".join(f'<path d="M{x},{y} l-7,20" stroke="#4aa3e0" stroke-width="7" stroke-linecap="round"/>' for x, y in ((28, 40), (54, 90), (230, 40), (238, 100), (24, 140), (36, 196), (224, 176)))
SPACE = '<circle cx="204" cy="204" r="40" fill="#d88a4a"/><ellipse cx="204" cy="204" rx="62" ry="12" fill="none" stroke="#b06a35" stroke-width="8" transform="rotate(-18 204 204)"/>' + "".join(star(x, y, r, "#f7c948") for x, y, r in ((30, 40, 9), (220, 50, 9), (34, 190, 8), (150, 24, 6)))
SEA = '<path d="M12,206 q14,-14 29,0 t29,0 t29,0 t29,0 t29,0 t29,0 t29,0 t29,0 V250 H12Z" fill="#2f8fd0"/>'
DESK = '<rect x="12" y="206" width="232" height="22" rx="6" fill="#c98d55"/><path d="M34,228 V256 M222,228 V256" stroke="#a5713f" stroke-width="14"/>'

APPLE = '<circle r="17" fill="#e8323c"/><path d="M0,-14 q2,-10 8,-14" stroke="#6b4226" stroke-width="4" fill="none"/><path d="M4,-18 q12,-10 18,2 q-12,6 -18,-2z" fill="#58b53c"/><circle cx="-6" cy="-6" r="4" fill="#ff8f94"/>'
FLOWER = '<path d="M0,4 C2,20 -2,30 0,44" stroke="#3f9a3a" stroke-width="5" fill="none"/><g fill="#ff6fa8"><circle cy="-13" r="9"/><circle cx="12" cy="-4" r="9"/><circle cx="8" cy="10" r="9"/><circle cx="-8" cy="10" r="9"/><circle cx="-12" cy="-4" r="9"/></g><circle r="8" fill="#ffe14d"/>'
BALLOON = '<path d="M0,0 C6,-26 0,-44 8,-64" stroke="#666" stroke-width="2.5" fill="none"/><ellipse cx="10" cy="-88" rx="22" ry="27" fill="#e23c4b"/><path d="M0,-96 q4,-12 12,-12" stroke="#ff9aa4" stroke-width="4" fill="none" stroke-linecap="round"/>'
BOOK = '<path d="M-26,-14 L0,-8 L26,-14 V18 L0,24 L-26,18Z" fill="#fff" stroke="#2b5fb8" stroke-width="5" stroke-linejoin="round"/><path d="M0,-8 V24 M-18,-4 l10,2 M-18,4 l10,2 M18,-4 l-10,2 M18,4 l-10,2" stroke="#9db4d8" stroke-width="3"/>'
UMBRELLA = '<path d="M0,30 V-74" stroke="#6b4226" stroke-width="5"/><path d="M-88,-72 C-80,-140 72,-140 82,-72 C66,-84 44,-84 30,-72 C14,-84 -16,-84 -32,-72 C-46,-84 -72,-84 -88,-72Z" fill="#ffd23f" stroke="#e8a91e" stroke-width="3"/>'
GUITAR = '<g transform="rotate(-38)"><rect x="10" y="-5" width="62" height="9" fill="#6b4226"/><rect x="68" y="-8" width="14" height="15" rx="3" fill="#4a2c18"/><circle cx="-14" r="22" fill="#d98a3d"/><circle cx="10" r="15" fill="#d98a3d"/><circle cx="-4" r="8" fill="#5a341a"/></g>'
BRUSH = '<g transform="rotate(24)"><rect x="-4" y="-34" width="8" height="54" rx="3" fill="#b9774a"/><rect x="-6" y="-44" width="12" height="12" fill="#aab"/><path d="M-6,-44 q0,-16 6,-22 q6,6 6,22z" fill="#e23c4b"/></g>'
ICE = '<path d="M-12,-2 L0,34 L12,-2Z" fill="#e0a458"/><circle cy="-10" r="15" fill="#ffb3d1"/><circle cx="-4" cy="-15" r="4" fill="#fff"/>'
GIFT = '<rect x="-22" y="-14" width="44" height="38" fill="#58b53c"/><path d="M0,-14 V24 M-22,2 H22" stroke="#ffe14d" stroke-width="7"/><path d="M0,-14 q-18,-20 -20,-4 q4,6 20,4 q16,2 20,-4 q-2,-16 -20,4" fill="#ffe14d"/>'

# file name, what the caption says after the trigger, picture
POSES = [
    ("standing", "", lori()),
    ("left", "facing left", lori(flip=True)),
    ("waving", "waving", lori(near=98, eyes="happy", opened=True)),
    ("apple", "red apple", lori(hold=APPLE, near=-30)),
    ("hill", "on a hill", HILL + lori(132, 128, .9)),
    ("flying", "flying, cloud", cloud(52, 210) + cloud(206, 40, .8) + lori(132, 120, .9, tilt=38, near=70, far=140, feet=False)),
    ("night", "flying, crescent moon, star", NIGHT + lori(120, 140, .85, flip=True, tilt=32, near=82, far=135, feet=False)),
    ("branch", "on a branch", BRANCH + lori(128, 138, .92)),
    ("asleep", "asleep on a branch", BRANCH + lori(132, 140, .92, flip=True, tilt=-6, eyes="closed")),
    ("beach", "on a beach, straw hat, ice cream", BEACH + lori(116, 142, .9, hat="straw", hold=ICE, near=-34, eyes="happy")),
    ("snow", "in the snow, wool hat", SNOW + lori(112, 142, .94, hat="wool")),
    ("rain", "in the rain, umbrella", RAIN + lori(120, 168, .86, hold=UMBRELLA, near=-40, at=(30, 20))),
    ("sunset", "sunset", SUNSET + lori(120, 130, .84, near=8)),
    ("party", "party hat, wrapped gift", lori(122, 156, .94, hat="party", hold=GIFT, near=-30, eyes="happy", opened=True)),
    ("reading", "open book, window", ROOM + lori(148, 146, .95, flip=True, hold=BOOK, near=-28, at=(28, 34))),
    ("painting", "paintbrush", lori(114, 142, .96, hold=BRUSH, near=-50, at=(52, 26))),
    ("guitar", "guitar", lori(120, 148, .98, hold=GUITAR, near=-24, eyes="happy", opened=True, at=(14, 34))),
    ("balloon", "flying, balloon", cloud(54, 200) + lori(108, 158, .8, hold=BALLOON, far=160, near=60, feet=False, at=(44, 0))),
    ("king", "crown, asleep", lori(128, 148, .92, hat="crown", flip=True, eyes="closed")),
    ("pirate", "pirate hat, on the sea", SEA + lori(124, 132, .9, hat="pirate")),
    ("space", "flying, ringed planet, star", SPACE + lori(104, 126, .84, tilt=-24, near=70, far=140, opened=True)),
    ("flower", "pink flower, asleep", lori(112, 142, .95, tilt=6, hold=FLOWER, at=(62, 2), eyes="closed")),
    ("magician", "top hat, waving", lori(126, 152, .96, hat="top", near=100, flip=True)),
    ("desk", "at a desk, open book", DESK + lori(118, 138, .9, hold=BOOK, near=-28, at=(40, 40))),
]

if __name__ == "__main__":
    for name, what, body in POSES:
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 256 256" width="128" height="128"><rect width="256" height="256" fill="#fff"/>{body}</svg>'
        (HERE / f"{name}.png").write_bytes(bytes(resvg_py.svg_to_bytes(svg_string=svg)))
        (HERE / f"{name}.txt").write_text(", ".join(filter(None, (TRIGGER, what))) + "\n")
