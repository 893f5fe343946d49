"""A canvas for one drawn organism: filled shapes in the organism's own units, antialiased, with transparency.

Pixels are premultiplied RGBA: an antialiased fill with (r, g, b, 255) on transparent black is then exactly the
coverage-weighted colour, and the canvas lies over any background without dark fringes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from kg2clip.mirror.rendered.colours import RGB

Points = NDArray[np.float64]
PointsLike = Points | Sequence[tuple[float, float]]
Pixels = NDArray[np.uint8]

_SHIFT = 4  # fractional bits of a coordinate: 1/16 pixel
_STEPS = np.linspace(0, 1, 7)[:-1, None]  # points a spline segment: enough that no corner shows at 480 x 360
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 33)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 33)[:-1])], axis=1)


def smooth(points: PointsLike) -> Points:
    """Close a Catmull-Rom spline through control points of shape (n, 2); returns shape (6 n, 2)."""
    p1 = np.asarray(points, dtype=float)[:, None, :]
    p0, p2, p3 = np.roll(p1, 1, axis=0), np.roll(p1, -1, axis=0), np.roll(p1, -2, axis=0)
    t = _STEPS
    curve = 2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    return np.asarray(curve / 2).reshape(-1, 2)


def ellipse(x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0.0) -> Points:
    """Outline an ellipse with 32 points, turned clockwise (y points down)."""
    return moved(turned(_CIRCLE * (radius_x, radius_y), degrees), x, y)


def turned(points: PointsLike, degrees: float) -> Points:
    """Turn points about the origin, clockwise as seen (y points down)."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.array([[cosine, sine], [-sine, cosine]])
    return np.asarray(np.asarray(points, dtype=float) @ turn, dtype=float)


def moved(points: PointsLike, x: float, y: float) -> Points:
    """Move points by (x, y)."""
    offset = np.array([x, y])
    return np.asarray(np.asarray(points, dtype=float) + offset, dtype=float)


def ribbon(spine: PointsLike, widths: Sequence[float] | NDArray[np.float64]) -> Points:
    """Outline a band of the given full widths along a spine of shape (n, 2); returns shape (2 n, 2)."""
    line = np.asarray(spine, dtype=float)
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * np.asarray(widths, dtype=float)[:, None] / 2
    return np.concatenate([line + across, (line - across)[::-1]])


def bend(start: tuple[float, float], degrees: float, length: float, curl: float, count: int = 10) -> Points:
    """Walk a line of `count` points from `start` that turns by `curl` degrees in all: tails, stems, antennae."""
    angles = np.radians(degrees + np.linspace(0, curl, count - 1))
    steps = np.stack([np.cos(angles), np.sin(angles)], axis=1) * length / (count - 1)
    return np.concatenate([[(0.0, 0.0)], np.cumsum(steps, axis=0)]) + start


def shaded(colour: RGB, factor: float) -> RGB:
    """Darken (below 1) or lighten (above 1) a colour."""
    red, green, blue = (min(255, round(value * factor)) for value in colour)
    return red, green, blue


@dataclass(frozen=True)
class Canvas:
    """A view on shared pixels (height, width, 4) in which drawing coordinates pass through a 2 x 3 affine matrix."""

    pixels: Pixels
    matrix: NDArray[np.float64]

    @classmethod
    def blank(cls, width: int, height: int) -> Canvas:
        """Start with transparent pixels and pixel coordinates."""
        return cls(np.zeros((height, width, 4), np.uint8), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))

    @property
    def unit(self) -> float:
        """Pixels a drawing unit (geometric mean of both axes)."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix[:, :2]))))

    def at(self, x: float, y: float, degrees: float = 0.0, scale_x: float = 1.0, scale_y: float = 1.0) -> Canvas:
        """Draw from here on about (x, y), turned clockwise and scaled; a negative scale mirrors."""
        linear = self.matrix[:, :2]
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        local = np.array([[cosine * scale_x, -sine * scale_y], [sine * scale_x, cosine * scale_y]])
        offset = linear @ (x, y) + self.matrix[:, 2]
        return replace(self, matrix=np.column_stack([linear @ local, offset]))

    def fill(self, outline: PointsLike, colour: RGB, opacity: float = 1.0, edge: float = 0.0) -> None:
        """Fill an outline; `edge` above 0 also draws its border, darkened to that factor, so that parts stand out."""
        points = self._fixed(outline)
        target = self.pixels if opacity >= 1 else self.pixels.copy()
        cv2.fillPoly(target, [points], (*colour, 255), lineType=cv2.LINE_AA, shift=_SHIFT)
        if edge > 0:
            width = max(1, round(0.012 * self.unit))
            border = (*shaded(colour, edge), 255)
            cv2.polylines(target, [points], True, border, width, cv2.LINE_AA, _SHIFT)
        if opacity < 1:
            cv2.addWeighted(target, opacity, self.pixels, 1 - opacity, 0, dst=self.pixels)

    def line(self, points: PointsLike, colour: RGB, width: float) -> None:
        """Draw an open line; `width` in drawing units, at least one pixel."""
        thickness = max(1, round(width * self.unit))
        cv2.polylines(self.pixels, [self._fixed(points)], False, (*colour, 255), thickness, cv2.LINE_AA, _SHIFT)

    def spot(self, x: float, y: float, radius: float, colour: RGB) -> None:
        """Fill a disc."""
        self.fill(ellipse(x, y, radius, radius), colour)

    @contextmanager
    def inside(self, outline: PointsLike) -> Iterator[Canvas]:
        """Let what is drawn within the block show only inside the outline: bands and spots on a body."""
        points = self._fixed(outline)
        before, mask = self.pixels.copy(), np.zeros(self.pixels.shape[:2], np.uint8)
        yield self
        rows, columns = self._box(points)
        after = self.pixels[rows, columns].copy()
        self.pixels[:] = before
        if not after.size:  # the outline lies outside the picture
            return
        cv2.fillPoly(mask, [points], 255, lineType=cv2.LINE_AA, shift=_SHIFT)
        keep = cv2.merge([mask[rows, columns]] * 4)
        inner = cv2.multiply(after, keep, scale=1 / 255)
        outer = cv2.multiply(before[rows, columns], 255 - keep, scale=1 / 255)
        self.pixels[rows, columns] = cv2.add(inner, outer)

    def _fixed(self, points: PointsLike) -> NDArray[np.int32]:
        mapped = np.asarray(points, dtype=float) @ self.matrix[:, :2].T + self.matrix[:, 2]
        return np.rint(mapped * (1 << _SHIFT)).astype(np.int32)

    def _box(self, points: NDArray[np.int32]) -> tuple[slice, slice]:
        height, width = self.pixels.shape[:2]
        left, top = np.clip((points.min(axis=0) >> _SHIFT) - 2, 0, (width, height))
        right, bottom = np.clip((points.max(axis=0) >> _SHIFT) + 3, 0, (width, height))
        return slice(int(top), int(bottom)), slice(int(left), int(right))
