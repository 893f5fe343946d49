"""What may be done to a picture: crops, watermarks, mirror images; and what stands where a photograph should:
drawings, maps, logos.
"""

from __future__ import annotations

import math
import random

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from kg2clip.mirror.plan import Alteration

WATERMARK = "(c) example photo"


def alter(picture: Image.Image, alteration: Alteration) -> Image.Image:
    """Apply an alteration: mirror, crop, watermark, scale, in this order."""
    if alteration.mirrored:
        picture = ImageOps.mirror(picture)
    if alteration.crop:
        picture = _crop(picture, alteration.crop)
    if alteration.watermark:
        picture = _watermark(picture, alteration.watermark)
    if alteration.scale != 1.0:
        size = (round(picture.width * alteration.scale), round(picture.height * alteration.scale))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return picture


def _crop(picture: Image.Image, share: float) -> Image.Image:
    """Cut `share` of the area away; which sides lose how much follows from the share."""
    side = math.sqrt(1 - share)
    width, height = round(picture.width * side), round(picture.height * side)
    draw = random.Random(f"{share}")
    left, top = draw.randint(0, picture.width - width), draw.randint(0, picture.height - height)
    return picture.crop((left, top, left + width, top + height))


def _watermark(picture: Image.Image, share: float) -> Image.Image:
    """Cover `share` of the area with a half-transparent band that bears a text."""
    layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    height = round(picture.height * share)
    top = round((picture.height - height) * (0.5 if share > 0.08 else 0.8))
    draw.rectangle((0, top, picture.width, top + height), fill=(255, 255, 255, 150))
    draw.text(
        (picture.width // 8, top),
        WATERMARK,
        fill=(60, 60, 60, 255),
        font=ImageFont.load_default(size=max(10, height - 4)),
    )
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")


def draw(subject: str, picture: Image.Image, seed: int) -> Image.Image:
    """The picture itself, or the drawing, map or logo that stands in its place."""
    if subject == "drawing":
        return _drawing(picture)
    if subject == "map":
        return _map(picture.size, seed)
    if subject == "logo":
        return _logo(picture, seed)
    return picture


def _drawing(picture: Image.Image) -> Image.Image:
    """A pencil drawing: the grey picture divided by its blurred negative (colour dodge)."""
    grey = cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2GRAY)
    blurred = cv2.GaussianBlur(255 - grey, (0, 0), 9)
    return Image.fromarray(cv2.divide(grey, 255 - blurred, scale=256)).convert("RGB")


def _map(size: tuple[int, int], seed: int) -> Image.Image:
    """A range map: land and sea from smooth noise, the range hatched in one colour."""
    noise = np.random.default_rng([seed, 1])
    coarse = noise.normal(size=(9, 12)).astype(np.float32)
    height = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    colours = np.where(height[..., None] > 0, (222, 214, 190), (170, 205, 225)).astype(np.uint8)
    colours[(height > 0.5) & (height < 1.4)] = (200, 90, 70)
    colours[np.abs(height) < 0.03] = (90, 90, 90)
    return Image.fromarray(colours)


def _logo(picture: Image.Image, seed: int) -> Image.Image:
    """A logo: the picture in three flat colours inside a disc on white."""
    chosen = random.Random(f"logo {seed}")
    flat = ImageOps.posterize(picture.convert("L"), 1)
    dark, light = tuple(chosen.randint(0, 120) for _ in range(3)), (240, 235, 220)
    coloured = ImageOps.colorize(flat, dark, light)
    disc = Image.new("L", picture.size, 0)
    side = min(picture.size) - 20
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    ImageDraw.Draw(disc).ellipse((left, top, left + side, top + side), fill=255)
    return Image.composite(coloured, Image.new("RGB", picture.size, "white"), disc)
