"""Flowering plants: heads, open flowers, bells, spikes and umbels on their stems.

Drawing units: a single flower's centre is near (0, -0.4); spikes and umbels fill about -1 to 1; stems run out below.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kg2clip.mirror.rendered.canvas import Canvas, Points, bend, ellipse, ribbon, shaded, smooth
from kg2clip.mirror.rendered.look import Look


def flower(canvas: Canvas, look: Look) -> None:
    """Draw a plant in flower in the form that its inflorescence has."""
    forms: dict[str, Callable[[Canvas, Look], None]] = {
        "daisy": _daisy,
        "open": _open,
        "pansy": _pansy,
        "spike": _spike,
        "bells": _bells,
        "umbel": _umbel,
    }
    forms[look.word("inflorescence")](canvas, look)


def _stem(canvas: Canvas, look: Look, top: tuple[float, float], thick: float = 0.07) -> Points:
    """Draw the stem from the top down with its leaves; returns its line."""
    line = bend(top, 90 + look.jitter(10), 2.0, look.jitter(24), 12)
    colour = look.colour("stem", "green")
    foliage = look.colour("foliage", "green")
    canvas.fill(ribbon(line, np.linspace(thick * 0.8, thick * 1.2, 12)), colour, edge=0.7)
    form = look.word("leaf", "lance")
    if form != "none":
        for place in (4, 6, 8):
            for side in (-1, 1):
                if look.rng.random() < 0.7:
                    _leaf(canvas.at(line[place][0], line[place][1], side * look.between(20, 55) - 90), foliage, form)
    return line


def _leaf(canvas: Canvas, colour: tuple[int, int, int], form: str) -> None:
    """Draw a leaf that points along x."""
    if form == "divided":
        for x, angle in ((0.12, 46), (0.12, -46), (0.3, 40), (0.3, -40), (0.46, 0)):
            canvas.at(x, 0, angle).fill(ribbon([(0, 0), (0.12, 0), (0.26, 0)], [0.04, 0.1, 0.0]), colour, edge=0.7)
        canvas.line([(0, 0), (0.5, 0)], shaded(colour, 0.8), 0.03)
        return
    length, width = {"lance": (0.6, 0.13), "broad": (0.6, 0.3), "linear": (0.6, 0.06)}[form]
    canvas.fill(
        ribbon([(0, 0), (length * 0.3, 0), (length * 0.6, 0.02), (length, 0.05)], [0.03, width, width * 0.8, 0]),
        colour,
        edge=0.7,
    )
    canvas.line([(0, 0), (length * 0.9, 0.03)], shaded(colour, 1.25), 0.012)


def _daisy(canvas: Canvas, look: Look) -> None:
    """Draw a flower head: rays about a disc, foreshortened by the view."""
    y = -0.32
    _stem(canvas, look, (0, y))
    head = canvas.at(0, y, look.jitter(14), 1, look.between(0.6, 1.0))
    count, reach = look.count("rayCount", 16), look.size("rays", long=0.62, short=0.5)
    disc = look.size("disc", medium=0.2, small=0.1, large=0.36)
    layers = look.count("rayLayers", 1)
    width = {True: 0.16, False: 0.11}[count < 18]
    start = look.between(0, 360)
    for layer in range(layers):
        length = reach * (1 - 0.26 * layer)
        for index in range(count):
            angle = start + 360 * (index + layer / 2) / count + look.jitter(3)
            petal = head.at(0, 0, angle)
            size = length * look.between(0.9, 1.06)
            colour = shaded(look.colour("petals"), look.between(0.9, 1.05))
            if look.word("rayForm") == "trumpet":
                petal.fill(
                    [
                        (0.1, -0.03),
                        (size, -0.16),
                        (size * 0.86, -0.05),
                        (size * 1.06, 0.0),
                        (size * 0.86, 0.06),
                        (size, 0.16),
                        (0.1, 0.03),
                    ],
                    colour,
                    edge=0.75,
                )
                continue
            petal.fill(
                smooth(
                    [
                        (disc * 0.6, -width / 3),
                        (size * 0.6, -width / 2),
                        (size, -width / 5),
                        (size, width / 5),
                        (size * 0.6, width / 2),
                        (disc * 0.6, width / 3),
                    ]
                ),
                colour,
                edge=0.78,
            )
            if look.has("petalTips"):
                petal.fill(ellipse(size * 0.93, 0, 0.06, width / 3), look.colour("petalTips"))
    centre = look.colour("centre", "petals")
    head.fill(ellipse(0, 0, disc, disc), centre, edge=0.6)
    for _ in range(40):
        angle, radius = look.between(0, 2 * np.pi), disc * 0.9 * np.sqrt(look.between(0, 1))
        head.spot(radius * np.cos(angle), radius * np.sin(angle), disc * 0.09, shaded(centre, look.between(0.7, 1.25)))


def _open(canvas: Canvas, look: Look) -> None:
    """Draw a single flower of a few broad petals."""
    y = -0.32
    _stem(canvas, look, (0, y))
    head = canvas.at(0, y, look.jitter(14), 1, look.between(0.66, 1.0))
    count = look.count("petalCount", 5)
    broad = look.size("petalForm", broad=1.25, narrow=0.72)
    width = 2.4 / count * broad / 2
    start, colour = look.between(0, 360), look.colour("petals")
    for index in range(count):
        petal = head.at(0, 0, start + 360 * index / count + look.jitter(4))
        outline = smooth(
            [
                (0.02, 0),
                (0.26, -width * 0.66),
                (0.56, -width * 0.8),
                (0.7, -width * 0.3),
                (0.68, 0.02),
                (0.7, width * 0.3),
                (0.56, width * 0.8),
                (0.26, width * 0.66),
            ]
        )
        petal.fill(outline, shaded(colour, look.between(0.88, 1.04)), edge=0.66)
        with petal.inside(outline):
            if look.has("veins"):
                for side in (-0.5, -0.2, 0.2, 0.5):
                    petal.line([(0.05, 0), (0.62, side * width)], look.colour("veins"), 0.016)
            if look.has("blotch"):
                petal.fill(ellipse(0.16, 0, 0.2, width * 0.4), look.colour("blotch"))
            if look.has("eye"):
                petal.spot(0.02, 0, 0.2, look.colour("eye"))
    head.spot(0, 0, look.size("centreSize", small=0.09, large=0.17), look.colour("centre"))
    if look.has("stamens"):
        for angle in np.arange(0, 360, 20):
            tip = bend((0, 0), float(angle) + look.jitter(5), 0.21, 0, 2)
            head.line(tip, look.colour("stamens"), 0.014)
            head.spot(tip[-1][0], tip[-1][1], 0.028, look.colour("stamens"))


def _pansy(canvas: Canvas, look: Look) -> None:
    """Draw a violet's face: two upper petals, two at the sides, one below with guide lines."""
    _stem(canvas, look, (0, -0.2))
    head = canvas.at(0, -0.3, look.jitter(12), 1, look.between(0.82, 1.0))
    upper, side_petals, lower = look.colours("petals")
    for x in (-1, 1):
        head.fill(ellipse(x * 0.24, -0.3, 0.27, 0.36, x * 14), upper, edge=0.66)
    for x in (-1, 1):
        head.fill(ellipse(x * 0.36, 0.04, 0.3, 0.23, -x * 14), side_petals, edge=0.66)
    head.fill(smooth([(0, -0.05), (0.34, 0.2), (0.3, 0.52), (0, 0.6), (-0.3, 0.52), (-0.34, 0.2)]), lower, edge=0.66)
    for angle in (-26, -10, 10, 26):
        head.line(bend((0, 0.06), 90 + angle, 0.3, 0, 2), look.colour("guideLines", "purple"), 0.02)
    head.spot(0, 0.0, 0.06, look.colour("centre", "yellow"))


def _spike(canvas: Canvas, look: Look) -> None:
    """Draw a raceme or spike: many flowers along the upper stem, smallest at the top."""
    top = -0.95
    line = _stem(canvas, look, (0, top), 0.08)
    if look.word("spike") == "short":
        canvas = canvas.at(0, 0.35, 0, 1.15, 1.15)
    reach = look.size("spike", long=1.25, short=0.75)
    rows = look.count("spikeRows", 7)
    for row in range(rows):
        share = row / max(1, rows - 1)
        y = top + 0.06 + reach * share
        x = float(np.interp(y, line[:, 1], line[:, 0]))
        size = 0.45 + 0.55 * share
        if look.word("floret") == "hooded" and look.has("bracts"):
            canvas.fill(ellipse(x, y + 0.05, 0.3, 0.08), look.colour("bracts"), edge=0.7)
        for side in (-1, 0, 1) if row % 2 else (-0.6, 0.6):
            floret = canvas.at(x + side * 0.2, y + look.jitter(0.02), 0, size * (-1 if side < 0 else 1), size)
            _floret(floret.at(0, 0, look.jitter(10)), look, abs(side) < 0.1)


def _floret(canvas: Canvas, look: Look, facing: bool) -> None:
    colour = shaded(look.colour("petals"), look.between(0.88, 1.06))
    form = look.word("floret")
    if form == "bell":  # foxglove: a hanging thimble
        tilt = 62 if not facing else 90
        bell = canvas.at(0, 0, tilt)
        bell.fill(
            smooth(
                [
                    (0, -0.07),
                    (0.2, -0.15),
                    (0.44, -0.17),
                    (0.54, -0.2),
                    (0.56, 0.2),
                    (0.44, 0.17),
                    (0.2, 0.15),
                    (0, 0.07),
                ]
            ),
            colour,
            edge=0.66,
        )
        bell.fill(ellipse(0.53, 0, 0.07, 0.17), look.colour("throat", "white"))
        for y in (-0.07, 0.02, 0.09):
            bell.spot(0.53, y, 0.026, look.colour("throatSpots", "purple"))
        return
    if form == "spurred":  # toadflax: two lips with a coloured palate, a long spur
        canvas.line([(0, 0.02), (-0.04, 0.24), (-0.02, 0.36)], shaded(colour, 0.85), 0.05)
        canvas.fill(smooth([(-0.08, -0.1), (0.08, -0.26), (0.26, -0.16), (0.14, 0.0)]), colour, edge=0.7)
        canvas.fill(smooth([(-0.04, 0.0), (0.2, -0.06), (0.34, 0.08), (0.16, 0.2), (0.0, 0.14)]), colour, edge=0.7)
        canvas.fill(ellipse(0.18, 0.0, 0.1, 0.075), look.colour("palate"))
        return
    canvas.fill(smooth([(0, 0.06), (0.04, -0.16), (0.2, -0.22), (0.28, -0.08), (0.16, 0.0)]), colour, edge=0.66)  # hood
    canvas.fill(
        smooth([(0.04, 0.04), (0.2, 0.0), (0.34, 0.1), (0.24, 0.2), (0.1, 0.14)]), shaded(colour, 1.15), edge=0.7
    )


def _bells(canvas: Canvas, look: Look) -> None:
    """Draw a few nodding bells on thread-like stalks."""
    line = _stem(canvas, look, (look.jitter(0.1), -0.9), 0.04)
    for place, side in ((0, 1), (1, -1), (4, 1)):
        start = (float(line[place][0]), float(line[place][1]))
        stalk = bend(start, -90 + side * 60, 0.46, side * 120, 7)
        canvas.line(stalk, look.colour("stem", "green"), 0.03)
        bell = canvas.at(stalk[-1][0], stalk[-1][1], look.jitter(12) - side * 10, 1.35, 1.35)
        colour = shaded(look.colour("petals"), look.between(0.92, 1.05))
        bell.fill([(-0.07, 0), (0, -0.06), (0.07, 0), (0.05, 0.08), (-0.05, 0.08)], look.colour("stem", "green"))
        bell.fill(
            [
                (-0.08, 0.02),
                (-0.2, 0.14),
                (-0.22, 0.36),
                (-0.34, 0.5),
                (-0.14, 0.44),
                (0, 0.54),
                (0.14, 0.44),
                (0.34, 0.5),
                (0.22, 0.36),
                (0.2, 0.14),
                (0.08, 0.02),
            ],
            colour,
            edge=0.66,
        )
        bell.line([(0, 0.06), (0, 0.5)], shaded(colour, 0.8), 0.014)


def _umbel(canvas: Canvas, look: Look) -> None:
    """Draw a compound umbel: rays that end in small domes of tiny flowers."""
    hub = (0.0, 0.15)
    _stem(canvas, look, hub, 0.09)
    for angle in np.linspace(-74, 74, 11) + look.jitter(3):
        ray = bend(hub, -90 + float(angle), 0.92 - abs(float(angle)) / 500, float(angle) / 5, 6)
        canvas.line(ray, look.colour("stem", "green"), 0.028)
        dome = canvas.at(ray[-1][0], ray[-1][1], float(angle) * 0.6)
        for _ in range(18):
            x, y = look.jitter(0.085), look.jitter(0.06)
            dome.spot(x, y, 0.046, shaded(look.colour("petals"), look.between(0.84, 1.02)))
        for _ in range(5):
            dome.spot(look.jitter(0.08), look.jitter(0.04), 0.014, look.tint("green"))
