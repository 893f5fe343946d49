"""Birds in profile, looking right, perched.

Drawing units: the body's centre is (0, 0), bill to tail fills about -1.1 to 1.1.
"""

from __future__ import annotations

import numpy as np

from kg2clip.mirror.rendered.canvas import Canvas, bend, ellipse, ribbon, shaded, smooth
from kg2clip.mirror.rendered.look import Look

BODY = [
    (0.42, -0.32),
    (0.6, 0.02),
    (0.42, 0.38),
    (0.02, 0.5),
    (-0.45, 0.36),
    (-0.78, 0.16),
    (-0.5, -0.16),
    (-0.1, -0.36),
    (0.16, -0.5),
]


def bird(canvas: Canvas, look: Look) -> None:
    """Draw a bird: tail, legs, body with its underparts, wing, head with its markings, bill and eye."""
    _perch(canvas, look)
    posture = canvas.at(0, 0, look.size("posture", level=0, upright=-24) + look.jitter(7))
    _tail(posture, look)
    body = smooth(np.array(BODY) * (1, look.size("build", plump=1.06, slim=0.86)))
    posture.fill(body, look.colour("back"), edge=0.6)
    with posture.inside(body):
        posture.fill(
            smooth([(0.9, -0.5), (0.3, -0.12), (-0.2, 0.16), (-0.9, 0.26), (-0.6, 0.8), (0.6, 0.8)]),
            look.colour("belly"),
        )
        if look.has("breast"):
            posture.fill(
                smooth([(0.9, -0.6), (0.26, -0.5), (0.2, -0.05), (0.12, 0.26), (0.5, 0.4), (0.9, 0.2)]),
                look.colour("breast"),
            )
        if look.has("flanks"):
            posture.fill(ellipse(-0.1, 0.28, 0.36, 0.15, 10), look.colour("flanks"))
        if look.has("bellyStripe"):
            posture.fill(
                ribbon([(0.62, -0.3), (0.5, 0.1), (0.3, 0.36), (0.0, 0.5)], [0.18, 0.17, 0.16, 0.12]),
                look.colour("bellyStripe"),
            )
        if look.has("breastSpots"):
            for _ in range(34):
                x, y = look.between(-0.2, 0.56), look.between(-0.24, 0.44)
                posture.fill(ellipse(x, y, 0.026, 0.045, 20), look.colour("breastSpots"))
        if look.has("vent"):
            posture.fill(ellipse(-0.62, 0.34, 0.26, 0.16, -18), look.colour("vent"))
    _wing(posture, look)
    _head(posture.at(0.4, -0.46, look.jitter(12)), look)


def _perch(canvas: Canvas, look: Look) -> None:
    """Draw the legs, and often the twig or the rock that they stand on."""
    legs = look.colour("legs", "brown")
    if look.rng.random() < 0.6:
        slope = look.jitter(7)
        twig = bend((-1.6, 0.76 - 1.6 * np.sin(np.radians(slope))), slope, 3.4, look.jitter(10), 8)
        colour = [(96, 72, 54), (130, 112, 92), (70, 60, 54)][int(look.rng.integers(3))]
        canvas.fill(ribbon(twig, np.linspace(look.between(0.08, 0.18), 0.05, 8)), colour, edge=0.7)
    for x in (0.02, 0.2):
        canvas.line([(x - 0.08, 0.36), (x - 0.02, 0.56), (x, 0.74)], legs, 0.045)
        canvas.line([(x - 0.08, 0.76), (x, 0.73), (x + 0.12, 0.76)], legs, 0.04)


def _tail(canvas: Canvas, look: Look) -> None:
    length = look.size("tailLength", medium=0.56, short=0.26, long=0.75, very_long=1.1)
    tail = canvas.at(-0.62, 0.18, look.size("tailCarriage", level=-16, drooping=-38) + look.jitter(6))
    feathers = ribbon(
        [(0.1, 0), (-length * 0.5, 0.0), (-length, 0.0)], [0.26, 0.22, 0.2] if length < 1 else [0.3, 0.22, 0.06]
    )
    tail.fill(feathers, look.colour("tail", "back"), edge=0.6)
    with tail.inside(feathers):
        if look.has("tailTip"):
            tail.fill([(-length * 0.7, -0.3), (-length * 0.7, 0.3), (-2, 0.3), (-2, -0.3)], look.colour("tailTip"))
        tail.line([(0, 0), (-length, 0)], shaded(look.colour("tail", "back"), 0.7), 0.02)
    if look.has("rump"):
        canvas.fill(ellipse(-0.6, 0.06, 0.22, 0.14, 20), look.colour("rump"))


def _wing(canvas: Canvas, look: Look) -> None:
    wing = canvas.at(0.2, -0.2, look.jitter(4))
    outline = smooth(
        [(0.08, 0.04), (0.0, 0.36), (-0.42, 0.5), (-0.98, 0.46), (-1.02, 0.38), (-0.6, 0.1), (-0.2, -0.08)]
    )
    colour = look.colour("wings", "back")
    wing.fill(outline, colour, edge=0.55)
    with wing.inside(outline):
        flight = look.colours("wings")[-1] if look.has("wings") else colour
        wing.fill(smooth([(-0.3, 0.26), (-0.6, 0.6), (-1.2, 0.6), (-1.2, 0.24), (-0.7, 0.1)]), flight)
        if len(look.colours("wings")) == 3:  # shoulder, middle, flight feathers
            wing.fill(smooth([(-0.1, 0.0), (-0.16, 0.5), (-0.5, 0.56), (-0.62, 0.12)]), look.colours("wings")[1])
        if look.has("wingStreaks"):
            for _ in range(14):
                x, y = look.between(-0.75, 0.0), look.between(0.0, 0.45)
                wing.line([(x, y), (x - 0.14, y + 0.05)], look.colour("wingStreaks"), 0.035)
        if look.has("wingBar"):
            wing.line([(-0.26, -0.04), (-0.34, 0.2), (-0.3, 0.5)], look.colour("wingBar"), 0.085)
        for y in (0.3, 0.37, 0.44):
            wing.line([(-0.3, y - 0.04), (-1.0, y + 0.03)], shaded(flight, 0.7), 0.014)


def _head(canvas: Canvas, look: Look) -> None:
    """Draw the head about its centre; it overlaps the body's front end."""
    radius = look.size("headSize", medium=0.33, large=0.38, small=0.27)
    canvas = canvas.at(0.06, -0.02, 0, radius / 0.33, radius / 0.33)
    _bill(canvas, look)
    skull = smooth(
        [(0.33, 0.02), (0.22, -0.24), (-0.04, -0.33), (-0.3, -0.18), (-0.36, 0.16), (-0.1, 0.4), (0.2, 0.28)]
    )
    canvas.fill(skull, look.colour("head", "back"))
    with canvas.inside(skull):
        if look.has("throat"):
            canvas.fill(
                smooth([(0.5, 0.06), (0.2, 0.09), (-0.12, 0.26), (-0.2, 0.6), (0.5, 0.6)]), look.colour("throat")
            )
        if look.has("face"):
            canvas.fill(
                smooth([(0.5, -0.16), (0.1, -0.12), (-0.08, 0.08), (-0.1, 0.6), (0.5, 0.6)]), look.colour("face")
            )
        if look.has("cheek"):
            canvas.fill(
                smooth([(0.24, 0.0), (0.0, -0.04), (-0.26, 0.06), (-0.16, 0.24), (0.1, 0.2)]), look.colour("cheek")
            )
        if look.has("crown"):
            canvas.fill(
                smooth([(0.4, -0.1), (0.1, -0.14), (-0.24, -0.12), (-0.5, -0.3), (0, -0.6), (0.4, -0.4)]),
                look.colour("crown"),
            )
        if look.has("forehead"):
            canvas.fill(ellipse(0.22, -0.22, 0.2, 0.14, 40), look.colour("forehead"))
        if look.has("eyeStripe"):
            canvas.line([(0.4, 0.0), (0.12, -0.05), (-0.36, -0.02)], look.colour("eyeStripe"), 0.075)
        if look.has("mask"):
            canvas.fill(
                smooth([(0.36, 0.06), (0.14, -0.14), (-0.3, -0.08), (-0.34, 0.12), (0.1, 0.1)]), look.colour("mask")
            )
        if look.has("brow"):
            canvas.line([(0.26, -0.14), (0.1, -0.18), (-0.28, -0.14)], look.colour("brow"), 0.055)
        if look.has("nape"):
            canvas.fill(ellipse(-0.36, 0.02, 0.13, 0.2), look.colour("nape"))
    if look.has("eyeRing"):
        canvas.spot(0.11, -0.05, 0.085, look.colour("eyeRing"))
    canvas.spot(0.11, -0.05, 0.058, (18, 14, 14))
    canvas.spot(0.13, -0.07, 0.018, (250, 250, 250))


def _bill(canvas: Canvas, look: Look) -> None:
    colour = look.colour("bill")
    form = look.word("billForm", "short")
    if form == "hooked":
        canvas.fill(
            smooth([(0.2, -0.2), (0.5, -0.16), (0.6, 0.06), (0.54, 0.26), (0.46, 0.1), (0.24, 0.1)]), colour, edge=0.6
        )
        if len(look.colours("bill")) > 1:
            canvas.fill(smooth([(0.24, 0.06), (0.44, 0.1), (0.4, 0.24), (0.26, 0.22)]), look.colours("bill")[1])
        return
    length, depth = {"short": (0.24, 0.07), "conical": (0.22, 0.12), "medium": (0.34, 0.08), "dagger": (0.68, 0.1)}[
        form
    ]
    canvas.fill([(0.26, -depth), (0.32 + length, 0.03), (0.26, depth + 0.03)], colour, edge=0.6)
