"""The `rendered` picture collection: real species drawn from a table of real visual traits (design 5).

`species()` lists them; `draw(species, picture_seed)` gives one of practically endless different pictures of one. As
each colour, pattern and part comes from traits.csv, what a picture shows is known, and can be asked for.
"""

from kg2clip.mirror.rendered.colours import COLOURS
from kg2clip.mirror.rendered.picture import draw
from kg2clip.mirror.rendered.table import Species, Trait, species

__all__ = ["COLOURS", "Species", "Trait", "draw", "species"]
