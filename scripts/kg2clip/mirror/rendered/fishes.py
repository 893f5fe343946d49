"""Reef fishes in profile, swimming to the right.

Drawing units: the body's centre is (0, 0), snout to tail fin fills about -1.1 to 1.
"""

from __future__ import annotations

import numpy as np

from kg2clip.mirror.rendered.canvas import Canvas, Points, ellipse, ribbon, shaded, smooth
from kg2clip.mirror.rendered.colours import RGB
from kg2clip.mirror.rendered.look import Look


def fish(canvas: Canvas, look: Look) -> None:
    """Draw a fish: tail fin, dorsal and anal fins, body with its bars and patches, pectoral fin, eye."""
    deep = look.size("body", oval=0.46, deep=0.6, disc=0.72)
    _tail_fin(canvas.at(-0.66, 0, look.jitter(9)), look)
    _dorsal_and_anal_fins(canvas, look, deep)
    snout = look.size("snout", blunt=0.0, pointed=0.12, long=0.2)
    outline = smooth(
        [
            (0.76 + snout, 0.03),
            (0.62, -0.2 + snout / 2),
            (0.3, -deep * 0.9),
            (-0.1, -deep),
            (-0.5, -deep * 0.52),
            (-0.76, -0.12),
            (-0.76, 0.12),
            (-0.5, deep * 0.5),
            (-0.1, deep * 0.96),
            (0.3, deep * 0.84),
            (0.62, 0.24 - snout / 2),
        ]
    )
    canvas.fill(outline, look.colour("bodyColour"), edge=0.55)
    with canvas.inside(outline):
        _markings(canvas, look, deep)
        _bars(canvas, look)
    pectoral = canvas.at(0.26, 0.1, look.between(-20, 40))
    pectoral.fill(
        smooth([(0, -0.08), (-0.2, -0.13), (-0.36, 0.02), (-0.2, 0.14), (0, 0.08)]),
        look.colour("pectoralFins", "bodyColour"),
        0.9,
        edge=0.6,
    )
    eye_x = 0.5 + snout / 3
    canvas.spot(eye_x, -0.1, 0.075, look.colour("eyeRing", "orange" if look.has("warmEye") else "white"))
    canvas.spot(eye_x, -0.1, 0.052, (14, 14, 18))
    canvas.spot(eye_x + 0.02, -0.12, 0.016, (250, 250, 250))
    canvas.line(
        [(0.74 + snout, 0.07), (0.64 + snout, 0.1)], shaded(look.colour("snoutColour", "bodyColour"), 0.5), 0.02
    )


def _tail_fin(canvas: Canvas, look: Look) -> None:
    forms: dict[str, list[tuple[float, float]]] = {
        "rounded": [(0.02, -0.14), (-0.2, -0.27), (-0.4, -0.18), (-0.42, 0.18), (-0.2, 0.27), (0.02, 0.14)],
        "straight": [
            (0.02, -0.12),
            (-0.22, -0.25),
            (-0.4, -0.3),
            (-0.36, 0.0),
            (-0.4, 0.3),
            (-0.22, 0.25),
            (0.02, 0.12),
        ],
        "forked": [
            (0.02, -0.11),
            (-0.24, -0.28),
            (-0.46, -0.4),
            (-0.28, 0.0),
            (-0.46, 0.4),
            (-0.24, 0.28),
            (0.02, 0.11),
        ],
    }
    outline = smooth(forms[look.word("tailFinForm", "rounded")])
    _edged_fin(canvas, look, outline, look.colour("tailFin", "bodyColour"), "tailFinEdge")


def _dorsal_and_anal_fins(canvas: Canvas, look: Look, deep: float) -> None:
    dorsal = [
        (0.36, -deep * 0.8),
        (0.2, -deep - 0.14),
        (-0.3, -deep - 0.14),
        (-0.58, -deep * 0.7),
        (-0.6, -deep * 0.34),
    ]
    anal = [(0.0, deep * 0.9), (-0.2, deep + 0.16), (-0.5, deep * 0.86), (-0.6, deep * 0.32)]
    _edged_fin(canvas, look, smooth([*dorsal, (0, -deep * 0.4)]), look.colour("dorsalFin", "bodyColour"), "finEdge")
    _edged_fin(canvas, look, smooth([*anal, (0, deep * 0.4)]), look.colour("analFin", "bodyColour"), "finEdge")
    pelvic = smooth([(0.3, deep * 0.7), (0.2, deep + 0.16), (0.06, deep + 0.12), (0.1, deep * 0.8)])
    _edged_fin(
        canvas, look, pelvic, look.colour("pelvicFins", "analFin" if look.has("analFin") else "bodyColour"), "finEdge"
    )
    if look.has("dorsalStreamer"):
        streamer = [(0.12, -deep * 0.9), (-0.05, -deep - 0.2), (-0.5, -deep - 0.28), (-1.1, -deep * 0.55)]
        canvas.fill(ribbon(smooth(streamer)[:18], np.linspace(0.2, 0.02, 18)), look.colour("dorsalStreamer"))


def _edged_fin(canvas: Canvas, look: Look, outline: Points, colour: RGB, edge: str) -> None:
    canvas.fill(outline, colour, edge=0.55)
    if not look.has(edge):
        return
    with canvas.inside(outline):
        width = look.size("edgeWidth", thin=0.06, thick=0.13)
        canvas.line(np.concatenate([outline, outline[:1]]), look.colour(edge), width)


def _bars(canvas: Canvas, look: Look) -> None:
    """Draw upright bars: behind the head, at mid-body, at the tail's base, edged where the species has edges."""
    places = {1: (0.28,), 2: (0.28, -0.2), 3: (0.28, -0.18, -0.66)}[look.count("barCount", 1)]
    if not look.has("bars"):
        return
    edge = look.size("edgeWidth", thin=0.012, thick=0.06) if look.has("barEdge") else 0.0
    for index, x in enumerate(places):
        wide = 0.14 if index != 1 else 0.17
        bulge = 0.08 if index == 1 else 0.0  # the middle bar swells towards the head
        y = np.linspace(-0.9, 0.9, 13)
        spine = np.stack([x + bulge * np.exp(-((y / 0.35) ** 2)), y], axis=1)
        if edge:
            canvas.fill(ribbon(spine, np.full(13, wide + 2 * edge)), look.colour("barEdge"))
        canvas.fill(ribbon(spine, np.full(13, wide)), look.colour("bars"))


def _markings(canvas: Canvas, look: Look, deep: float) -> None:
    """Draw what else the body bears; each trait is one mark, from the ground up."""
    if look.has("rearColour"):
        canvas.fill(smooth([(-0.05, -1), (-0.3, 0.0), (-0.2, 1), (-1, 1), (-1, -1)]), look.colour("rearColour"))
    if look.has("underside"):
        canvas.fill(
            smooth([(1, 0.2), (0.3, deep * 0.42), (-0.5, deep * 0.3), (-1, 0.3), (-0.6, 1), (0.7, 1)]),
            look.colour("underside"),
        )
    if look.has("headColour"):
        canvas.fill(smooth([(0.44, -0.8), (0.3, 0.0), (0.44, 0.8), (1.2, 0.6), (1.2, -0.6)]), look.colour("headColour"))
    if look.has("snoutColour"):
        canvas.fill(ellipse(0.92, 0.05, 0.2, 0.18), look.colour("snoutColour"))
    if look.has("broadBands"):
        for x, width in ((0.42, 0.34), (-0.36, 0.26)):
            spine = [(x + 0.06, -1), (x, 0), (x + 0.02, 1)]
            canvas.fill(ribbon(spine, np.full(3, width)), look.colour("broadBands"))
    if look.has("saddle"):
        canvas.fill(ellipse(-0.34, -deep * 0.62, 0.42, 0.42, 16), look.colour("saddleEdge", "white"))
        canvas.fill(ellipse(-0.34, -deep * 0.68, 0.35, 0.36, 16), look.colour("saddle"))
    if look.has("palette"):
        canvas.fill(
            ribbon(
                smooth([(0.5, -0.16), (0.2, -deep * 0.62), (-0.3, -deep * 0.5), (-0.8, -0.06), (-0.3, 0.1)])[:24],
                np.full(24, 0.17),
            ),
            look.colour("palette"),
        )
        canvas.fill(
            ribbon([(0.12, -0.06), (-0.1, 0.14), (-0.44, 0.1), (-0.7, 0.04)], [0.14, 0.13, 0.13, 0.1]),
            look.colour("palette"),
        )
    if look.has("stripes"):
        for y in np.linspace(-deep, deep, look.count("stripeCount", 9)):
            canvas.line([(0.34, y * 0.75 + 0.06), (-0.2, y), (-0.9, y * 0.5)], look.colour("stripes"), 0.05)
    if look.has("chevrons"):
        for shift in np.linspace(-0.5, 0.3, 5):
            canvas.line([(shift + 0.3, -deep * 0.9), (shift - 0.1, -0.1)], look.colour("chevrons"), 0.028)
            canvas.line([(shift - 0.1, 0.0), (shift + 0.25, deep * 0.8)], look.colour("chevrons"), 0.028)
    if look.has("backStripe"):
        canvas.line(
            [(0.9, -0.06), (0.5, -deep * 0.72), (0.2, -deep * 0.96), (-0.2, -deep), (-0.6, -deep * 0.4)],
            look.colour("backStripe"),
            0.13,
        )
    if look.has("shoulderPatch"):
        canvas.fill(
            smooth([(0.3, -0.9), (0.34, -0.3), (-0.02, -deep * 0.62), (-0.1, -0.9)]), look.colour("shoulderPatch")
        )
    if look.has("eyeBar"):
        canvas.fill(ribbon([(0.42, -0.8), (0.53, -0.1), (0.5, 0.3)], [0.12, 0.15, 0.1]), look.colour("eyeBar"))
    if look.has("browBand"):
        canvas.fill(ribbon([(0.24, -0.8), (0.36, -0.2), (0.32, 0.1)], [0.14, 0.14, 0.06]), look.colour("browBand"))
