"""Insects as seen from above, head up: bees, butterflies, beetles, dragonflies.

Drawing units: the body's centre is (0, 0), the whole insect with wings fills about -1 to 1.
"""

from __future__ import annotations

import numpy as np

from kg2clip.mirror.rendered.canvas import Canvas, Points, bend, ellipse, moved, ribbon, shaded, smooth
from kg2clip.mirror.rendered.colours import RGB
from kg2clip.mirror.rendered.look import Look

SIDES = (-1, 1)
WING_GLASS: RGB = (214, 220, 224)


def bee(canvas: Canvas, look: Look) -> None:
    """Draw a bee: banded abdomen with a tail, thorax with its collar, two pairs of clear wings."""
    slim = look.size("build", stout=1.0, slender=0.78)
    legs(canvas, look, look.colour("legs", "black"), (-0.22, -0.1, 0.06), 0.55)
    abdomen = fuzzy(
        look,
        smooth(
            [
                (0, 1.0),
                (0.3 * slim, 0.86),
                (0.46 * slim, 0.45),
                (0.36 * slim, 0.08),
                (0, 0.0),
                (-0.36 * slim, 0.08),
                (-0.46 * slim, 0.45),
                (-0.3 * slim, 0.86),
            ]
        ),
        0.022 * slim,
    )
    banded(canvas.at(0, 0, look.jitter(5)), look, abdomen, look.colours("abdomenBands"), 0.02, 1.0)
    spread = look.between(-14, 34)
    for side in SIDES:
        wing = canvas.at(side * 0.24, -0.16, 0, side, 1)
        for length, width, angle in ((0.62, 0.3, 34), (0.92, 0.36, 6)):
            blade = wing.at(0, 0, angle + spread)
            outline = smooth(
                [
                    (0, -0.03),
                    (length * 0.5, -width * 0.5),
                    (length, -width * 0.2),
                    (length * 0.95, width * 0.4),
                    (length * 0.4, width * 0.4),
                ]
            )
            blade.fill(outline, WING_GLASS, 0.5, edge=0.55)
            blade.line([(0.05, 0), (length * 0.5, -width * 0.1), (length * 0.9, width * 0.1)], (90, 84, 78), 0.012)
    thorax = fuzzy(look, ellipse(0, -0.2, 0.37 * slim + 0.04, 0.33), 0.025)
    banded(canvas, look, thorax, look.colours("thoraxBands"), -0.54, 0.14)
    head = canvas.at(0, -0.56, look.jitter(8))
    for side in SIDES:
        head.line(bend((side * 0.07, -0.1), -90 + side * 22, 0.38, side * 50, 6), look.tint("black"), 0.035)
    head.fill(fuzzy(look, ellipse(0, 0, 0.22, 0.17), 0.015), look.colour("head", "black"))
    for side in SIDES:
        head.fill(ellipse(side * 0.18, -0.02, 0.055, 0.11, side * 14), (52, 40, 36))


def butterfly(canvas: Canvas, look: Look) -> None:
    """Draw a butterfly with open wings; patterns are laid on each wing inside its outline."""
    lift = look.between(-10, 14)
    for side, narrow in zip(SIDES, look.rng.permutation([1.0, look.between(0.62, 1.0)]), strict=True):
        half = canvas.at(0, 0, 0, side * float(narrow), 1)
        _hind_wing(half.at(0.06, 0.1, -lift * 0.6), look)
        _fore_wing(half.at(0.06, -0.12, -lift), look)
    body = look.colour("body", "black")
    for side in SIDES:
        feeler = bend((side * 0.03, -0.42), -90 + side * look.between(14, 32), 0.5, side * 14, 6)
        canvas.line(feeler, body, 0.02)
        canvas.spot(feeler[-1][0], feeler[-1][1], 0.03, body)
    canvas.fill(
        ribbon(
            [(0, -0.46), (0, -0.36), (0, -0.2), (0, 0.02), (0, 0.3), (0, 0.52)], [0.06, 0.13, 0.16, 0.11, 0.1, 0.02]
        ),
        body,
        edge=0.6,
    )


def _fore_wing(canvas: Canvas, look: Look) -> None:
    tip_x, tip_y = (1.08, -0.72) if look.word("wingTip") == "hooked" else (1.04, -0.6)
    outline = smooth(
        [(0, -0.08), (0.4, -0.52), (0.8, -0.74), (tip_x, tip_y), (0.98, -0.3), (0.84, 0.08), (0.4, 0.12), (0, 0.1)]
    )
    ground = look.colour("wings")
    canvas.fill(outline, ground, edge=0.5)
    with canvas.inside(outline):
        if look.has("base"):
            canvas.fill(ellipse(0.0, 0.0, 0.4, 0.26, -35), look.colour("base"), 0.75)
        if look.has("veins"):
            for end in ((0.75, -0.72), (0.95, -0.55), (1.0, -0.3), (0.9, -0.08), (0.7, 0.1)):
                canvas.line([(0.02, 0), (0.35, -0.22), end], look.colour("veins"), 0.03)
        if look.has("tip"):
            canvas.fill(
                smooth([(0.56, -0.8), (0.64, -0.52), (0.9, -0.22), (1.3, -0.2), (1.2, -0.9)]), look.colour("tip")
            )
        if look.has("border"):
            width = look.size("borderWidth", narrow=0.05, broad=0.15)
            canvas.line(
                [(0.3, -0.5), (0.8, -0.75), (tip_x, tip_y), (0.98, -0.3), (0.84, 0.1), (0.3, 0.14)],
                look.colour("border"),
                width * 2,
            )
        if look.has("borderSpots"):
            for t in np.linspace(0, 1, 6):
                canvas.spot(1.0 - 0.14 * t, -0.58 + 0.58 * t, 0.035, look.colour("borderSpots"))
        if look.has("band"):
            canvas.fill(
                ribbon([(0.3, -0.52), (0.52, -0.3), (0.72, -0.1), (0.82, 0.14)], [0.16, 0.2, 0.18, 0.1]),
                look.colour("band"),
            )
        if look.has("stripes"):
            for x in np.linspace(0.1, 0.78, look.count("stripeCount", 4)):
                canvas.fill(
                    ribbon([(x, -0.8), (x - 0.05, -0.35), (x - 0.08, -0.05)], [0.13, 0.12, 0.0]), look.colour("stripes")
                )
        if look.has("patches"):
            for x, y, radius in ((0.42, -0.36, 0.09), (0.62, -0.42, 0.1), (0.5, -0.1, 0.085), (0.72, -0.12, 0.07)):
                canvas.fill(smooth(ellipse(x, y, radius * 1.2, radius * 0.8, 40)[::4]), look.colour("patches"))
        if look.has("tipSpots"):
            for x, y, radius in ((0.72, -0.6, 0.075), (0.86, -0.56, 0.045), (0.94, -0.44, 0.04), (0.84, -0.38, 0.055)):
                canvas.spot(x, y, radius, look.colour("tipSpots"))
        if look.has("foreSpots"):
            for x, y in ((0.6, -0.28), (0.6, 0.0), (0.3, -0.3))[: look.count("foreSpotCount", 1)]:
                canvas.spot(x, y, 0.085, look.colour("foreSpots"))
        if look.has("eyespots"):
            _eyespot(canvas, 0.76, -0.46, 0.2, look.colours("eyespots"))


def _hind_wing(canvas: Canvas, look: Look) -> None:
    tailed = look.word("hindWing") == "tailed"
    lobe = [(0.6, 0.72), (0.56, 0.96), (0.46, 0.96), (0.44, 0.74)] if tailed else [(0.55, 0.68), (0.35, 0.74)]
    outline = smooth([(0, -0.1), (0.5, -0.1), (0.84, 0.12), (0.8, 0.45), *lobe, (0.16, 0.62), (0.02, 0.4)])
    canvas.fill(outline, look.colour("hindWings", "wings"), edge=0.5)
    with canvas.inside(outline):
        if look.has("base"):
            canvas.fill(ellipse(0.05, 0.1, 0.22, 0.34), look.colour("base"), 0.75)
        if look.has("veins"):
            for end in ((0.8, 0.1), (0.8, 0.4), (0.6, 0.7), (0.36, 0.76), (0.16, 0.64)):
                canvas.line([(0.02, 0), (0.3, 0.2), end], look.colour("veins"), 0.03)
        margin = [(0.6, -0.06), (0.86, 0.14), (0.8, 0.46), (0.56, 0.7), (0.36, 0.76), (0.14, 0.64)]
        if look.has("border"):
            width = look.size("borderWidth", narrow=0.05, broad=0.15)
            canvas.line(margin, look.colour("border"), width * 2)
        if look.has("hindBand"):
            canvas.line([(x * 0.86, y * 0.86) for x, y in margin], look.colour("hindBand"), 0.09)
        if look.has("borderSpots"):
            for x, y in margin:
                canvas.spot(x * 0.93, y * 0.93, 0.035, look.colour("borderSpots"))
        if look.has("stripes"):
            canvas.fill(ribbon([(0.12, -0.1), (0.16, 0.3), (0.2, 0.6)], [0.1, 0.09, 0.0]), look.colour("stripes"))
        if look.has("hindSpots"):
            for x, y in ((0.66, 0.12), (0.64, 0.32), (0.52, 0.48), (0.36, 0.54)):
                canvas.spot(x, y, 0.06, look.colour("hindSpots"))
        if look.has("hindEye"):
            canvas.spot(0.24, 0.56, 0.085, look.colour("hindEye"))
        if look.has("hindCentreSpot"):
            canvas.spot(0.42, 0.22, 0.075, look.colour("hindCentreSpot"))
        if look.has("eyespots"):
            _eyespot(canvas, 0.52, 0.2, 0.21, look.colours("eyespots"))


def _eyespot(canvas: Canvas, x: float, y: float, radius: float, rings: list[RGB]) -> None:
    """Draw rings from the outermost inwards, a little off centre as in life."""
    for index, colour in enumerate(rings):
        canvas.spot(x - 0.02 * index, y, radius * (1 - index / len(rings)), colour)


def beetle(canvas: Canvas, look: Look) -> None:
    """Draw a leaf beetle or ladybird: two wing cases with spots or stripes, the pronotum, the small head."""
    dark = look.tint("black")
    legs(canvas, look, look.colour("legs", "black"), (-0.3, 0.05, 0.4), 0.5)
    head = canvas.at(0, -0.78)
    for side in SIDES:
        head.line(bend((side * 0.08, -0.08), -90 + side * 42, 0.3, side * 30, 5), dark, 0.035)
    head.fill(ellipse(0, 0, 0.24, 0.17), look.colour("head", "black"))
    shield = smooth([(-0.5, -0.5), (-0.42, -0.78), (-0.2, -0.86), (0.2, -0.86), (0.42, -0.78), (0.5, -0.5), (0, -0.44)])
    canvas.fill(shield, look.colour("pronotum"), edge=0.6)
    with canvas.inside(shield):
        if look.has("pronotumCorners"):
            for side in SIDES:
                canvas.fill(ellipse(side * 0.42, -0.72, 0.15, 0.15), look.colour("pronotumCorners"))
        if look.has("pronotumSpots"):
            for x, y in ((-0.3, -0.66), (-0.15, -0.76), (0.15, -0.76), (0.3, -0.66), (0, -0.58)):
                canvas.spot(x, y, 0.07, look.colour("pronotumSpots"))
    wide = look.size("build", round=0.74, oval=0.62)
    wings = smooth(
        [
            (0, -0.52),
            (wide * 0.75, -0.46),
            (wide, 0.1),
            (wide * 0.72, 0.68),
            (0, 0.94),
            (-wide * 0.72, 0.68),
            (-wide, 0.1),
            (-wide * 0.75, -0.46),
        ]
    )
    canvas.fill(wings, look.colour("wingCases"), edge=0.5)
    with canvas.inside(wings):
        if look.has("stripes"):
            for x in np.linspace(-0.84, 0.84, look.count("stripeCount")) * wide:
                canvas.fill(
                    ribbon([(x * 0.9, -0.5), (x * 1.06, 0.15), (x * 0.6, 0.8)], [0.045, 0.052, 0.03]),
                    look.colour("stripes"),
                )
        for x, y, radius in spot_places(look.count("spotCount"), wide):
            canvas.fill(
                ellipse(x, y, radius * look.between(0.9, 1.1), radius * look.between(0.9, 1.1)), look.colour("spots")
            )
        if look.has("shoulderPatches"):
            for side in SIDES:
                canvas.fill(ellipse(side * 0.27, -0.42, 0.12, 0.09), look.colour("shoulderPatches"))
        canvas.line([(0, -0.55), (0, 0.95)], dark, 0.022)
    canvas.fill(ellipse(-0.26, -0.2, 0.16, 0.07, -35), (255, 255, 255), 0.35)


def spot_places(count: int, wide: float) -> list[tuple[float, float, float]]:
    """Lay spots on both wing cases in rows, a single one on the seam below the shield where the count is odd."""
    layouts: dict[int, list[tuple[float, float]]] = {
        1: [(0.52, 0.02)],
        3: [(0.62, -0.1), (0.3, 0.18), (0.58, 0.46)],
        2: [(0.5, -0.16), (0.5, 0.4)],
        5: [(0.4, -0.28), (0.3, 0.12), (0.8, 0.05), (0.38, 0.5), (0.7, 0.4)],
        7: [(0.3, -0.32), (0.68, -0.28), (0.26, 0.06), (0.74, 0.1), (0.3, 0.4), (0.64, 0.44), (0.28, 0.7)],
        9: [
            (0.28, -0.36),
            (0.64, -0.32),
            (0.2, -0.06),
            (0.52, -0.02),
            (0.84, 0.02),
            (0.24, 0.32),
            (0.56, 0.34),
            (0.32, 0.64),
            (0.6, 0.58),
        ],
        11: [
            (0.24, -0.38),
            (0.58, -0.36),
            (0.84, -0.18),
            (0.2, -0.1),
            (0.52, -0.06),
            (0.84, 0.16),
            (0.2, 0.22),
            (0.52, 0.24),
            (0.66, 0.5),
            (0.3, 0.5),
            (0.24, 0.76),
        ],
    }
    if count == 0:
        return []
    radius = {1: 0.17, 2: 0.17, 3: 0.145, 5: 0.095, 7: 0.1, 9: 0.085, 11: 0.08}[count // 2]
    pairs = [(side * x * wide, y, radius) for x, y in layouts[count // 2] for side in SIDES]
    return pairs + ([(0.0, -0.4, radius)] if count % 2 else [])


def dragonfly(canvas: Canvas, look: Look) -> None:
    """Draw a dragonfly or damselfly with open wings, its long jointed abdomen and large eyes."""
    canvas = canvas.at(0, -0.16)
    slim = look.size("build", stout=1.1, slender=0.6)
    sweep = look.between(-10, 12)
    glass = look.colour("wings", "white")
    opacity = 0.9 if look.has("wings") else 0.42
    for side in SIDES:
        for y, length, width, angle in ((-0.36, 1.06, 0.27, 6), (-0.2, 1.0, 0.32, -12)):
            wing = canvas.at(side * 0.06, y, 0, side, 1).at(0, 0, -angle - sweep)
            outline = smooth(
                [
                    (0, -0.03),
                    (length * 0.6, -width * 0.42),
                    (length, -width * 0.2),
                    (length * 0.94, width * 0.4),
                    (length * 0.5, width * 0.55),
                    (0.06, width * 0.3),
                ]
            )
            wing.fill(outline, glass if look.has("wings") else WING_GLASS, opacity, edge=0.5)
            with wing.inside(outline):
                if look.has("wingBand"):
                    wing.fill(
                        smooth(
                            [
                                (length * 0.42, -width),
                                (length * 0.5, width),
                                (length * 0.8, width),
                                (length * 0.8, -width),
                            ]
                        ),
                        look.colour("wingBand"),
                        0.92,
                    )
                if look.has("wingBase"):
                    wing.fill(ellipse(0.05, 0.04, 0.24, width * 0.7), look.colour("wingBase"), 0.9)
                if look.has("wingSpots"):
                    wing.spot(length * 0.56, -width * 0.3, 0.075, look.colour("wingSpots"))
                for y_end in (-0.3, 0.1, 0.45):
                    wing.line([(0, 0), (length * 0.95, width * y_end)], (96, 92, 88), 0.008)
            if look.has("wingMarks"):
                wing.fill(
                    ribbon([(length * 0.78, -width * 0.3), (length * 0.93, -width * 0.22)], [0.05, 0.05]),
                    look.colour("wingMarks"),
                )
    _jointed_abdomen(canvas, look, slim)
    canvas.fill(
        smooth(
            [
                (0, -0.52),
                (0.17 * slim, -0.42),
                (0.16 * slim, -0.16),
                (0, -0.06),
                (-0.16 * slim, -0.16),
                (-0.17 * slim, -0.42),
            ]
        ),
        look.colour("thorax"),
        edge=0.6,
    )
    if look.has("thoraxStripes"):
        for side in SIDES:
            canvas.line([(side * 0.07, -0.46), (side * 0.08, -0.16)], look.colour("thoraxStripes"), 0.05)
    for side in SIDES:
        canvas.fill(ellipse(side * 0.1, -0.62, 0.12, 0.11), look.colour("eyes"), edge=0.6)
    canvas.fill(ellipse(0, -0.68, 0.07, 0.05), look.colour("face", "thorax"))


def _jointed_abdomen(canvas: Canvas, look: Look, slim: float) -> None:
    spine = bend((0, -0.1), 90 + look.jitter(4), 1.16, look.jitter(14), 11)
    forms = {
        "parallel": [0.22] * 11,
        "club": [0.17, 0.15, 0.12, 0.1, 0.11, 0.13, 0.16, 0.18, 0.17, 0.13, 0.06],
        "broad": [0.24, 0.34, 0.38, 0.38, 0.36, 0.33, 0.29, 0.24, 0.18, 0.12, 0.06],
    }
    outline = ribbon(spine, np.array(forms[look.word("abdomenForm", "parallel")]) * slim)
    canvas.fill(outline, look.colour("abdomen"), edge=0.55)
    with canvas.inside(outline):
        if look.has("abdomenSides"):
            for side in SIDES:
                canvas.line(moved(spine, side * 0.14, 0), look.colour("abdomenSides"), 0.08)
        if look.has("abdomenLine"):
            canvas.line(spine, look.colour("abdomenLine"), 0.045)
        if look.has("abdomenTip"):
            canvas.line(spine[-3:], look.colour("abdomenTip"), 0.3)
        for x, y in spine[1:-1]:
            canvas.line([(x - 0.2, y), (x + 0.2, y)], shaded(look.colour("abdomen"), 0.6), 0.014)


def banded(canvas: Canvas, look: Look, outline: Points, colours: list[RGB], top: float, bottom: float) -> None:
    """Fill an outline with cross bands of equal height, the first at the top."""
    canvas.fill(outline, colours[0])
    with canvas.inside(outline):
        edges = np.linspace(top, bottom, len(colours) + 1)
        for y, colour in list(zip(edges, colours, strict=False))[1:]:
            curve = [(-0.6, y - 0.04), (0, y + 0.03 + look.jitter(0.008)), (0.6, y - 0.04)]
            canvas.fill([*curve, (0.7, bottom + 0.3), (-0.7, bottom + 0.3)], colour)


def fuzzy(look: Look, outline: Points, amount: float) -> Points:
    """Roughen an outline of shape (n, 2) with four hairs a point; returns shape (4 n, 2)."""
    closed = np.concatenate([outline, outline[:1]])
    places = np.linspace(0, len(outline), 4 * len(outline), endpoint=False)
    outline = np.stack([np.interp(places, np.arange(len(closed)), closed[:, axis]) for axis in (0, 1)], axis=1)
    away = outline - outline.mean(axis=0)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    return np.asarray(outline + away * look.rng.normal(0, amount, (len(outline), 1)))


def legs(canvas: Canvas, look: Look, colour: RGB, rows: tuple[float, float, float], reach: float) -> None:
    """Draw three pairs of jointed legs, the first pointing forwards, the last backwards."""
    for y, angle in zip(rows, (-38, 8, 48), strict=True):
        for side in SIDES:
            turn = angle + look.jitter(9)
            thigh = bend((side * 0.2, y), 90 - side * (90 - turn), reach * 0.9, 0, 2)
            shin = bend((thigh[-1][0], thigh[-1][1]), 90 - side * (90 - turn) + side * 28, reach * 0.6, side * 18, 4)
            canvas.line(np.concatenate([thigh, shin]), colour, 0.05)
