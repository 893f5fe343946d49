"""The `tuxpaint` picture collection: cut-outs of Debian's `tuxpaint-stamps-default` before drawn scenes (design 5).

It has the interface of `rendered`: `species()` lists the kinds, `draw(kind, picture_seed)` composes a picture. The
cut-outs (photographs, some drawings; GPL-2) are read where the package has installed them, none is stored here.
What a picture seed shows:

- below FIRST_SCENE_SEED: a training picture, from one of the kind's training cut-outs;
- from there: a test picture of a training cut-out, the same individual in a new scene;
- from FIRST_HELD_OUT_SEED: a test picture of the cut-out that no training picture shows, another individual.
"""

from kg2clip.mirror.tuxpaint.cutouts import PACKAGE, is_installed
from kg2clip.mirror.tuxpaint.kinds import Kind, has_held_out, species
from kg2clip.mirror.tuxpaint.picture import FIRST_HELD_OUT_SEED, FIRST_SCENE_SEED, draw

__all__ = [
    "FIRST_HELD_OUT_SEED",
    "FIRST_SCENE_SEED",
    "PACKAGE",
    "Kind",
    "draw",
    "has_held_out",
    "is_installed",
    "species",
]
