"""Mammals on four legs in profile, looking right.

Drawing units: the trunk's centre is (0, 0); nose to tail fills about -1.3 to 1.2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kg2clip.mirror.rendered.canvas import Canvas, Points, bend, ellipse, moved, ribbon, shaded, smooth
from kg2clip.mirror.rendered.colours import RGB
from kg2clip.mirror.rendered.look import Look

Coat = Callable[[Canvas, Points, RGB, bool], None]


def mammal(canvas: Canvas, look: Look) -> None:
    """Draw a mammal: far legs, tail, trunk, near legs, neck, head; the pattern lies on each part alike."""
    leg = look.size("legs", medium=0.56, short=0.3, long=0.76)
    depth = look.size("build", slender=0.27, sturdy=0.34, heavy=0.44)
    canvas = _framed(canvas, look).at(0, 0.42 - leg * 0.75, look.size("posture", level=0, crouched=-16))
    coat = _coat(look)
    base = look.colour("coat")
    gait = look.between(-26, 26)
    for x, phase in ((-0.42, -1), (0.44, 1)):
        _leg(canvas.at(x + 0.06, depth * 0.3), look, leg, phase * gait, coat, 0.78)
    _tail(canvas.at(-0.6, -depth * 0.5), look, coat)
    trunk = smooth(
        [
            (0.6, -depth * 0.7),
            (0.66, depth * 0.3),
            (0.3, depth),
            (-0.3, depth * 0.9),
            (-0.62, depth * 0.6),
            (-0.7, -depth * 0.3),
            (-0.5, -depth),
            (0.0, -depth * 0.9),
            (0.36, -depth * 1.02),
        ]
    )
    coat(canvas, trunk, base, True)
    with canvas.inside(trunk):
        if look.has("belly"):
            canvas.fill(
                smooth(
                    [
                        (0.8, depth * 0.5),
                        (0.2, depth * 0.6),
                        (-0.5, depth * 0.5),
                        (-0.6, depth * 1.5),
                        (0.6, depth * 1.5),
                    ]
                ),
                look.colour("belly"),
            )
        if look.has("shoulders"):
            canvas.fill(smooth([(0.26, -1), (0.22, 0), (0.3, 1), (0.9, 1), (0.9, -1)]), look.colour("shoulders"))
    for x, phase in ((-0.46, 1), (0.42, -1)):
        _leg(canvas.at(x, depth * 0.3), look, leg, phase * gait, coat, 1.0)
    _neck_and_head(canvas.at(0.52, -depth * 0.55), look, coat)


def _framed(canvas: Canvas, look: Look) -> Canvas:
    """Centre the animal: a long neck or tail needs room, a stub leaves some."""
    if look.word("neck") == "very_long":
        return canvas.at(-0.15, 0.25, 0, 0.82, 0.82)
    if look.word("neck") == "long":
        return canvas.at(-0.1, 0.14, 0, 0.88, 0.88)
    if look.word("tail") == "stub":
        return canvas.at(-0.28, 0, 0, 1.18, 1.18)
    return canvas.at(0.05, 0) if look.word("tail") == "plume" else canvas


def _coat(look: Look) -> Coat:
    """Return how a part is filled: its ground colour and the pattern over it."""
    painters: dict[str, Callable[[Canvas, Look], None]] = {
        "stripes": _stripes,
        "rosettes": _rosettes,
        "spots": _spots,
        "patches": _patches,
    }
    paint = painters.get(look.word("pattern"))

    def fill(canvas: Canvas, outline: Points, colour: RGB, edged: bool) -> None:
        canvas.fill(outline, colour, edge=0.62 if edged else 0.0)
        if paint is None:
            return
        with canvas.inside(outline):
            paint(canvas, look)

    return fill


def _stripes(canvas: Canvas, look: Look) -> None:
    """Draw wavering upright stripes over the whole neighbourhood of a part."""
    step = look.size("patternScale", fine=0.125, coarse=0.17)
    share = 0.5 if look.word("patternWeight") == "heavy" else 0.34
    for x in np.arange(-1.2, 1.2, step):
        lean = look.jitter(0.05)
        spine = [(x + lean, -1.2), (x + look.jitter(0.02), -0.3), (x - lean, 0.1), (x + look.jitter(0.02), 1.2)]
        canvas.fill(ribbon(smooth(spine)[:18], np.full(18, step * share)), look.colour("marks"))


def _rosettes(canvas: Canvas, look: Look) -> None:
    for x, y in _scattered(look, 0.15):
        canvas.fill(ellipse(x, y, 0.06, 0.05), look.colour("marks"))
        canvas.fill(ellipse(x, y, 0.03, 0.024), look.colour("markCentres", "coat"))


def _spots(canvas: Canvas, look: Look) -> None:
    for x, y in _scattered(look, 0.12):
        canvas.fill(ellipse(x, y, 0.035, 0.03), look.colour("marks"))


def _patches(canvas: Canvas, look: Look) -> None:
    for x, y in _scattered(look, 0.2):
        shape = ellipse(x, y, 0.095, 0.095)[::6]
        canvas.fill(shape + look.rng.normal(0, 0.012, shape.shape), look.colour("marks"))


def _scattered(look: Look, step: float) -> Points:
    """Lay points on a jittered hexagonal net, so that marks neither clump nor align."""
    xs, ys = np.meshgrid(np.arange(-1.2, 1.3, step), np.arange(-1.2, 1.3, step * 0.87))
    xs[1::2] += step / 2
    points = np.stack([xs.ravel(), ys.ravel()], axis=1)
    return np.asarray(points + look.rng.normal(0, step * 0.1, points.shape))


def _leg(canvas: Canvas, look: Look, length: float, swing: float, coat: Coat, light: float) -> None:
    """Draw a leg that swings from its joint at (0, 0); `light` below 1 for the far pair."""
    thick = look.size("build", slender=0.14, sturdy=0.19, heavy=0.25)
    leg = canvas.at(0, 0, swing)
    bow = look.jitter(0.03)
    spine = [(0, -0.05), (bow, length * 0.35), (-0.02, length * 0.7), (0.0, length)]
    outline = ribbon(spine, [thick * 1.7, thick * 1.1, thick * 0.75, thick * 0.8])
    colour = look.colour("limbs", "coat")
    if look.has("limbs"):
        leg.fill(outline, shaded(colour, light))
    else:
        coat(leg, outline, shaded(colour, light), False)
    for side in (outline[1:4], outline[4:7]):  # below the joint only, where the leg leaves the trunk
        leg.line(side, shaded(colour, light * 0.62), 0.01)
    if look.has("feet"):
        with leg.inside(outline):
            leg.fill([(-0.4, length * 0.62), (0.4, length * 0.62), (0.4, 2), (-0.4, 2)], look.colour("feet"))
    leg.fill(
        ellipse(0.05, length, thick * 0.62, 0.055),
        shaded(look.colour("feet", "limbs" if look.has("limbs") else "coat"), light),
    )


def _tail(canvas: Canvas, look: Look, coat: Coat) -> None:
    form = look.word("tail", "thin")
    angle = look.between(105, 165)
    colour = look.colour("tailColour", "coat")
    if form == "plume":  # held up along the back, curling outwards at the tip: squirrels
        spine = bend((0.02, 0.1), 200 + look.jitter(8), 1.35, 130 + look.jitter(20), 14)
        widths = np.interp(np.linspace(0, 1, 14), [0, 0.3, 0.7, 1], [0.1, 0.36, 0.42, 0.08])
    elif form == "bushy":
        spine = bend((0.05, 0), angle + 10, 0.95, look.between(-20, 60), 12)
        widths = np.interp(np.linspace(0, 1, 12), [0, 0.4, 0.75, 1], [0.1, 0.26, 0.28, 0.03])
    elif form == "stub":
        spine = bend((0.02, 0.02), 150, 0.2, 0, 5)
        widths = np.array([0.12, 0.13, 0.13, 0.1, 0.05])
    else:
        spine = bend((0.05, 0), angle, 0.95, look.between(-90, 10), 12)
        widths = np.linspace(0.09, 0.06, 12)
    outline = ribbon(spine, widths)
    if form in ("plume", "bushy", "stub"):
        canvas.fill(smooth(outline[::2]), colour, edge=0.62)
    else:
        coat(canvas, outline, colour, True)
    if look.has("tailTip"):
        end = spine[-3:] if form != "thin" else spine[-4:]
        if form in ("tuft", "thin"):
            wide = 0.16 if form == "tuft" else 0.075
            canvas.fill(ribbon(end, np.linspace(wide * 0.7, wide, len(end))), look.colour("tailTip"))
        else:
            canvas.fill(smooth(ribbon(spine[-5:], widths[-5:])), look.colour("tailTip"))


def _neck_and_head(canvas: Canvas, look: Look, coat: Coat) -> None:
    length = look.size("neck", short=0.14, medium=0.34, long=0.5, very_long=0.95)
    rise = look.size("neck", short=-24, medium=-42, long=-48, very_long=-66) + look.jitter(8)
    thick = look.size("build", slender=0.26, sturdy=0.36, heavy=0.46)
    spine = bend((-0.12, 0.06), rise, length + 0.16, 0, 4)
    end = spine[-1]
    head_size = look.size("headSize", medium=1.0, small=0.8, large=1.2)
    if look.has("mane") and look.word("maneForm") == "full":
        mane = ellipse(end[0] - 0.08, end[1] + 0.08, 0.44, 0.5, 12)[::2]
        canvas.fill(smooth(mane + look.rng.normal(0, 0.018, mane.shape)), look.colour("mane"), edge=0.7)
    coat(
        canvas,
        ribbon(spine, np.linspace(thick * 1.5, thick * (0.62 if length > 0.4 else 0.8), 4)),
        look.colour("neckColour", "coat"),
        False,
    )
    if look.has("mane") and look.word("maneForm") == "crest":
        canvas.fill(ribbon(moved(spine, -0.14, -0.08), [0.06, 0.12, 0.12, 0.08]), look.colour("mane"))
    _head(canvas.at(end[0], end[1], look.between(-10, 22), head_size, head_size), look, coat)


def _head(canvas: Canvas, look: Look, coat: Coat) -> None:
    """Draw the head about the base of the skull."""
    colour = look.colour("head", "coat")
    _ears(canvas, look)
    nose = look.size("muzzle", medium=0.42, short=0.3, long=0.58)
    low = look.size("muzzleDepth", slim=0.0, deep=0.07)
    skull = smooth(
        [
            (-0.16, -0.06),
            (-0.04, -0.22),
            (0.14, -0.19),
            (nose * 0.62, -0.08),
            (nose, -0.02 - low / 2),
            (nose + 0.02, 0.06 + low),
            (nose * 0.6, 0.12 + low),
            (0.1, 0.2),
            (-0.12, 0.14),
        ]
    )
    if look.has("head"):
        canvas.fill(skull, colour, edge=0.62)
    else:
        coat(canvas, skull, colour, True)
    with canvas.inside(skull):
        if look.has("cheeks"):
            canvas.fill(
                smooth([(nose + 0.1, 0.02), (0.2, 0.03), (0.02, 0.1), (0.1, 0.4), (nose + 0.1, 0.4)]),
                look.colour("cheeks"),
            )
        if look.has("muzzleColour"):
            canvas.fill(ellipse(nose, 0.04, 0.15, 0.2), look.colour("muzzleColour"))
        if look.has("faceStripe"):
            canvas.line([(nose, -0.02), (0.14, -0.06), (-0.2, -0.04)], look.colour("faceStripe"), 0.085)
    if look.has("eyePatch"):
        canvas.fill(ellipse(0.13, -0.05, 0.075, 0.055, 30), look.colour("eyePatch"))
    canvas.spot(0.14, -0.06, 0.034, (20, 16, 14))
    canvas.spot(nose + 0.005, 0.0 - low / 2, 0.045, look.colour("nose", "black"))
    canvas.line([(nose - 0.02, 0.08 + low * 0.7), (nose * 0.6, 0.09 + low * 0.6)], (40, 30, 28), 0.014)


def _ears(canvas: Canvas, look: Look) -> None:
    size = look.size("ears", medium=0.19, small=0.12, large=0.27, very_large=0.44)
    colour = look.colour("earColour", "head" if look.has("head") else "coat")
    for x, light, angle in ((0.05, 0.75, 14), (-0.06, 1.0, -10)):
        ear = canvas.at(x, -0.14, angle + look.jitter(6))
        if look.word("earForm") == "round":
            ear.fill(ellipse(0, -size * 0.35, size * 0.55, size * 0.6), shaded(colour, light), edge=0.6)
        else:
            ear.fill(
                [(-size * 0.38, 0.04), (-size * 0.1, -size * 1.1), (size * 0.06, -size * 1.1), (size * 0.34, 0.04)],
                shaded(colour, light),
                edge=0.6,
            )
        if look.has("earTufts"):
            ear.line([(-0.01, -size), (-0.03, -size * 1.6)], look.colour("earTufts"), 0.05)
    if look.has("horns"):
        for x in (0.02, 0.08):
            canvas.line([(x, -0.16), (x + 0.02, -0.34)], look.colour("horns"), 0.05)
            canvas.spot(x + 0.02, -0.35, 0.04, look.colour("marks"))
