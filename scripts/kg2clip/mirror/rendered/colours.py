"""The one table of colour words: the traits, the graph's property values and the drawings all speak it."""

from __future__ import annotations

RGB = tuple[int, int, int]

# A small plain-English vocabulary; the values are a naturalist's idea of the word, not the screen's pure primaries.
COLOURS: dict[str, RGB] = {
    "black": (28, 26, 28),
    "white": (244, 243, 238),
    "grey": (134, 139, 145),
    "brown": (118, 78, 46),
    "chestnut": (150, 66, 32),
    "tan": (201, 164, 110),
    "buff": (226, 190, 140),
    "cream": (243, 230, 194),
    "red": (203, 32, 30),
    "orange": (238, 124, 28),
    "gold": (224, 166, 30),
    "yellow": (248, 206, 34),
    "olive": (124, 128, 58),
    "green": (76, 142, 58),
    "turquoise": (40, 176, 190),
    "blue": (44, 92, 196),
    "purple": (126, 64, 168),
    "pink": (233, 128, 168),
}
