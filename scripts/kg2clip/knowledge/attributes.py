"""What a picture of an entity may show: attributes from graph properties, from its description, from a user's file.

In: values of graph properties, an English description, a table of the user's. Out: rows of `tables.ATTRIBUTE`, each
with its source: the property (P462), `lexicon`, `file`, or `llm:MODEL`.

The lexicon (lexicon.yaml) is matched within sentences: a colour, pattern or shape counts only beside the part that
bears it ("yellow flowers", "the forewings are brown"), a habitat only where the sentence says that something lives
there. What is denied ("no", "without", "unlike", "similar to") and what belongs to a name ("red-legged", "Red Sea",
"known as white pine") does not count.
"""

from __future__ import annotations

import html
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from kg2clip.errors import UserError
from kg2clip.settings import Settings

log = logging.getLogger(__name__)

Attribute = dict[str, str]  # category, value, source

# Properties whose values a picture may show, with the category that queries and texts use. Their meaning:
# wikidata.org/wiki/Wikidata:WikiProject_Botany for plants, the template Mycomorphbox for mushrooms.
PROPERTIES = {
    "P462": "colour",
    "P2827": "flower colour",
    "P11220": "fruit colour",
    "P787": "spore print colour",
    "P3739": "inflorescence",
    "P4000": "fruit type",
    "P10906": "foliage",
    "P783": "hymenium",
    "P784": "cap",
    "P785": "gill attachment",
    "P786": "stipe",
    "P1552": "characteristic",
    "P2974": "habitat",
    "P3512": "locomotion",
    "P9566": "diel cycle",
    "P1034": "food",
}
MAX_DESCRIPTION = 5000  # characters; a longer one tells of more than what is seen, and lists cost time
LEXICON = "lexicon"
FILE = "file"
FILE_COLUMNS = ("category", "value")  # and entityID or scientificName


class Description(NamedTuple):
    """What the lexicon is matched against."""

    text: str
    names: Sequence[str] = ()  # the entity's own: their words do not count


def merge(sources: Iterable[Iterable[Attribute]], per_category: int, total: int) -> list[Attribute]:
    """One list from several, the most trusted first: each value once, at most so many of a category and in all.

    An entity with fewer than the budgets keeps all that it has.
    """
    kept: dict[str, Attribute] = {}
    of_category: Counter[str] = Counter()
    for attribute in (attribute for source in sources for attribute in source):
        key = attribute["value"].casefold()
        if not key or key in kept or of_category[attribute["category"]] >= per_category or len(kept) >= total:
            continue
        of_category[attribute["category"]] += 1
        kept[key] = attribute
    return list(kept.values())


def collect(
    entity: Mapping[str, Any],
    from_graph: Iterable[Attribute],
    from_file: Mapping[str, Sequence[Attribute]],
    wanted: Settings,
    others: Iterable[Attribute] = (),
) -> list[Attribute]:
    """All attributes of an entity, the most trusted source first: the user's file, the graph, `others` (a language
    model's answers), the lexicon.

    Args:
        entity: a row of `tables.ENTITIES`; its description, names and identity are read.
        from_file: by entityID and by scientific name, see `read_file`.
        wanted: the config's section `knowledge.attributes`.
    """
    file = [*from_file.get(entity["entityID"], ()), *from_file.get(entity["scientificName"], ())]
    graph = from_graph if "graph" in wanted["sources"] else ()
    lexicon: Iterable[Attribute] = ()
    if "lexicon" in wanted["sources"] and entity["description"]:
        lexicon = match(Description(entity["description"], [name["text"] for name in entity["names"]]))
    return merge((file, graph, others, lexicon), wanted["per_category"], wanted["per_entity"])


def read_file(path: Path) -> dict[str, list[Attribute]]:
    """A user's table (CSV or Parquet) with the columns category, value, and entityID or scientificName.

    Raises:
        UserError: there is no such file, it is no table, or a column is missing.
    """
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)  # "NA" and "null" are words like others
    except FileNotFoundError:
        raise UserError(f"knowledge.attributes.file: there is no file {path}") from None
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(f"knowledge.attributes.file: {path} is no CSV or Parquet table ({said})") from None
    keys = [name for name in ("entityID", "scientificName") if name in frame.columns]
    missing = [name for name in FILE_COLUMNS if name not in frame.columns]
    if missing or not keys:
        needed = ", ".join([*missing, *([] if keys else ["entityID or scientificName"])])
        raise UserError(f"knowledge.attributes.file: {path} lacks the column {needed}")
    found: dict[str, list[Attribute]] = defaultdict(list)
    unusable = 0
    for row in frame.fillna("").astype(str).to_dict("records"):
        key = next((" ".join(row[name].split()) for name in keys if row[name].strip()), "")
        category, value = (" ".join(row[name].split()) for name in FILE_COLUMNS)
        if key and value:
            found[key].append({"category": category or "characteristic", "value": value, "source": FILE})
        else:
            unusable += 1
    if unusable:
        log.warning("knowledge.attributes.file: %d rows of %s name no entity or no value", unusable, path)
    return dict(found)


def match(description: Description) -> list[Attribute]:
    """The lexicon's attributes in an English description, each once, in the order of the text.

    Descriptions in other languages give nothing: a word alone never counts, only English phrases do.
    """
    found: dict[str, Attribute] = {}
    for sentence in _sentences(description):
        for category, value in _match_sentence(sentence):
            found.setdefault(value, {"category": category, "value": value, "source": LEXICON})
    return list(found.values())


# --- from text to sentences ---

_BREAK = re.compile(r"<br\s*/?>|</(?:p|li|ul|div|h\d)>|\n\s*\n", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_ASIDE = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|[\"“][^\"”]*[\"”]")
_SENTENCE_END = re.compile(r"(?<=[\w%)'])(?<!\b[A-Za-z])(?<!\bspp)(?<!\bsp)(?<!\bca)(?<!\bcf)\.\s+(?=[A-Z¤])|[;\n]")
_CAPITALISED = re.compile(r"(?<=\S )(?:[A-Z][\w'’-]*)(?: (?:[A-Z][\w'’-]*))*")
_NAME = "¤"  # stands for a name; part of no word


def _sentences(description: Description) -> Iterator[str]:
    """Sentences in lower case, names masked, denied clauses taken out."""
    text = _TAG.sub("", _BREAK.sub(".\n", html.unescape(description.text[:MAX_DESCRIPTION])))
    text = _ASIDE.sub(" ", text).replace(" ", " ")
    text = re.sub(r"\bgr[ae]y", "grey", re.sub(r"\b([Cc])olor", r"\1olour", text))
    text = re.sub(r"\bGr[ae]y", "Grey", text)
    for name in sorted({name for name in description.names if len(name) > 2}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", _NAME, text, flags=re.IGNORECASE)
    for sentence in _SENTENCE_END.split(text):
        sentence = _CAPITALISED.sub(_NAME, " ".join(sentence.split())).lower()
        if sentence:
            yield _DENIED.sub(" ¦ ", _GARDEN_FORM.sub("¦", sentence))


# From such a word to the end of its clause nothing counts: it is denied, or said of a name, a threat, a garden form.
_DENIED = re.compile(
    r"\b(?:no|not|may|might|without|lacks?|lacking|never|nor|neither|rarely|seldom|hardly|unlike|except|instead of"
    r"|rather than|similar to|resembl\w+|resemblance|compared (?:to|with)|confused with|distinguished (?:from|by)"
    r"|differ\w* from"
    r"|than|mimics?|mimicking|known (?:\w+ )?(?:as|by)|called|named|names?|common names? (?:is|are|include)|refers to"
    r"|meaning|derive\w*|described|other species|formerly|former|threatened|threats?|loss|destruction|deforestation"
    r"|clearing|cultivated|cultivars?|variet(?:y|ies)|used|bred|extinct|fossils?)\b"
    r"[^,¦]*?(?=,|$|\bbut\b|\bwhile\b|\bwhereas\b|\balthough\b)"
)
_GARDEN_FORM = re.compile(r"\b(?:cultivars?|variet(?:y|ies))\b.*")
# What is said of another organism, once one of these words has come.
_OF_ANOTHER = re.compile(
    r"\b(?:feeds?|feeding|fed|visit\w*|pollinat\w*|hosts?|prey\w*|parasiti[sz]\w*|parasitoids?|eats?|eating|eaten"
    r"|consum\w*|predat\w*|associated with|lives? on|mines?|symbio\w*)\b[^,¦]*"
)


def _match_sentence(sentence: str) -> Iterator[tuple[str, str]]:
    own = _OF_ANOTHER.sub(" ¦ ", sentence)
    patterns = _patterns()
    yield from _forms(own, patterns)
    yield from _coloured_parts(own, patterns)
    yield from _pattern_marks(own, patterns)
    yield from _shaped_parts(own, patterns)
    yield from _habitats(own, patterns)
    yield from _activities(own, patterns)
    yield from _food(sentence, patterns)
    yield from _stages(sentence, patterns)


def _forms(text: str, patterns: Patterns) -> Iterator[tuple[str, str]]:
    for found in patterns.form.finditer(text):
        words = [word for word in found["words"].replace(",", " ").split() if word in patterns.form_modifiers]
        yield "growth form", " ".join([*words, found["form"]])


def _coloured_parts(text: str, patterns: Patterns) -> Iterator[tuple[str, str]]:
    for found in patterns.colour_part.finditer(text):
        for colour in patterns.colour.findall(found["colours"]):
            yield "colour", f"{colour} {found['part']}"
    for found in patterns.part_is_colour.finditer(text):
        for colour in patterns.colour.findall(found["colours"]):
            yield "colour", f"{colour} {found['part']}"


def _pattern_marks(text: str, patterns: Patterns) -> Iterator[tuple[str, str]]:
    for found in patterns.mark.finditer(text):
        yield "pattern", f"{found['how']} {found['mark']}"


def _shaped_parts(text: str, patterns: Patterns) -> Iterator[tuple[str, str]]:
    for found in patterns.shape_part.finditer(text):
        for shape in patterns.shape.findall(found["shapes"]):
            yield "shape", f"{shape} {found['part']}"


def _habitats(text: str, patterns: Patterns) -> Iterator[tuple[str, str]]:
    for clause in patterns.lives.finditer(text):
        for found in patterns.habitat.finditer(clause["where"]):
            yield "habitat", found[0]


def _activities(text: str, patterns: Patterns) -> Iterator[tuple[str, str]]:
    for found in patterns.activity.finditer(text):
        yield "behaviour", found["activity"]


_YOUNG = re.compile(r"\b(?:larva|larvae|larval|caterpillars?|tadpoles?|nymphs?)\b")
_EATER = re.compile(
    r"(?:\b(?:it|they|larvae?|caterpillars|adults|males|females|nymphs|tadpoles|species|its|their|and)|¤|^|[,¦])$"
)


def _food(text: str, patterns: Patterns) -> Iterator[tuple[str, str]]:
    for found in patterns.feeds.finditer(text):
        if not _EATER.search(text[: found.start()].rstrip()):  # sheep feed on its flowers
            continue
        eater = "larvae " if _YOUNG.search(text[: found.start()]) else ""
        for food in patterns.food.findall(found["foods"]):
            yield "food", f"{eater}feeding on {food}"


def _stages(text: str, patterns: Patterns) -> Iterator[tuple[str, str]]:
    for found in patterns.stage.finditer(text):
        yield "sex and life stage", patterns.singular[found["stage"]]


# --- the lexicon as patterns ---


class Patterns(NamedTuple):
    """The lexicon, compiled."""

    colour: re.Pattern[str]
    colour_part: re.Pattern[str]
    part_is_colour: re.Pattern[str]
    mark: re.Pattern[str]
    shape: re.Pattern[str]
    shape_part: re.Pattern[str]
    form: re.Pattern[str]
    form_modifiers: frozenset[str]
    lives: re.Pattern[str]
    habitat: re.Pattern[str]
    activity: re.Pattern[str]
    feeds: re.Pattern[str]
    food: re.Pattern[str]
    stage: re.Pattern[str]
    singular: Mapping[str, str]


@cache
def _patterns() -> Patterns:
    words = yaml.safe_load((Path(__file__).parent / "lexicon.yaml").read_text(encoding="utf-8"))
    start, end = r"(?<![\w-])", r"(?![\w-])"
    hue = _any(words["colours"])
    colour = rf"(?:(?:{_any(words['colour modifiers'])})[ -])?(?:{hue})(?:-(?:{hue}))*"
    colours = rf"{start}{colour}(?:(?:, | or | and | to |, or |, and )(?:a )?{colour})*"
    shape = _any(words["shapes"])
    shapes = rf"{start}(?:{shape})(?:(?:, | or | and |, and )(?:{shape}))*"
    other = _any([*words["bearers"], *words["patterns"], *words["parts"]])
    part = rf"(?P<part>{_any(words['parts'])}){end}(?! (?:{other})s?\b)"  # no bark beetle, no tail patches
    often = r"(?:(?:usually|often|mostly|generally|typically|both|an?) )?"
    mainly = r"(?:(?:mainly|primarily|mostly|chiefly|largely|strictly) )?"
    how = rf"(?:{_any(words['pattern words'])})"
    place = r"(?:\w+ )?(?:in|on|along|at)"
    stage = rf"(?P<stage>{_any(words['stages'])}){end}(?! of| flowers)"
    return Patterns(
        colour=re.compile(rf"{start}{colour}{end}"),
        colour_part=re.compile(rf"(?P<colours>{colours}) (?:(?:{shape}),? )*{part}"),
        part_is_colour=re.compile(
            rf"{start}{part} (?:(?:of|on|in) the \w+ )?(?:is|are) {often}(?P<colours>{colours})(?: in colour)?"
            r"(?=[.,¦]|$| and (?!white|black|\w+ (?:spots|bands))| with| on | at | in | when | to )"
        ),
        mark=re.compile(
            rf"{start}(?P<how>(?:{how} )*{colour}(?: and {colour})*|{how}) (?P<mark>{_any(words['patterns'])}){end}"
        ),
        shape=re.compile(rf"{start}(?:{shape}){end}"),
        shape_part=re.compile(rf"(?P<shapes>{shapes}),? (?:{colour} )?{part}"),
        form=re.compile(
            r"\bis (?:an?|a species of|a type of|a kind of) "
            rf"(?P<words>(?:[\w-]+,? ){{0,6}}?)(?P<form>{_any(words['forms']['words'])})"
            r"(?=[.,]|$| (?:in|of the|native|with|that|which|up|growing|grows|to|from|found|endemic|or|and|reaching"
            r"|producing|belonging|typically|usually)\b)"
        ),
        form_modifiers=frozenset(words["forms"]["modifiers"]),
        lives=re.compile(
            rf"\b(?:habitats? (?:is|are|includes?)|inhabit\w*|lives? in|living in|(?:found|occurs?|grows?) {place}"
            r"|prefers?|restricted to|confined to|common in)\b(?P<where>[^¦]*)"
        ),
        habitat=re.compile(rf"{start}(?:{_any(words['habitats'])}){end}"),
        activity=re.compile(
            rf"\b(?:is|are|it is an?|a|an) {mainly}(?P<activity>{_any(words['activities'])})"
            rf"(?=[.,]|$| and\b| (?:{_any(words['bearers'])})\b)"
        ),
        feeds=re.compile(
            rf"\b{mainly}(?:feeds?|feeding|diet consists|diet is composed) (?:\w+ly )?(?:on|of) (?P<foods>[^.¦]*)"
        ),
        food=re.compile(rf"{start}(?:{_any(words['food'])}){end}(?! of)"),
        stage=re.compile(rf"(?:^|\b(?:the|its|their|young|adult|for|in|and) |, ){start}{stage}"),
        singular=words["stages"],
    )


def _any(words: Iterable[str]) -> str:
    """An alternation, longer ones first, so that `lowland forest` wins over `forest`."""
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))
