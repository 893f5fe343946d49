"""An attribute beside a name as a caption has it: "bumblebee feeding on nectar", not "nectar bumblebee"."""

from __future__ import annotations

BEFORE, AFTER, WITH, IN, OF = (
    "{value} {name}",
    "{name} {value}",
    "{name} with {value}",
    "{name} in {value}",
    "{value} of {name}",
)
ASIDE = "{name}, {value}"  # says nothing of how the two belong together, so it is never wrong

# By category (knowledge/attributes.py, knowledge/describe.py): where one word stands ("nocturnal", "yellow") and where
# several do, which mostly name a part ("yellow flowers"). A category of the user's own stands aside.
WORDINGS = {
    "colour": (BEFORE, WITH),
    "flower colour": ("{name} with {value} flowers",) * 2,
    "fruit colour": ("{name} with {value} fruit",) * 2,
    "spore print colour": ("{name}, {value} spore print",) * 2,
    "pattern": (WITH, WITH),
    "part": (WITH, WITH),
    "shape": (WITH, WITH),
    "shape and size": (BEFORE, WITH),
    "inflorescence": (WITH, WITH),
    "fruit type": (WITH, WITH),
    "foliage": (BEFORE, WITH),
    "hymenium": (WITH, WITH),
    "cap": ("{name} with {value} cap",) * 2,
    "gill attachment": ("{name} with {value} gills",) * 2,
    "stipe": ("{name} with {value} stipe",) * 2,
    "habitat": (IN, IN),
    "behaviour": (BEFORE, AFTER),
    "food": ("{name} feeding on {value}",) * 2,
    "sex and life stage": (OF, OF),
}
FEEDING = "feeding on"  # the lexicon says it itself, and who: "larvae feeding on leaves"


def worded(category: str | None, value: str, name: str) -> str:
    """A name with an attribute of a category."""
    one, several = WORDINGS.get(category or "", (ASIDE, ASIDE))
    pattern = several if " " in value else one
    if category == "food" and FEEDING in value:
        pattern = AFTER
    return pattern.format(value=value, name=name)
