"""Scientific names taken apart: what is the name, what its author, and whether it names a taxon at all.

A small grammar of our own: gnparser is a Go program with a web client, and the one parser on PyPI that needs no server
(taxon_parser) states no licence and takes the author of `Hormosira (Endlichter) Meneghini, 1838` for a subgenus. It
reads the names of checklists and of NCBI's taxonomy, which also holds samples, strains and species without a name:
these get a `reason`, since nobody captions a picture with them.

The codes: brackets mark a genus that the species must leave (`[Candida] auris`), × a hybrid (ICN, H.3), quotes a
cultivar (ICNCP 14.1) or a name that is not validly published; a name in brackets between a genus and a lower-case
epithet is a subgenus (ICZN 6.1); sp., cf. and aff. are open nomenclature (Bengtson 1988, doi:10.2307/1305358).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace

LETTER, SMALL = r"[A-ZÀ-ÖØ-ÞŒŠŽ]", r"[a-zß-öø-ÿœšžëï]"
GENUS = re.compile(rf"{LETTER}{SMALL}+(?:-{LETTER}?{SMALL}+)*")
EPITHET = re.compile(rf"(?:\d{{1,3}}-|{SMALL}[-'’])?{SMALL}{SMALL}+(?:['’-]{SMALL}+)*")
PLAIN = re.compile(r"([A-Z][a-z]+)(?: [a-z]{3,}){1,2}")  # nine names of ten, read without more ado
NO_TAXON = re.compile(
    r"^(?:uncultured|unclassified|unidentified|unknown|unspecified|undetermined|environmental|mixed|artificial|synthetic|"
    r"candidate|metagenome|bacterium|fungus|eukaryote|organism|vector|plasmid|other)\b|"
    r"\b(?:environmental samples?|metagenomes?|incertae sedis|unclassified|uncultured)\b",
    re.IGNORECASE,
)
VIRUS = re.compile(r"\b\w*virus(?:es)?\b|\bviroids?\b|\b(?:bacterio|cyano)?phages?\b", re.IGNORECASE)
ODD = re.compile(f"{NO_TAXON.pattern}|{VIRUS.pattern}", re.IGNORECASE)
UNNAMED = re.compile(
    r"(?:n\.|nov\.|gen\.)?\s*(?:(?:sp|spp|species|spec|gen|ssp|subsp|indet)\.?(?:\s|$)|spp?\.?(?=[\d_A-Z]|n\.|nov))"
)
OPEN = frozenset({"cf.", "cf", "cfr.", "aff.", "aff", "nr.", "nr", "prox.", "?"})
WIDELY = re.compile(
    r",?\s+(?:s\.\s?(?:l|lat|s|str)\.|sensu (?:lato|stricto)|aggr?\.?|aggregate)$"
)  # how wide a species is
EXTINCT = "†‡"
RANKS = {
    "subsp.": "subsp.", "ssp.": "subsp.", "subspecies": "subsp.",
    "var.": "var.", "variety": "var.", "subvar.": "subvar.",
    "f.": "f.", "fo.": "f.", "forma": "f.", "form": "f.", "subf.": "subf.", "morph": "morph", "f.sp.": "f. sp.",
    "nothosubsp.": "nothosubsp.", "nothovar.": "nothovar.", "nothof.": "nothof.", "convar.": "convar.",
    "pv.": "pv.", "bv.": "bv.",
}  # fmt: skip
SECTIONS = frozenset(
    {"subg.", "subgen.", "subgenus", "sect.", "section", "subsect.", "ser.", "series"}
)  # below a genus
# Lower-case words that are no epithets.
INFORMAL = frozenset({
    "str", "strain", "isolate", "clone", "serovar", "biotype", "genotype", "pathovar", "group", "complex", "lineage",
    "clade", "type", "race", "population", "hybrid", "and", "et", "ex", "in", "non", "nec", "root", "sensu", "apud",
    "auct", "agg", "cultivar", "grex", "nomen", "hort", "male", "female", "juvenile", "larva", "larvae",
})  # fmt: skip
CULTIVAR = re.compile(r"['‘]([^'’\"]+)['’]|\bcv\.?\s+(.+)")
PARTICLES = frozenset(
    {"de", "del", "della", "der", "des", "di", "da", "do", "dos", "du", "van", "von", "zu", "zur", "la", "le",
     "ten", "ter", "el", "al", "af", "auf", "y", "'t", "van't"}
)  # fmt: skip
# Linnaeus, d'Orbigny, L.f., Saint-Hilaire, L.:Fr., Čapek: any script's letter but a small Latin one.
PERSON = re.compile(r"(?:[dl]['’])?(?![A-Z]{3})(?![a-zß-öø-ÿ])[^\W\d_](?:[^\W\d_]|[.:'’-])*")
CAPITALS = re.compile(rf"{LETTER}(?:{LETTER}|['’.-]){{2,}}")  # LINNAEUS, as some write before a year
DATED = re.compile(r", (?:1[5-9]|20)\d\d\b")
YEAR = re.compile(r"['\"]?(?:1[5-9]|20)\d\d[a-z]?['\"]?(?:[-/]\d{2,4})?")
GROUPS = frozenset({"Group", "Grex"})  # of cultivars
BETWEEN_AUTHORS = PARTICLES | {
    "&", "and", "et", "ex", "in", "non", "nec", "sensu", "apud", "emend.", "al", "al.", "f.", "fil.", "bis", "jr.",
    "nom.", "nud.", "inval.", "illeg.", "ined.", "comb.", "nov.", "sp.", "auct.", "s.", "l.", "s.l.", "s.str.", "str.",
    "hort.", "p.p.", "em.", "cons.", "press", "sic", "v.", "Jr", "Sr", "Sr.", "II", "III",
}  # fmt: skip

NO_EPITHETS = INFORMAL | PARTICLES | OPEN | {"spec", "indet", "spp", "species", "ssp", "subsp", "gen"}

CODES = "strains, forms and codes"
LONGEST = 250  # characters; the longest name of NCBI's animals, fungi and plants has 153


@dataclass(frozen=True, slots=True)
class Name:
    """A scientific name and its parts.

    `canonical` is what people write: no author, no subgenus, no brackets. `reason` says why the text names no taxon
    that a picture can show, in the words of the export's counts; then `canonical` is the text itself.
    """

    canonical: str
    genus: str = ""  # or the one word of a higher taxon
    subgenus: str = ""
    species: str = ""
    infraspecific: str = ""
    authorship: str = ""
    cultivar: str = ""
    hybrid: bool = False
    doubtful: bool = False  # a genus in brackets or a name in quotes
    reason: str = ""


def parse(text: str) -> Name:
    """Take a scientific name apart."""
    if not text.isprintable():
        text = "".join(sign for sign in text if unicodedata.category(sign) != "Cf")  # zero width, direction
    if (plain := PLAIN.fullmatch(text)) and NO_EPITHETS.isdisjoint(words := text.split()) and not ODD.search(text):
        return Name(text, genus=plain[1], species=words[1], infraspecific=words[2] if words[2:] else "")
    text = " ".join(unicodedata.normalize("NFC", text).split())
    whole = Name(text)
    if not text:
        return replace(whole, reason="no name")
    if NO_TAXON.search(text):
        return replace(whole, reason="samples and unclassified")
    if len(text) > LONGEST:
        return replace(whole, reason=CODES)
    if VIRUS.search(text) and not GENUS.fullmatch(text):
        return replace(whole, reason="viruses")
    return _Parser(text).name()


class _Parser:
    """Reads a name from left to right; `rest` is what is not read yet."""

    def __init__(self, text: str) -> None:
        self.text = text
        named = WIDELY.sub("", text).strip(f"{EXTINCT} ")
        signed = re.sub(r"\s*×\s*|(?:^|(?<=\s))[xX](?=\s)", " × ", named).strip()
        self.rest = re.sub(r" (var|subsp|ssp)\.(?=\w)", r" \1. ", signed).replace("f. sp.", "f.sp.")
        self.doubtful = False
        self.hybrid = False

    def name(self) -> Name:
        nothogenus = "× " if self._sign() else ""
        self._candidatus()
        genus = self._genus()
        if not genus:
            return self._none("no scientific name")
        subgenus = self._subgenus()
        if UNNAMED.match(self.rest):
            return self._none("species without a name")
        if self._word() in OPEN:
            return self._none("uncertain (cf., aff.)")
        nothospecies = "× " if self._sign() else ""
        section = self._section()
        species = self._epithet()
        parts = [species] if species else []
        while species and (more := self._infraspecific(bare=len(parts) == 1)):
            parts += more
        if self._sign() and self.rest:
            return self._formula(genus, species)
        if UNNAMED.match(self.rest):
            return self._none("species without a name")
        if self._word() in OPEN:
            return self._none("uncertain (cf., aff.)")
        authorship = self._authorship()
        if species and (more := self._infraspecific(bare=False)):  # what stood before is the species' author
            parts += more
            authorship = self._authorship()
        if self._sign() and self.rest:
            return self._formula(genus, " ".join(parts))
        cultivar = self._cultivar()
        if self.rest:
            return self._none(CODES)
        epithets = f" {nothospecies}{' '.join(parts)}" if species else ""
        return Name(
            f"{nothogenus}{genus}{section}{epithets}" + (f" '{cultivar}'" if cultivar else ""),
            genus=genus,
            subgenus=subgenus,
            species=species,
            infraspecific=parts[-1] if len(parts) > 1 else "",
            authorship=authorship,
            cultivar=cultivar,
            hybrid=self.hybrid,
            doubtful=self.doubtful,
        )

    def _none(self, reason: str) -> Name:
        return Name(self.text, reason=reason)

    def _word(self) -> str:
        return self.rest.split(" ", 1)[0]

    def _take(self, length: int) -> None:
        self.rest = self.rest[length:].strip()

    def _sign(self) -> bool:
        """A hybrid sign comes next."""
        found = self.rest.startswith("×")
        if found:
            self.hybrid = True
            self._take(1)
        return found

    def _candidatus(self) -> None:
        if match := re.match(r"(['\"]?)(?:Candidatus|Ca\.)\s+", self.rest):
            self.doubtful = True
            self._take(match.end())
            self.rest = self.rest.replace(match[1], "", 1) if match[1] else self.rest

    def _genus(self) -> str:
        marked = re.match(r"\[([^\]]+)\]|[\"'“‘]([^\"'”’]+)[\"'”’]", self.rest)
        if marked:
            self.doubtful = True
            self.rest = f"{marked[1] or marked[2]} {self.rest[marked.end() :]}".strip()
        match = GENUS.match(self.rest)
        if not match or (match.end() < len(self.rest) and self.rest[match.end()] not in " ,("):
            return ""
        self._take(match.end())
        return match[0]

    def _subgenus(self) -> str:
        """(Stegomyia) before an epithet. Before another name it holds an author; alone it is the subgenus itself."""
        match = re.match(
            rf"\(({GENUS.pattern})\)(?=\s+(?:×\s*)?(?:{EPITHET.pattern}|cf\.|aff\.|sp\.)(?:\s|$)|$)", self.rest
        )
        if not match or self.rest[match.end() :].strip().split(" ")[0] in PARTICLES:
            return ""
        self._take(match.end())
        return match[1]

    def _section(self) -> str:
        word = self._word()
        match = re.match(rf"({re.escape(word)} {GENUS.pattern})(?:\s|$)", self.rest) if word in SECTIONS else None
        if not match:
            return ""
        self._take(match.end())
        return f" {match[1]}"

    def _epithet(self) -> str:
        word = self._word().rstrip(",")
        if (
            not EPITHET.fullmatch(word)
            or word in INFORMAL
            or word in PARTICLES
            or word.endswith(("-complex", "-group"))
        ):
            return ""
        self._take(len(self._word()))
        return word

    def _infraspecific(self, bare: bool) -> list[str]:
        """A name below the species with its rank; the first one may be `bare`, as zoologists write subspecies."""
        before = self.rest
        rank = RANKS.get(self._word())
        if rank:
            self._take(len(self._word()))
        epithet = self._epithet() if rank or bare else ""
        if not epithet:
            self.rest = before  # f. may also stand for filius
            return []
        return [rank, epithet] if rank else [epithet]

    def _formula(self, genus: str, species: str) -> Name:
        """Mus musculus × Mus spretus, or M. spretus."""
        self.rest = re.sub(rf"^{genus[0]}\. ?(?=[a-z])", f"{genus} ", self.rest)
        other = parse(self.rest)
        if other.reason and not EPITHET.fullmatch(self.rest):
            return self._none(CODES)
        parents = f"{genus} {species}".strip(), self.rest if other.reason else other.canonical
        return Name(" × ".join(parents), genus=genus, hybrid=True)

    def _authorship(self) -> str:
        taken, persons = [], 0
        words = self.rest.split(" ")
        dated = bool(DATED.search(self.rest))
        for word, after in zip(words, [*words[1:], ""], strict=True):
            bare = word.strip("()[],;:")
            if bare in GROUPS:
                return ""
            person = any(form.fullmatch(bare) for form in (PERSON, YEAR, *([CAPITALS] if dated else [])))
            person = person or bare in ("nom.", "hort.", "auct.")
            if bare and not person and bare not in BETWEEN_AUTHORS:
                break
            if word in RANKS and EPITHET.fullmatch(after) and after not in NO_EPITHETS:
                break  # f. of a form, not of a son
            taken.append(word)
            persons += bool(person)
        found = " ".join(taken) if persons else ""
        self._take(len(found))
        return found

    def _cultivar(self) -> str:
        match = CULTIVAR.match(self.rest)
        if not match:
            return ""
        self._take(match.end())
        return (match[1] or match[2]).strip("'\"")
