"""Photos of one observation: other views of one individual, and bursts, frames taken a moment apart.

Other views share the individual only: pose, framing, background and light differ, so that no hash finds them alike.
The frames of a burst share all; between them the camera moves, turns and comes nearer by a known shift.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

BURSTS = 0.12  # of observations with photos
FRAMES = (3, 6)
SHIFTS = (0.005, 0.04)
MARGIN = 1.15  # sides of the scene over those of a frame: as far as the largest shift reaches
TURN, NEARER, BRIGHTER = 40.0, 0.5, 1.5  # degrees, zoom and light of a shift of 1
GOLDEN = 2.399963  # radians: no two frames of a burst move the same way


@dataclass(frozen=True)
class Shot:
    """What a photo shows.

    Attributes:
        individual: picture seed of the first photo of the individual; None: no other photo shows it.
        frame: place in a burst, from 1; 0 is no burst.
        shift: share of the sides by which the camera moved since the first frame.
        crop: share of the area that is cut away.
    """

    species: str
    picture_seed: int
    individual: int | None = None
    frame: int = 0
    shift: float = 0.0
    crop: float = 0.0

    @property
    def picture_id(self) -> str:
        """The same for all copies of one photo."""
        frame = f"#{self.frame}" if self.frame else ""
        return f"{self.species}#{self.picture_seed}#photograph{frame}"


def plan_shots(draw: random.Random, species: str, count: int, first_seed: int) -> list[Shot]:
    """The photos of an observation: `count` views, or a burst with or without another view.

    Picture seeds from `first_seed` on are used, not more than there are photos.
    """
    if not count or draw.random() >= BURSTS:
        return [Shot(species, first_seed + place, first_seed) for place in range(count)]
    shots = [
        Shot(species, first_seed, first_seed, frame, round(draw.uniform(*SHIFTS), 4) if frame > 1 else 0.0)
        for frame in range(1, draw.randint(*FRAMES) + 1)
    ]
    return shots if draw.random() < 0.5 else [*shots, Shot(species, first_seed + 1, first_seed)]


def cut_frame(scene: Image.Image, shot: Shot) -> Image.Image:
    """What the camera sees of a scene at one frame of a burst; a frame's sides are the scene's by MARGIN."""
    width, height = round(scene.width / MARGIN), round(scene.height / MARGIN)
    angle, side = GOLDEN * shot.frame, (-1) ** shot.frame
    turn = math.radians(TURN * shot.shift * side)
    scale = 1 + NEARER * shot.shift
    linear = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    seen = np.array([scene.width, scene.height]) / 2 + shot.shift * np.array(
        [math.cos(angle) * width, math.sin(angle) * height]
    )
    matrix = np.column_stack([linear, np.array([width, height]) / 2 - linear @ seen])
    frame = cv2.warpAffine(np.asarray(scene), matrix, (width, height), flags=cv2.INTER_LINEAR)
    return Image.fromarray(cv2.convertScaleAbs(frame, alpha=1 + BRIGHTER * shot.shift * side))
