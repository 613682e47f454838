"""What the lexicons of the shop's catalogues know: genres, platforms, sums of money.

The same kind of knowledge as :data:`.lexicon.GENRE_WORDS`: the names, their inflections and what
a dictionary gives as near-synonyms.
"""

from __future__ import annotations

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
