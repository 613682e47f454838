"""A regex lexicon: the strong, plain competitor of every learned reading of a request.

It knows every genre by name, by inflection and by the near-synonyms of a dictionary (funny,
scary, cartoon, cowboy), decades and years in digits and in words, parts of the nineties,
"recent", and negation within a few words. Of a shop's catalogue it knows platforms ("PS4"), sums of
money ("under $20") and the creators by name as well. It does *not* resolve titles: "like Toy
Story" tells it nothing, and a title that holds a genre word ("Scary Movie") misleads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from latentcrs_utils.constraints import lexicon as shop_lexicon
from latentcrs_utils.constraints.constraint import (
    FIRST_YEAR,
    LAST_YEAR,
    Constraint,
    Requirement,
    Requirements,
)
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.simulation.items import ERAS, catalogue_items
from latentcrs_utils.simulation.phrasings import DECADE_WORDS, Domain, domain_of

GAME_GENRE_WORDS: dict[str, str] = {
    "Action": r"actions?|action-?packed|hack[ -](?:and|'?n'?)[ -]slash|beat-?'?em-?ups?",
    "Adventure": r"adventur\w*|point-and-click|open[ -]world",
    "Role-Playing": r"(?:j|mmo)?rpgs?|mmorpgs?|role[ -]?play\w*",
    "Simulation": r"simulat\w+|sims?|tycoons?",
    "Sports": r"sport\w*|football|soccer|basketball|baseball|golf\w*|hockey|tennis|skateboarding",
    "Strategy": r"strateg\w+|rts|tactic\w*|turn-based|war ?games?",
    "Racing": r"rac(?:e|es|ing|er|ers)(?! wheels?)|driving|karts?|karting|cars?",
    "Puzzle": r"puzzl\w+|brain-?teasers?|match-?3|tetris",
    "Shooter": r"shoot\w*|fps|first-person|gun(?:s|fights?)?|snipers?",
    "Fighting": r"fight\w*|brawl\w*|wrestl\w+|boxing|martial arts",
    "Platformer": r"platform(?:er|ers|ing)|jump(?:ing)?(?:[ -](?:and|'?n'?)[ -]runs?)?",
    "Music & Rhythm": r"music\w*|rhythm\w*|danc\w+|karaoke",
    "Family": r"famil(?:y|ies)|kids?'?|kid's|child\w*|party games?|all[ -]ages",
    "Educational": r"educat\w+|learn\w*|teach\w*|school\w*",
    "Horror": r"horrors?|horrif\w+|scar(?:e|es|ed|y|ier|iest|ily|ing)|frighten\w*|terrif\w*"
    r"|terror\w*|spook\w*|creep\w*",
    "Arcade": r"arcades?|pinball|coin-?op|retro",
    "Casual": r"casual\w*|hidden[ -]objects?|board games?|card games?|solitaire",
    "Controllers": r"(?:game )?controllers?|game ?pads?|joysticks?|joy-?pads?|joy-?cons?",
    "Headsets": r"(?:gaming )?headsets?|headphones?(?: with a mic)?|ear(?:phones?|buds?)|mics?"
    r"|microphones?",
    "Batteries & Chargers": r"batter(?:y|ies)|charg\w+|power (?:supply|supplies|packs?)",
    "Cables & Adapters": r"cables?|cords?|adapt[eo]rs?|hdmi",
    "Cases & Storage": r"(?:carrying |storage )?cases?|storage|pouch\w*|bags?",
    "Skins & Protectors": r"(?:protective )?skins?|protectors?|protection|face-?plates?|decals?",
    "Keyboards & Mice": r"(?:gaming )?(?:keyboards?|mouse|mice)"
    r"(?: (?:and|or) (?:a )?(?:mouse|mice))?",
    "Memory": r"memory(?: cards?)?|hard[ -]drives?|sd cards?",
    "Consoles": r"(?:games? )?consoles?",
    "Racing Wheels": r"(?:racing|steering) wheels?|wheels?",
    "Figures": r"figures?|figurines?|amiibos?",
    "Prepaid Codes": r"(?:prepaid|gift|subscription|points) cards?|subscriptions?|prepaid",
}
PLATFORM_WORDS: dict[str, str] = {
    "PC": r"pcs?|windows",
    "Mac": r"macs?|macintosh|os ?x",
    "PlayStation": r"play ?station(?! ?(?:[2-9]|portable|vita))(?: ?1)?|ps ?1|psx|ps ?one",
    "PlayStation 2": r"play ?station ?2|ps ?2",
    "PlayStation 3": r"play ?station ?3|ps ?3",
    "PlayStation 4": r"play ?station ?4|ps ?4",
    "PlayStation 5": r"play ?station ?5|ps ?5",
    "PlayStation Portable": r"play ?station portable|psp",
    "PlayStation Vita": r"(?:play ?station |ps ?)?vita",
    "Xbox": r"x-?box(?! ?(?:360|one|series))",
    "Xbox 360": r"x-?box ?360|x360",
    "Xbox One": r"x-?box ?one|xb1|xbone",
    "Xbox Series X": r"(?:x-?box )?series [xs]",
    "Nintendo Switch": r"(?:nintendo )?switch(?! (?:off|to))",
    "Wii": r"(?:nintendo )?wii(?! ?u\b)",
    "Wii U": r"(?:nintendo )?wii ?u",
    "Nintendo DS": r"(?:nintendo )?dsi?(?: lite)?",
    "Nintendo 3DS": r"(?:nintendo )?[23]ds(?: xl)?",
    "Nintendo 64": r"nintendo ?64|n64",
    "GameCube": r"(?:nintendo )?game ?cube|ngc",
    "Game Boy": r"game ?boy(?: colou?r)?(?! advance)",
    "Game Boy Advance": r"game ?boy advance|gba",
    "NES": r"(?<!super )(?:nes|nintendo entertainment system)",
    "Super NES": r"super (?:nes|nintendo)|snes",
    "Sega Genesis": r"(?:sega )?genesis|mega ?drive",
    "Sega Dreamcast": r"(?:sega )?dreamcast",
}
ALBUM_GENRE_WORDS: dict[str, str] = {
    "Pop": r"pop|poppy",
    "Rock": r"rock(?:ing|s)?",
    "Classic Rock": r"classic rock|aor",
    "Alternative Rock": r"alternative(?: rock)?|alt[ -]rock|grunge",
    "Indie & Lo-Fi": r"indie(?: rock| pop)?|lo-?fi",
    "Classical": r"classical\w*|symphon\w+|orchestr\w+|concert(?:o|os|i)|sonatas?",
    "Opera & Classical Vocal": r"operas?|operatic|arias?",
    "Jazz": r"jazz\w*|bebop|big[ -]bands?",
    "Country": r"country|nashville|honky[ -]?tonks?",
    "Bluegrass": r"bluegrass",
    "Folk": r"folk\w*|singer-songwriters?",
    "Metal": r"(?:heavy |death |black )?metal",
    "Progressive Rock": r"prog(?:ressive)?(?: rock)?",
    "Hardcore & Punk": r"punks?|hardcore",
    "New Wave & Post-Punk": r"new wave|post-?punk|synth-?pop",
    "Blues": r"blues\w*",
    "R&B": r"r ?(?:&|and|n) ?b|rnb|rhythm and blues",
    "Soul": r"soul(?:ful)?|motown",
    "Funk": r"funk\w*",
    "Rap & Hip-Hop": r"rap(?:s|pers?|ping)?|hip[ -]?hop",
    "Dance & Electronic": r"electr(?:onic\w*|o)|danc(?:e|es|ing) (?:music|records?|discs?|tracks?)"
    r"|techno|house music|edm|trance",
    "Disco": r"disco",
    "Soundtracks": r"(?:movie |film )?soundtracks?|film music|(?:movie|film) scores?",
    "Broadway & Vocalists": r"broadway|musicals?|show[ -]?tunes?|vocalists?",
    "Christian": r"christian\w*|worship\w*|religious|hymns?",
    "Gospel": r"gospels?|spirituals?",
    "World Music": r"world music|ethnic",
    "Latin Music": r"latin\w*|salsa|tango|flamenco",
    "Reggae": r"reggae|ska|dancehall",
    "New Age": r"new[ -]age|meditat\w+|relaxation|ambient",
    "Christmas": r"christmas\w*|xmas|holidays?|carols?",
    "Children's Music": r"child|children'?s?|kids?'?|kid's|nursery rhymes?",
    "Oldies": r"(?:golden )?oldies?|doo-?wop",
    "Traditional Pop": r"traditional pop|crooners?|standards",
    "Easy Listening": r"easy[ -]listening|lounge",
    "Comedy & Spoken Word": r"comed\w+|stand-?up(?: comedy)?|spoken[ -]word|humou?r\w*",
}
PRICE = (
    r"(?:under|below|(?:for )?(?:less|lower|cheaper) than|at most|no more than|up to|max(?:imum)?)"
    r" (?:\$ ?(?P<sign>\d+)(?:\.\d\d)?|(?P<word>\d+)(?:\.\d\d)? ?(?:dollars?|bucks?|usd|\$))"
)
"""A sum that is not to be exceeded."""


GENRE_WORDS: dict[str, str] = {
    "Action": r"actions?|action-?packed|martial[ -]arts|kung[ -]?fu|shoot-?[' ]?em-?[ -]?ups?",
    "Adventure": r"adventur\w*|swashbuckl\w*",
    "Animation": r"animat\w*|anime|cartoon\w*|toons?|cgi|disney|pixar",
    "Children's": r"child|childish|children'?s?|childrens|kids?'?|kid'?s|kiddies?|family|families"
    r"|family-friendly|all[ -]ages",
    "Comedy": r"comed\w+|comics?|comical\w*|funn\w+|humou?r\w*|hilari\w*|laugh\w*|jokes?|joking"
    r"|gags?|slapstick|spoof\w*|parod\w+|satir\w+|farc\w+|rom-?coms?|romantic comed\w+",
    "Crime": r"crimes?|criminal\w*|gangsters?|mafia|mafios\w+|mobs?|mobsters?|heists?|cartels?",
    "Documentary": r"documentar\w+|docus?|docudramas?|non-?fiction|factual",
    "Drama": r"dramas?|dramatic\w*|melodrama\w*|docudramas?|tragic|traged\w+|tear-?jerk\w*",
    "Fantasy": r"fantas\w+|fairy[ -]?tales?|magic\w*|supernatural",
    "Film-Noir": r"(?:film[ -])?noirs?|hard-?boiled",
    "Horror": r"horrors?|horrif\w+|scar(?:e|es|ed|y|ier|iest|ily|ing)|frighten\w*|terrif\w*"
    r"|terror\w*|spook\w*|creep\w*|slashers?|gore|gory",
    "Musical": r"musicals?|music|sing-?along\w*|show[ -]?tunes?",
    "Mystery": r"myster\w+|whodunn?its?|detectives?|sleuth\w*",
    "Romance": r"roman(?:ce|ces|tic|tical|tically)|rom-?coms?|love[ -]stor(?:y|ies)",
    "Sci-Fi": r"sci-?[ ]?fi|scifi|science[ -]fiction|sf|futuristic|space[ -]operas?",
    "Thriller": r"thrill\w*|suspense\w*",
    "War": r"wars?|wartime|warfare|military|ww ?(?:ii|2|1)",
    "Western": r"westerns?|cowboys?|wild[ -]west|gunslingers?|spaghetti[ -]westerns?",
}
"""Genre -> alternatives, each matched as whole words, whatever the case."""

_RECENT = re.compile(
    r"\b(?:recent(?:ly)?|latest|newest|brand[ -]new|current|modern|contemporary)\b", re.I
)
_NEGATION = (
    r"no|nope|nah|not|non|never|nothing|none|neither|nor|without|avoid\w*|skip\w*|except|minus|hate"
    r"|dislike|exclud\w*|sick of|tired of|enough of|bored (?:of|with)|anything but|instead of"
    r"|rather than|less|(?:count|leave|keep) (?:me|it|us) out"
    r"|(?:do|does|did|is|are|wo|ca|should|would|have|has|had)n'?t|can'?t|cannot|don'?t"
)
_REACH = 4  # words between a negation and what it denies
_WORD_TO_DECADE = {word: decade for decade, word in DECADE_WORDS.items()}
_DENIED = re.compile(rf"\b(?:{_NEGATION})\b(?:[\s,]+(?!but\b)[\w'’-]+){{0,{_REACH}}}[\s-]*$", re.I)
_DECADE = re.compile(
    rf"(?P<part>\b(?:early|mid|middle|late)[ -](?:of the )?)?(?:the )?"
    rf"(?:\b(?P<full>20[0-2]0)'?s\b|\b(?P<noughties>00'?s)\b"
    rf"|\b(?:19)?(?P<digit>[2-9])0'?s\b|'(?P<short>[2-9])0s\b|\b(?P<word>{'|'.join(_WORD_TO_DECADE)})\b)",
    re.I,
)
_YEARS = re.compile(
    r"\b((?:19|20)\d\d)\b(?:\s*(?:-|–|to|and|until|till)\s*((?:19|20)\d\d)\b)?(?!'?s)"
)
_BEFORE = re.compile(r"\b(?:before|older than|earlier than|prior to|pre)[\s-]+(?:the\s+)?$", re.I)
_AFTER = re.compile(
    r"\b(?:(?P<since>since)|after|newer than|later than|more recent than|post)[\s-]+(?:the\s+)?$",
    re.I,
)
_PARTS = {"early": "1990-1993", "mid": "1994-1995", "middle": "1994-1995", "late": "1996-1998"}


def _compiled(words: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    """Compile alternatives to patterns that match whole words, whatever the case."""
    return {
        name: re.compile(rf"(?<!\w)(?:{alternatives})(?![\w'])", re.I)
        for name, alternatives in words.items()
    }


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The words of one kind of catalogue.

    Attributes:
        genres: name -> pattern.
        platforms: name -> pattern.
        creators: lower-case name, of two letters or more -> name.
        of_shop: prices count; so does only the longest of several genres at one place ("classic
            rock" is not "rock"); times are decades.
        years: first and last year that four digits alone may mean.
        recent: the years that "recent" means.
    """

    genres: Mapping[str, re.Pattern[str]]
    platforms: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    creators: Mapping[str, str] = field(default_factory=dict)
    of_shop: bool = False
    years: tuple[int, int] = (1920, 1999)
    recent: tuple[int, int] = ERAS["1996-1998"]


FILM_LEXICON = Lexicon(_compiled(GENRE_WORDS))


@cache
def lexicon_of(domain: Domain) -> Lexicon:
    """Return the lexicon of a kind of item, whatever the catalogue."""
    if domain == "films":
        return FILM_LEXICON
    if domain == "games":
        platforms = _compiled(shop_lexicon.PLATFORM_WORDS)
        return Lexicon(_compiled(shop_lexicon.GAME_GENRE_WORDS), platforms, of_shop=True)
    return Lexicon(_compiled(shop_lexicon.ALBUM_GENRE_WORDS), of_shop=True)


def lexicon_for(data: Dataset) -> Lexicon:
    """Return the lexicon for a data set.

    That of its domain; for a shop's catalogue also the names of its other genres and platforms and
    of its creators.
    """
    lexicon = lexicon_of(domain_of(data.name))
    if not lexicon.of_shop:
        return lexicon
    items = catalogue_items(data)
    genres = sorted(set().union(*(film.genres for film in items)) - set(lexicon.genres))
    platforms = {film.platform for film in items if film.platform} - set(lexicon.platforms)
    creators = sorted({film.creator for film in items if film.creator})
    return replace(
        lexicon,
        genres={**lexicon.genres, **_compiled({name: re.escape(name) for name in genres})},
        platforms={**lexicon.platforms, **_compiled({n: re.escape(n) for n in sorted(platforms)})},
        creators={name.lower(): name for name in creators if len(name) > 1},
    )


@dataclass(frozen=True)
class Mention:
    """One place in a text where a constraint is named.

    Attributes:
        constraint: negated where it stands behind a word of refusal.
        start, end: the characters that name it.
        opening: where the words of refusal begin; ``start`` if there are none.
    """

    constraint: Constraint
    start: int
    end: int
    opening: int


def denial(text: str, start: int) -> int | None:
    """Return where the words begin that refuse what is named at ``start``; None if none do.

    They stand in the same clause (up to . ; : ? ! or "but"), at most four words before it.
    """
    clause = re.split(r"[.;:?!]|\bbut\b(?<!anything but)", text[:start], flags=re.I)[-1]
    match = _DENIED.search(clause)
    return start - len(clause) + match.start() if match else None


def _mention(text: str, slot: str, value: str, start: int, end: int) -> Mention:
    opening = denial(text, start)
    constraint = Constraint(slot, value, negated=opening is not None)
    return Mention(constraint, start, end, start if opening is None else opening)


def _decade(match: re.Match[str]) -> int:
    """Return the first year of the decade that a match of `_DECADE` names."""
    if match["full"] or match["noughties"]:
        return int(match["full"] or 2000)
    digit = match["digit"] or match["short"]
    return 1900 + 10 * int(digit) if digit else _WORD_TO_DECADE[match["word"].lower()]


def _time(text: str, match: re.Match[str], slot: str, value: str, first: int, last: int) -> Mention:
    """One time named in a text; "before", "since" and "after" open its span.

    What is not before a time is in it or after it, and the reverse.
    """
    found = _mention(text, slot, value, *match.span())
    before, after = (pattern.search(text[: match.start()]) for pattern in (_BEFORE, _AFTER))
    if not before and not after:
        return found
    if before:
        spans = (FIRST_YEAR, first - 1), (first, LAST_YEAR)
    else:
        border = first if after and after["since"] else last + 1
        spans = (border, LAST_YEAR), (FIRST_YEAR, border - 1)
    first, last = spans[found.constraint.negated]
    start = min((before or after or match).start(), found.opening)
    return Mention(Constraint("era", f"{first}-{last}"), start, match.end(), start)


def _times(text: str, lexicon: Lexicon) -> Iterator[Mention]:
    """Yield every time named in a text: decades, parts of the nineties, years, "recent"."""
    for match in _DECADE.finditer(text):
        decade = _decade(match)
        part = (match["part"] or "").split(" ")[0].split("-")[0].lower()
        if part and decade == 1990 and not lexicon.of_shop:
            first, last = ERAS[_PARTS[part]]
            yield _time(text, match, "era", _PARTS[part], first, last)
        else:
            yield _time(text, match, "decade", str(decade), decade, decade + 9)
    if lexicon.of_shop:
        return
    for match in _YEARS.finditer(text):
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last <= lexicon.years[1]:
            last = first
        if lexicon.years[0] <= first <= lexicon.years[1]:
            yield _time(text, match, "era", f"{first}-{last}", first, last)
    for match in _RECENT.finditer(text):
        yield _mention(text, "era", "{}-{}".format(*lexicon.recent), *match.span())


def _named(
    text: str, slot: str, patterns: Mapping[str, re.Pattern[str]], *, longest: bool
) -> list[Mention]:
    """Return where the names of one slot stand; the longest only, where one holds another."""
    matches = [(name, match.span()) for name, p in patterns.items() for match in p.finditer(text)]
    if longest:
        spans = {span for _, span in matches}
        inner = {(a, b) for a, b in spans for c, d in spans if c <= a and b <= d and d - c > b - a}
        matches = [(name, span) for name, span in matches if span not in inner]
    return [_mention(text, slot, name, *span) for name, span in matches]


_WORDS = re.compile(r"[^\s,;:?!]+")
_BY = re.compile(r"\b(?:by|from|with|of|like)\s+(?:the great )?", re.I)
_LONGEST_NAME = 6


def _creators(text: str, names: Mapping[str, str]) -> Iterator[Mention]:
    """Yield the creators named behind "by", "from" and the like, the longest name first."""
    for match in _BY.finditer(text) if names else ():
        start = match.end()
        words = [m.end() for m in _WORDS.finditer(text, start)][:_LONGEST_NAME]
        tries = (text[start:end].rstrip(".") for end in reversed(words))
        whole = next((words for words in tries if words.lower() in names), None)
        if whole is not None:
            name = names[whole.lower()]
            yield Mention(Constraint("creator", name), start, start + len(whole), start)


_PRICE = re.compile(shop_lexicon.PRICE, re.I)


def mentions(text: str, lexicon: Lexicon = FILM_LEXICON) -> list[Mention]:
    """Return every place in a text where a genre, a time or a fact is named, in their order.

    Platforms, creators and prices are looked for with the lexicon of a shop's catalogue
    (:func:`lexicon_for`).
    """
    text = text.replace("’", "'")
    found = _named(text, "genre", lexicon.genres, longest=lexicon.of_shop)
    found += _named(text, "platform", lexicon.platforms, longest=True)
    found += _times(text, lexicon)
    found += _creators(text, lexicon.creators)
    if lexicon.of_shop:
        for match in _PRICE.finditer(text):
            start, end = match.span()
            price = int(match["sign"] or match["word"])
            found.append(Mention(Constraint("price", str(price)), start, end, start))
    return sorted(found, key=lambda mention: mention.start)


def extract(text: str, lexicon: Lexicon = FILM_LEXICON) -> Requirements:
    """Return the genres, refused genres, times and facts that ``text`` names.

    A genre that is named both ways counts as the last mention says, of several prices the lowest
    counts. The evidence of each is its name in the text, with the words of refusal before it.
    """
    last: dict[tuple[str, str], Requirement] = {}
    for mention in mentions(text, lexicon):
        constraint, evidence = mention.constraint, text[mention.opening : mention.end]
        key = constraint.slot, constraint.value
        if constraint.slot == "genre":
            last[key] = Requirement(constraint, evidence)
        elif not constraint.negated:
            last.setdefault(key, Requirement(constraint, evidence))
        elif constraint.slot == "platform":
            last.pop(key, None)
    prices = [key for key in last if key[0] == "price"]
    for key in sorted(prices, key=lambda key: int(key[1]))[1:]:
        del last[key]
    return Requirements(tuple(last.values()))
