"""Mushrooms in profile, standing in the ground.

Drawing units: the cap's top is near (0, -1), the foot of the stem near (0, 1).
"""

from __future__ import annotations

import numpy as np

from kg2clip.mirror.rendered.canvas import Canvas, Points, bend, ellipse, moved, ribbon, shaded, smooth
from kg2clip.mirror.rendered.look import Look


def mushroom(canvas: Canvas, look: Look) -> None:
    """Draw a mushroom: the stem with foot and ring, the underside of the cap, the cap with its warts or scales."""
    wide = look.size("cap", convex=0.78, flat=0.9, bell=0.36, funnel=0.8, cushion=0.82, egg=0.62)
    cap_at = -0.32 if look.word("cap") != "bell" else 0.3
    lean = look.jitter(7)
    thick = look.size("stem", slender=0.17, stout=0.27, swollen=0.46, thin=0.12)
    _stem(canvas, look, cap_at, thick, lean)
    cap = canvas.at(np.sin(np.radians(lean)) * 0.9, cap_at, lean + look.jitter(5))
    _ring(canvas, look, cap_at, thick)
    _cap(cap, look, wide, look.between(0.08, 0.19))
    if look.rng.random() < 0.55:
        _tuft(canvas, look)


def _stem(canvas: Canvas, look: Look, top: float, thick: float, lean: float) -> None:
    spine = bend((look.jitter(0.03), 0.97), -90 + lean, 0.97 - top, look.jitter(8), 8)
    widths = [1.25, 1.18, 1.12, 1.06, 1.0, 0.95, 0.9, 0.85]
    if look.word("stem") == "swollen":
        widths = [1.2, 1.5, 1.55, 1.45, 1.25, 1.05, 0.9, 0.85]
    outline = ribbon(spine, thick * np.array(widths))
    canvas.fill(ellipse(spine[0][0], 0.96, thick * widths[0] / 2, 0.05), look.colour("stemColour"), edge=0.62)
    colour = look.colour("stemColour")
    if look.word("foot") == "bulb":
        canvas.fill(ellipse(spine[0][0], 0.9, thick * 1.15, 0.15), look.colour("footColour", "stemColour"), edge=0.6)
    canvas.fill(outline, colour, edge=0.62)
    with canvas.inside(outline):
        for x in (-0.25, 0.05, 0.3):
            canvas.line(moved(spine, x * thick, 0), shaded(colour, 0.86), 0.014)
        if look.has("stemMarks"):
            for y in np.linspace(-0.2, 0.9, 10):
                canvas.line([(-0.4, y), (0, y + look.jitter(0.06)), (0.4, y)], look.colour("stemMarks"), 0.035)
    if look.word("foot") == "volva":
        canvas.fill(
            smooth(
                [
                    (-thick * 0.9, 0.62),
                    (-thick * 0.5, 0.72),
                    (0, 0.68),
                    (thick * 0.55, 0.74),
                    (thick * 0.9, 0.6),
                    (thick * 1.2, 0.95),
                    (0, 1.08),
                    (-thick * 1.2, 0.95),
                ]
            ),
            look.colour("footColour", "white"),
            edge=0.65,
        )


def _ring(canvas: Canvas, look: Look, top: float, thick: float) -> None:
    """Draw the skirt below the cap."""
    if not look.has("ring"):
        return
    y = top + 0.36
    canvas.fill(
        smooth(
            [
                (-thick * 0.6, y - 0.06),
                (thick * 0.6, y - 0.06),
                (thick * 1.15, y + 0.14),
                (thick * 0.3, y + 0.1),
                (-thick * 0.4, y + 0.13),
                (-thick * 1.15, y + 0.12),
            ]
        ),
        look.colour("ring"),
        edge=0.65,
    )


def _cap(canvas: Canvas, look: Look, wide: float, tilt: float) -> None:
    """Draw the cap about the middle of its lower edge; `tilt` is how much of the underside shows."""
    gills = look.colour("gills")
    underside = ellipse(0, 0, wide * 0.97, tilt)
    form = look.word("cap", "convex")
    if form == "funnel":
        _funnel(canvas, look, wide, tilt)
        return
    outline = _cap_outline(form, wide, look)
    canvas.fill(underside, gills, edge=0.6)
    with canvas.inside(underside):
        for x in np.linspace(-1, 1, 25):
            canvas.line([(x * wide * 0.2, -tilt * 0.6), (x * wide * 1.1, tilt * 1.2)], shaded(gills, 0.78), 0.012)
    canvas.fill(outline, look.colour("capColour"), edge=0.6)
    with canvas.inside(outline):
        if look.has("capMargin"):
            canvas.line(ellipse(0, -0.02, wide * 0.98, tilt)[:17], look.colour("capMargin"), 0.12)
        if look.has("capCentre"):
            canvas.fill(ellipse(0, outline[:, 1].min() + 0.02, wide * 0.5, 0.2), look.colour("capCentre"), 0.7)
        if look.has("warts"):
            _warts(canvas, look, outline)
        if look.has("scales"):
            _scales(canvas, look, outline)
        canvas.fill(ellipse(-wide * 0.35, outline[:, 1].min() * 0.7, wide * 0.24, 0.06, -14), (255, 255, 255), 0.22)


def _cap_outline(form: str, wide: float, look: Look) -> Points:
    height = {"convex": 0.56, "flat": 0.3, "bell": 1.22, "cushion": 0.52, "egg": 0.62}[form] * look.between(0.86, 1.1)
    if form == "bell":
        return smooth(
            [
                (-wide, 0.02),
                (-wide * 1.02, -height * 0.4),
                (-wide * 0.66, -height * 0.88),
                (0, -height),
                (wide * 0.66, -height * 0.88),
                (wide * 1.02, -height * 0.4),
                (wide, 0.02),
                (0, 0.1),
            ]
        )
    return smooth(
        [
            (-wide, 0.0),
            (-wide * 0.84, -height * 0.62),
            (-wide * 0.4, -height * 0.96),
            (0, -height),
            (wide * 0.4, -height * 0.96),
            (wide * 0.84, -height * 0.62),
            (wide, 0.0),
            (wide * 0.5, 0.05),
            (0, 0.07),
            (-wide * 0.5, 0.05),
        ]
    )


def _warts(canvas: Canvas, look: Look, outline: Points) -> None:
    """Scatter the remains of the veil; rain washes some off."""
    top, wide = outline[:, 1].min(), outline[:, 0].max()
    size = 0.072 if look.word("wartSize") != "small" else 0.042
    for row, y in enumerate(np.linspace(top * 0.9, top * 0.08, 5)):
        for x in np.linspace(-wide, wide, 8) + (row % 2) * wide / 8:
            if look.rng.random() < 0.85:
                shape = ellipse(
                    x + look.jitter(0.03), y + look.jitter(0.02), size * look.between(0.6, 1.2), size * 0.75
                )
                canvas.fill(smooth(shape[::5] + look.rng.normal(0, 0.008, (7, 2))), look.colour("warts"), edge=0.8)


def _scales(canvas: Canvas, look: Look, outline: Points) -> None:
    top, wide = outline[:, 1].min(), outline[:, 0].max()
    for y in np.linspace(top * 0.92, 0, 10):
        for x in np.linspace(-wide, wide, 6) + look.jitter(0.04):
            canvas.fill([(x - 0.05, y), (x + 0.05, y), (x + look.jitter(0.01), y + 0.1)], look.colour("scales"))


def _funnel(canvas: Canvas, look: Look, wide: float, tilt: float) -> None:
    """Draw a vase: gills run down the outside, the wavy rim shows the hollow."""
    colour, gills = look.colour("capColour"), look.colour("gills")
    rim = ellipse(0, -0.42, wide, tilt * 1.1)[::2]
    rim += np.stack([np.zeros(16), look.rng.normal(0, 0.035, 16)], axis=1)
    cone = smooth(
        [
            (-wide * 0.98, -0.42),
            (-wide * 0.5, -0.1),
            (-0.12, 0.5),
            (0.12, 0.5),
            (wide * 0.5, -0.1),
            (wide * 0.98, -0.42),
        ]
    )
    canvas.fill(cone, gills, edge=0.65)
    with canvas.inside(cone):
        for x in np.linspace(-1, 1, 15):
            canvas.line([(x * 0.1, 0.55), (x * wide * 0.5, -0.05), (x * wide, -0.42)], shaded(gills, 0.76), 0.022)
    canvas.fill(smooth(rim), colour, edge=0.7)
    canvas.fill(ellipse(0, -0.4, wide * 0.5, tilt * 0.5), shaded(colour, 0.78))


def _tuft(canvas: Canvas, look: Look) -> None:
    """Let some grass or moss hide the foot."""
    for _ in range(16):
        blade = bend(
            (look.between(-0.6, 0.6), 1.06), -90 + look.jitter(22), look.between(0.12, 0.34), look.jitter(40), 5
        )
        green = look.between(0.7, 1.2)
        canvas.fill(ribbon(blade, [0.05, 0.045, 0.035, 0.02, 0.0]), shaded((92, 124, 58), green))
