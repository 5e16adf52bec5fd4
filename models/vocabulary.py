"""The words of genres, languages and countries, and when two names are one: a single reading, to learn and to serve.

TMDB's own names and codes are what all else is read as; a code of TMDB's always means what TMDB means by it, so `cn` is
Cantonese. What is not understood is left out of the numbers, and `remarks` says so. Knows nothing of movies or models.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

# What is not seen of a name: soft hyphens, joiners, marks of direction and variants. Other zero widths are spaces.
_UNSEEN = re.compile("[\x00\u00ad\u034f\u061c\u200c-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f]")
_TURKISH_I = re.compile("[iı]\u0307+|ı")  # upper and lower case of the one are the other's elsewhere
_SPACES = re.compile("[\\s\u180e\u200b\ufeff]+")


def fold(name: str) -> str:
    """Return a name as names are compared: without regard to case, Unicode form and spaces. Accents tell apart."""
    if name.isascii() and name.isprintable():
        return " ".join(name.lower().split())
    name = unicodedata.normalize("NFD", _UNSEEN.sub("", name)).casefold()
    name = _TURKISH_I.sub("i", unicodedata.normalize("NFKC", name).casefold())
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", name)).strip()


def _plain(word: str) -> str:
    """Return the letters and digits of a word alone: sci-fi and Sci Fi are one, and so are Réunion and Reunion."""
    decomposed = unicodedata.normalize("NFKD", fold(word).replace("&", "and"))
    return "".join(character for character in decomposed if character.isalnum())


KEYS = ("id", "iso_3166_1", "iso_639_1", "english_name", "name")  # of TMDB's objects; what names them best comes first
MOST_REMARKS, MOST_LETTERS = 10, 40  # remarks on one field; letters of a word that are shown and compared
_PARTS = re.compile(r"[,;|/\\+&·•、，；／｜\n\t]|\s(?:and|-|–|—)\s", re.IGNORECASE)
_ALIKE = 0.55  # share of letter pairs that a word must have in common with one that may be meant


@dataclass(frozen=True)
class Vocabulary:
    """The words of one kind. `means` leads from a plain spelling to TMDB's words, `shown` from those to what is shown.

    `rule` says what to write, `otherwise` reads what no spelling matches, and `doubt` says what is odd about a word
    that was understood.
    """

    means: dict[str, tuple[str, ...]]
    shown: dict[str, str]
    rule: str
    otherwise: Callable[[str], tuple[str, ...]] = lambda word: ()
    doubt: Callable[[str, tuple[str, ...]], str] = lambda word, meant: ""

    def read(self, entries: Iterable[Any]) -> list[str]:
        """Return TMDB's words for entries (names, ids or TMDB's objects), in order, without doubles and the unknown."""
        return list(dict.fromkeys(word for entry in entries for word in self.read_one(entry)[0]))

    def read_one(self, entry: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what an entry means, and what in it is not understood; "Action, Drama" means both."""
        word = entry.get("id") if isinstance(entry, dict) else entry
        if isinstance(word, str) and (known := self.means.get(word)):  # as TMDB writes it
            return known, ()
        given = [entry.get(key) for key in KEYS] if isinstance(entry, dict) else [entry]
        words = [str(word) for word in given if word and isinstance(word, str | int)]
        for word in words:
            if known := self._known(word):
                return known, ()
        if not words:
            return (), ()
        parts = [part.strip() for part in _PARTS.split(words[-1])]
        read = {part: self._known(part) for part in parts if part} or {words[-1]: ()}
        meant = tuple(word for known in read.values() for word in known)
        return meant, tuple(part for part, known in read.items() if not known)

    def remarks(self, entries: Iterable[Any]) -> list[str]:
        """Say of each entry what is not understood, with what may be meant, or how it was read where that is odd."""
        said: dict[str, None] = {}
        for entry in entries:
            meant, unknown = self.read_one(entry)
            for word in unknown:
                near = self.near(word) if len(said) < MOST_REMARKS else ""
                remedy = f"did you mean {near}?" if near else self.rule
                said[f"{word[:MOST_LETTERS]!r} is not known and is not used; {remedy}"] = None
            if doubt := self.doubt(entry if isinstance(entry, str) else "", meant):
                said[doubt] = None
        more = [f"and {len(said) - MOST_REMARKS} more"] if len(said) > MOST_REMARKS else []
        return list(said)[:MOST_REMARKS] + more

    def near(self, word: str) -> str:
        """Return the one or two words that are spelled most like another, "" where none is."""
        pairs = _pairs(word) if 2 < len(word) <= MOST_LETTERS else set()
        likeness = {known: 2 * len(pairs & its) / (len(pairs) + len(its)) for known, its in self._spelled.items()}
        best = sorted((share, known) for known, share in likeness.items() if share >= _ALIKE)[-2:]
        return " or ".join(self.show(known) for share, known in reversed(best) if share > best[-1][0] - 0.1)

    def show(self, word: str) -> str:
        """Return a word of TMDB's for people to read: a code with its name."""
        return word if self.shown[word] == word else f"{word} ({self.shown[word]})"

    @cached_property
    def _spelled(self) -> dict[str, set[tuple[str, str]]]:
        return {word: _pairs(name) for word, name in self.shown.items()}

    def _known(self, word: str) -> tuple[str, ...]:
        return self.means.get(word) or self.means.get(_plain(word)) or self.otherwise(word)


def _pairs(word: str) -> set[tuple[str, str]]:
    plain = _plain(word)
    return set(zip(f"^{plain}", f"{plain}$", strict=True))


# -- genres ---------------------------------------------------------------------------------------------------------

# TMDB's name -> its id, its name in Korean, and what else people write
_GENRES = {
    "Action": "28/액션",
    "Adventure": "12/모험/adventures",
    "Animation": "16/애니메이션/animated/anime/cartoon",
    "Comedy": "35/코미디/comedies/comic/comedic/humor/humour",
    "Crime": "80/범죄",
    "Documentary": "99/다큐멘터리/다큐/documentaries/doc/docs/docu/documental/nonfiction",
    "Drama": "18/드라마/dramas/dramatic",
    "Family": "10751/가족/families/kids/10762/children/childrens/for children",
    "Fantasy": "14/판타지/fantasies/fantastic",
    "History": "36/역사/historical/historic",
    "Horror": "27/공포/호러",
    "Music": "10402/음악/musical/musicals/뮤지컬",
    "Mystery": "9648/미스터리/mysteries/whodunit",
    "Romance": "10749/로맨스/멜로/romances/romantic/love story",
    "Science Fiction": "878/SF/sci-fi/SF film/공상과학",
    "TV Movie": "10770/TV 영화/TV film/telefilm/television movie/television film/made for TV",
    "Thriller": "53/스릴러/thrillers/suspense",
    "War": "10752/전쟁/war and politics/10768",
    "Western": "37/서부/서부극/westerns",
}
# IMDb's, and one of TMDB's own until 2017
_BEYOND = {
    "Adult": "",
    "Biography": "biopic/biopics/bio/biographical",
    "Film-Noir": "noir",
    "Foreign": "10769",
    "Game-Show": "",
    "News": "10763",
    "Reality-TV": "reality/10764",
    "Short": "shorts/short film",
    "Sport": "sports",
    "Talk-Show": "talk/10767",
}
_SEVERAL = {
    "rom-com": ("Romance", "Comedy"),
    "10759": ("Action", "Adventure"),
    "10765": ("Science Fiction", "Fantasy"),
    "docudrama": ("Documentary", "Drama"),
}
GENRES = tuple(_GENRES)


def _genre_phrase(phrase: str) -> tuple[str, ...]:
    """Read "horror comedy" or "Action-Adventure film", where each word of it is a genre."""
    words = [word for word in re.split(r"[\s-]+", fold(phrase)) if word not in ("film", "films", "movie", "movies")]
    read = [GENRE_WORDS.means.get(_plain(word), ()) for word in words]
    return tuple(genre for genres in read for genre in genres) if all(read) else ()


def _genre_doubt(word: str, meant: tuple[str, ...]) -> str:
    if _BEYOND.keys().isdisjoint(meant):
        return ""
    beyond = " and ".join(genre for genre in meant if genre in _BEYOND)
    return f"{beyond} is none of TMDB's genres: it only counts as one more"


# -- languages and countries ----------------------------------------------------------------------------------------

# TMDB's code and ISO's others: the English name / what else people write, TMDB itself among them; …
_LANGUAGES = """
aa aar: Afar; ab abk: Abkhazian; ae ave: Avestan; af afr: Afrikaans; ak aka: Akan; am amh: Amharic; an arg:
Aragonese; ar ara arb: Arabic/العربية; as asm: Assamese; av ava: Avaric; ay aym: Aymara; az aze azj: Azerbaijani/
Azeri/Azərbaycan; ba bak: Bashkir; be bel: Belarusian/Byelorussian/беларуская мова; bg bul: Bulgarian/български/
български език; bh bih: Bihari; bi bis: Bislama; bm bam: Bambara/Bamanankan; bn ben: Bangla/Bengali/বাংলা; bo bod
tib: Tibetan/བོད་སྐད་; br bre: Breton/Brezhoneg; bs bos: Bosnian/Bosanski; ca cat: Catalan/Valencian/Català; ce che:
Chechen; ch cha: Chamorro/Finu' Chamorro; cn yue: Cantonese/Yue Chinese/Chinese Cantonese/Chinese Yue/广州话/廣州話/
广州话 廣州話/廣東話/粵語/광둥어; co cos: Corsican; cr cre: Cree; cs ces cze: Czech/Český/Čeština; cu chu: Church
Slavic/Old Slavonic; cv chv: Chuvash; cy cym wel: Welsh/Cymraeg; da dan: Danish/Dansk; de deu ger gsw: German/
Deutsch/Swiss German/독일어; dv div: Divehi/Dhivehi; dz dzo: Dzongkha; ee ewe: Ewe/Èʋegbe; el ell gre: Greek/Modern
Greek/ελληνικά; en eng: English/American English/British English/영어; eo epo: Esperanto; es spa: Spanish/Castilian/
Español/Castellano/스페인어; et est ekk: Estonian/Eesti; eu eus baq: Basque/euskera/euskara; fa fas per pes prs:
Persian/Farsi/Dari/فارسی; ff ful: Fula/Fulah/Fulfulde; fi fin: Finnish/suomi; fj fij: Fijian; fo fao: Faroese; fr
fra fre: French/Français/프랑스어; fy fry: Western Frisian/Frisian; ga gle: Irish/Irish Gaelic/Gaeilge; gd gla:
Scottish Gaelic/Gaelic; gl glg: Galician/Galego; gn grn gug: Guarani; gu guj: Gujarati/ગુજરાતી; gv glv: Manx; ha
hau: Hausa; he heb iw: Hebrew/עברית; hi hin: Hindi/हिन्दी/힌디어; ho hmo: Hiri Motu; hr hrv: Croatian/Hrvatski; ht
hat: Haitian Creole/Haitian/Kreyòl; hu hun: Hungarian/Magyar; hy hye arm: Armenian/Հայերեն; hz her: Herero; ia ina:
Interlingua; id ind: Indonesian/Bahasa Indonesia/Bahasa; ie ile: Interlingue/Occidental; ig ibo: Igbo; ii iii:
Sichuan Yi; ik ipk: Inupiaq; io ido: Ido; is isl ice: Icelandic/Íslenska; it ita: Italian/Italiano/이탈리아어; iu
iku: Inuktitut/Eskimo; ja jpn: Japanese/日本語/일본어; jv jav: Javanese; ka kat geo: Georgian/ქართული; kg kon:
Kongo; ki kik: Kikuyu; kj kua: Kuanyama; kk kaz: Kazakh/қазақ; kl kal: Kalaallisut/Greenlandic; km khm: Khmer/
Cambodian/ភាសាខ្មែរ; kn kan: Kannada/ಕನ್ನಡ; ko kor: Korean/한국어/조선말/한국어조선말; kr kau: Kanuri; ks kas:
Kashmiri; ku kur kmr ckb: Kurdish; kv kom: Komi; kw cor: Cornish; ky kir: Kyrgyz/Kirghiz; la lat: Latin; lb ltz:
Luxembourgish/Letzeburgesch; lg lug: Ganda; li lim: Limburgish/Limburgan; ln lin: Lingala; lo lao: Lao/Laotian; lt
lit: Lithuanian/Lietuvių; lu lub: Luba-Katanga; lv lav lvs: Latvian/Latviešu; mg mlg: Malagasy; mh mah: Marshallese;
mi mri mao: Māori; mk mkd mac: Macedonian/македонски; ml mal: Malayalam/മലയാളം; mn mon khk: Mongolian/монгол; mo
mol: Moldavian/Moldovan; mr mar: Marathi/मराठी; ms msa may zsm: Malay/Bahasa Melayu/Malaysian; mt mlt: Maltese/
Malti; my mya bur: Burmese/မြန်မာဘာသာ; na nau: Nauru; nb nob: Norwegian Bokmål/Bokmål; nd nde: North Ndebele/
Ndebele; ne nep npi: Nepali/नेपाली; ng ndo: Ndonga; nl nld dut: Dutch/Flemish/Nederlands/Vlaams; nn nno: Norwegian
Nynorsk/Nynorsk; no nor: Norwegian/Norsk; nr nbl: South Ndebele; nv nav: Navajo; ny nya: Nyanja/Chichewa; oc oci:
Occitan; oj oji: Ojibwa; om orm: Oromo/Afan Oromo; or ori ory: Odia/Oriya/ଓଡ଼ିଆ; os oss: Ossetic/Ossetian; pa pan:
Punjabi/Panjabi/ਪੰਜਾਬੀ; pi pli: Pali; pl pol: Polish/Polski; ps pus pbu: Pashto/Pushto/پښتو; pt por: Portuguese/
Português/Brazilian Portuguese/Brazilian/포르투갈어; qu que quz: Quechua; rm roh: Romansh/Raeto-Romance/
Rhaeto-Romanic; rn run: Rundi; ro ron rum: Romanian/Română; ru rus: Russian/русский/Pусский/러시아어; rw kin:
Kinyarwanda; sa san: Sanskrit; sc srd: Sardinian; sd snd: Sindhi; se sme: Northern Sami/Sami; sg sag: Sango; sh hbs:
Serbo-Croatian; si sin: Sinhala/Sinhalese/සිංහල; sk slk slo: Slovak/Slovenčina; sl slv: Slovenian/Slovene/
Slovenščina; sm smo: Samoan; sn sna: Shona; so som: Somali/Soomaali; sq sqi alb als: Albanian/shqip; sr srp:
Serbian/Srpski/Српски; ss ssw: Swati; st sot: Southern Sotho/Sotho/Sesotho; su sun: Sundanese; sv swe: Swedish/
svenska; sw swa swh: Swahili/Kiswahili; ta tam: Tamil/தமிழ்; te tel: Telugu/తెలుగు; tg tgk: Tajik; th tha: Thai/ไทย/
ภาษาไทย/태국어; ti tir: Tigrinya; tk tuk: Turkmen; tl tgl fil: Tagalog/Filipino/Pilipino; tn tsn: Tswana/Setswana;
to ton: Tongan/Tonga; tr tur: Turkish/Türkçe; ts tso: Tsonga; tt tat: Tatar; tw twi: Twi; ty tah: Tahitian; ug uig:
Uyghur/Uighur; uk ukr: Ukrainian/Український/Українська; ur urd: Urdu/اردو; uz uzb uzn: Uzbek/ozbek; ve ven: Venda;
vi vie: Vietnamese/Tiếng Việt/베트남어; vo vol: Volapük; wa wln: Walloon; wo wol: Wolof; xh xho: Xhosa/isiXhosa; xx
zxx: No Language/No linguistic content/No dialogue; yi yid ydd ji: Yiddish; yo yor: Yoruba/Èdè Yorùbá; za zha:
Zhuang; zh zho chi cmn wuu nan hak: Chinese/Mandarin/Mandarin Chinese/Simplified Chinese/Traditional Chinese/中文/
普通话/汉语/國語/Putonghua/Chinese Mandarin/Chinese Simplified/Chinese Traditional/중국어; zu zul: Zulu/isiZulu
"""
_COUNTRIES = """
AD AND: Andorra; AE ARE: United Arab Emirates/UAE; AF AFG: Afghanistan; AG ATG: Antigua and Barbuda/Antigua; AI AIA:
Anguilla; AL ALB: Albania; AM ARM: Armenia; AN ANT: Netherlands Antilles; AO AGO: Angola; AQ ATA: Antarctica; AR
ARG: Argentina; AS ASM: American Samoa; AT AUT: Austria; AU AUS: Australia/호주; AW ABW: Aruba; AX ALA: Åland
Islands; AZ AZE: Azerbaijan; BA BIH: Bosnia and Herzegovina/Bosnia/Bosnia-Herzegovina; BB BRB: Barbados; BD BGD:
Bangladesh; BE BEL: Belgium/Belgique/België; BF BFA: Burkina Faso; BG BGR: Bulgaria; BH BHR: Bahrain; BI BDI:
Burundi; BJ BEN: Benin; BL BLM: St. Barthélemy/Saint Barthélemy; BM BMU: Bermuda; BN BRN: Brunei/Brunei Darussalam;
BO BOL: Bolivia/Bolivia, Plurinational State of; BQ BES: Caribbean Netherlands/Bonaire, Sint Eustatius and Saba; BR
BRA: Brazil/Brasil; BS BHS: Bahamas/The Bahamas; BT BTN: Bhutan; BU BUR: Burma (until 1989); BV BVT: Bouvet Island;
BW BWA: Botswana; BY BLR: Belarus; BZ BLZ: Belize; CA CAN: Canada/캐나다; CC CCK: Cocos (Keeling) Islands/Cocos
Islands; CD COD: Democratic Republic of the Congo/Congo/Congo - Kinshasa/Congo, The Democratic Republic of the/DR
Congo/DRC; CF CAF: Central African Republic/CAR; CG COG: Congo - Brazzaville/Republic of the Congo; CH CHE:
Switzerland; CI CIV: Côte d'Ivoire/Ivory Coast; CK COK: Cook Islands; CL CHL: Chile; CM CMR: Cameroon; CN CHN:
China/People's Republic of China/PRC/Mainland China/中国/중국; CO COL: Colombia; CR CRI: Costa Rica; CS SCG: Serbia
and Montenegro; CU CUB: Cuba; CV CPV: Cape Verde/Cabo Verde; CW CUW: Curaçao; CX CXR: Christmas Island; CY CYP:
Cyprus; CZ CZE: Czechia/Czech Republic; DE DEU: Germany/Federal Republic of Germany/West Germany/BRD/Deutschland/
독일; DJ DJI: Djibouti; DK DNK: Denmark/Danmark; DM DMA: Dominica; DO DOM: Dominican Republic; DZ DZA: Algeria; EC
ECU: Ecuador; EE EST: Estonia; EG EGY: Egypt; EH ESH: Western Sahara; ER ERI: Eritrea; ES ESP: Spain/España/스페인;
ET ETH: Ethiopia; FI FIN: Finland; FJ FJI: Fiji; FK FLK: Falkland Islands/Falkland Islands (Malvinas)/Falklands; FM
FSM: Micronesia/Micronesia, Federated States of; FO FRO: Faroe Islands/Faeroe Islands; FR FRA: France/프랑스; GA
GAB: Gabon; GB GBR: United Kingdom/UK/Great Britain/Britain/England/Scotland/Wales/United Kingdom of Great Britain
and Northern Ireland/영국; GD GRD: Grenada; GE GEO: Georgia/Republic of Georgia; GF GUF: French Guiana; GG GGY:
Guernsey; GH GHA: Ghana; GI GIB: Gibraltar; GL GRL: Greenland; GM GMB: Gambia/The Gambia; GN GIN: Guinea; GP GLP:
Guadeloupe/Guadaloupe; GQ GNQ: Equatorial Guinea; GR GRC: Greece; GS SGS: South Georgia and South Sandwich Islands/
South Georgia and the South Sandwich Islands; GT GTM: Guatemala; GU GUM: Guam; GW GNB: Guinea-Bissau; GY GUY:
Guyana; HK HKG: Hong Kong/Hong Kong SAR China/Hong Kong SAR/Hong Kong, China/香港/홍콩; HM HMD: Heard and McDonald
Islands/Heard Island and McDonald Islands; HN HND: Honduras; HR HRV: Croatia; HT HTI: Haiti; HU HUN: Hungary; ID
IDN: Indonesia; IE IRL: Ireland/Republic of Ireland/Eire; IL ISR: Israel; IM IMN: Isle of Man; IN IND: India/भारत/
인도; IO IOT: British Indian Ocean Territory; IQ IRQ: Iraq; IR IRN: Iran/Iran, Islamic Republic of/Islamic Republic
of Iran; IS ISL: Iceland; IT ITA: Italy/Italia/이탈리아; JE JEY: Jersey; JM JAM: Jamaica; JO JOR: Jordan; JP JPN:
Japan/日本/일본; KE KEN: Kenya; KG KGZ: Kyrgyzstan/Kyrgyz Republic; KH KHM: Cambodia; KI KIR: Kiribati; KM COM:
Comoros; KN KNA: St. Kitts and Nevis/Saint Kitts and Nevis; KP PRK: North Korea/Korea, Democratic People's Republic
of/Democratic People's Republic of Korea/Korea, North/DPRK; KR KOR: South Korea/Korea, Republic of/Korea/Republic of
Korea/Korea, South/ROK/대한민국/한국; KW KWT: Kuwait; KY CYM: Cayman Islands; KZ KAZ: Kazakhstan; LA LAO: Laos/Lao
People's Democratic Republic/Lao; LB LBN: Lebanon; LC LCA: St. Lucia/Saint Lucia; LI LIE: Liechtenstein; LK LKA: Sri
Lanka; LR LBR: Liberia; LS LSO: Lesotho; LT LTU: Lithuania; LU LUX: Luxembourg; LV LVA: Latvia; LY LBY: Libya/Libyan
Arab Jamahiriya; MA MAR: Morocco; MC MCO: Monaco; MD MDA: Moldova/Moldova, Republic of/Republic of Moldova; ME MNE:
Montenegro; MF MAF: St. Martin/Saint Martin (French part); MG MDG: Madagascar; MH MHL: Marshall Islands; MK MKD:
North Macedonia/Macedonia/Republic of Macedonia/FYROM; ML MLI: Mali; MM MMR: Myanmar/Myanmar (Burma)/Burma; MN MNG:
Mongolia; MO MAC: Macao/Macao SAR China/Macau; MP MNP: Northern Mariana Islands; MQ MTQ: Martinique; MR MRT:
Mauritania; MS MSR: Montserrat; MT MLT: Malta; MU MUS: Mauritius; MV MDV: Maldives; MW MWI: Malawi; MX MEX: Mexico;
MY MYS: Malaysia; MZ MOZ: Mozambique; NA NAM: Namibia; NC NCL: New Caledonia; NE NER: Niger; NF NFK: Norfolk Island;
NG NGA: Nigeria; NI NIC: Nicaragua; NL NLD: Netherlands/Holland/The Netherlands; NO NOR: Norway; NP NPL: Nepal; NR
NRU: Nauru; NU NIU: Niue; NZ NZL: New Zealand/Aotearoa; OM OMN: Oman; PA PAN: Panama; PE PER: Peru; PF PYF: French
Polynesia; PG PNG: Papua New Guinea; PH PHL: Philippines/The Philippines; PK PAK: Pakistan; PL POL: Poland; PM SPM:
St. Pierre and Miquelon/Saint Pierre and Miquelon; PN PCN: Pitcairn Islands/Pitcairn; PR PRI: Puerto Rico; PS PSE:
Palestinian Territories/Palestine, State of/Palestinian Territory/State of Palestine/Occupied Palestinian Territory/
Palestine; PT PRT: Portugal; PW PLW: Palau; PY PRY: Paraguay; QA QAT: Qatar; RE REU: Réunion; RO ROU: Romania; RS
SRB: Serbia; RU RUS: Russia/Russian Federation/Россия/러시아; RW RWA: Rwanda; SA SAU: Saudi Arabia; SB SLB: Solomon
Islands; SC SYC: Seychelles; SD SDN: Sudan; SE SWE: Sweden/Sverige; SG SGP: Singapore; SH SHN: St. Helena/Saint
Helena, Ascension and Tristan da Cunha; SI SVN: Slovenia; SJ SJM: Svalbard and Jan Mayen/Svalbard & Jan Mayen
Islands; SK SVK: Slovakia/Slovak Republic; SL SLE: Sierra Leone; SM SMR: San Marino; SN SEN: Senegal; SO SOM:
Somalia; SR SUR: Suriname; SS SSD: South Sudan; ST STP: São Tomé and Príncipe; SU SUN: Soviet Union/USSR/CCCP/Union
of Soviet Socialist Republics; SV SLV: El Salvador; SX SXM: Sint Maarten/Sint Maarten (Dutch part); SY SYR: Syria/
Syrian Arab Republic; SZ SWZ: Eswatini/Swaziland; TC TCA: Turks and Caicos Islands; TD TCD: Chad; TF ATF: French
Southern Territories; TG TGO: Togo; TH THA: Thailand; TJ TJK: Tajikistan; TK TKL: Tokelau; TL TLS: Timor-Leste/East
Timor; TM TKM: Turkmenistan; TN TUN: Tunisia; TO TON: Tonga; TP TMP: East Timor (until 2002); TR TUR: Turkey/
Türkiye; TT TTO: Trinidad and Tobago/Trinidad; TV TUV: Tuvalu; TW TWN: Taiwan/Taiwan, Province of China/Republic of
China/臺灣/台灣/대만; TZ TZA: Tanzania/Tanzania, United Republic of/United Republic of Tanzania; UA UKR: Ukraine; UG
UGA: Uganda; UM UMI: United States Minor Outlying Islands/U.S. Outlying Islands; US USA: United States/United States
of America/America/U.S. of A/The States/미국; UY URY: Uruguay; UZ UZB: Uzbekistan; VA VAT: Vatican City/Holy See
(Vatican City State)/Holy See/Vatican; VC VCT: St. Vincent and Grenadines/Saint Vincent and the Grenadines/St.
Vincent and the Grenadines; VE VEN: Venezuela/Venezuela, Bolivarian Republic of; VG VGB: British Virgin Islands/
Virgin Islands, British; VI VIR: U.S. Virgin Islands/Virgin Islands, U.S.; VN VNM: Vietnam; VU VUT: Vanuatu; WF WLF:
Wallis and Futuna/Wallis and Futuna Islands; WS WSM: Samoa; XC CSK: Czechoslovakia; XG: East Germany/German
Democratic Republic/GDR/DDR/DD; XI: Northern Ireland; XK XKX: Kosovo; YE YEM: Yemen; YT MYT: Mayotte; YU YUG:
Yugoslavia; ZA ZAF: South Africa; ZM ZMB: Zambia; ZR ZAR: Zaire; ZW ZWE: Zimbabwe
"""
# A country where it stands for a language: language and countries; …
_SPOKEN = """
en US GB AU NZ IE; ja JP; ko KR KP; zh CN TW; cn HK MO; cs CZ; da DK; el GR; vi VN; uk UA; he IL; fa IR; sr RS; sq
AL; tl PH; de DE AT; fr FR; it IT; es ES MX AR CL CO VE PE UY CU EC BO; pt PT BR; pl PL; sv SE; no NO; fi FI; is IS;
nl NL; hu HU; ro RO; bg BG; hr HR; sl SI; sk SK; et EE; lt LT; lv LV; ru RU SU; tr TR; th TH; id ID; ms MY; km KH;
lo LA; my MM; bn BD; ur PK; ne NP; ar EG SA MA DZ TN LB SY IQ JO AE; ka GE; hy AM; az AZ; kk KZ; mn MN; mk MK; sh
YU; am ET
"""
_MISTAKEN = {
    "br": "pt",
    "ee": "et",
    "kr": "ko",
    "se": "sv",
    "tw": "zh",
}  # small languages' codes that are countries', too
_TAG = re.compile(r"([a-z]{2,3})(?:[-_](?:arab|cyrl|hans|hant|latn))?(?:[-_]([a-z]{2}|\d{3}))?(?:[.@].*)?")


def _language_tag(word: str) -> tuple[str, ...]:
    """Read en-US, zh_Hans_CN and English (US); a country is read as its language, which `_language_doubt` tells."""
    tag = _TAG.fullmatch(fold(word))
    if tag and (tag[2] is None or tag[2].isdigit() or tag[2] in COUNTRY_WORDS.means):
        return LANGUAGE_WORDS.means.get(tag[1]) or _spoken_in(tag[1])
    name = re.sub(r"\s*\(.*\)$", "", word)
    return LANGUAGE_WORDS.means.get(_plain(name)) or _spoken_in(name)


def _spoken_in(country: str) -> tuple[str, ...]:
    (code,) = COUNTRY_WORDS.means.get(_plain(country), ("",))
    return (_SPOKEN_IN[code],) if code in _SPOKEN_IN else ()


def _language_doubt(word: str, meant: tuple[str, ...]) -> str:
    if word in LANGUAGE_WORDS.means and word not in _MISTAKEN:
        return ""
    code = fold(word)
    if code in _MISTAKEN:
        other = LANGUAGE_WORDS.show(_MISTAKEN[code])
        return f"{word!r} is read as {LANGUAGE_WORDS.shown[code]}; write {other} if that is meant"
    plain = re.split("[-_]", code)[0] if _TAG.fullmatch(code) else _plain(word)
    if meant and plain not in LANGUAGE_WORDS.means and _spoken_in(plain):
        return f"{word[:MOST_LETTERS]!r} is a country and is read as its language, {LANGUAGE_WORDS.show(meant[0])}"
    return ""


def _codes(table: str) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Read a table of codes and names: what each spelling means, and the name of each code."""
    means: dict[str, tuple[str, ...]] = {}
    shown = {}
    for entry in " ".join(table.split()).split("; "):
        codes, names = (part.split("/" if n else " ") for n, part in enumerate(entry.split(": ")))
        shown[codes[0]] = names[0].strip()
        means |= {_plain(spelling): (codes[0],) for spelling in codes + names} | {codes[0]: (codes[0],)}
    return means, shown


def _genres() -> dict[str, tuple[str, ...]]:
    means = {name: (name,) for name in (*_GENRES, *_BEYOND)}
    for name, spellings in (_GENRES | _BEYOND).items():
        means |= {_plain(spelling): (name,) for spelling in [name, *spellings.split("/")] if spelling}
    return means | {_plain(spelling): names for spelling, names in _SEVERAL.items()}


_SPOKEN_IN = {country: language for language, *countries in map(str.split, _SPOKEN.split(";")) for country in countries}
GENRE_WORDS = Vocabulary(
    _genres(), dict(zip(GENRES, GENRES, strict=True)), "write TMDB's name, such as Drama", _genre_phrase, _genre_doubt
)
LANGUAGE_WORDS = Vocabulary(
    *_codes(_LANGUAGES), "write its code of ISO 639-1, such as en", _language_tag, _language_doubt
)
COUNTRY_WORDS = Vocabulary(*_codes(_COUNTRIES), "write its code of ISO 3166-1, such as US")
# raw field -> its words
WORDS = {
    "genres": GENRE_WORDS,
    "original_language": LANGUAGE_WORDS,
    "spoken_languages": LANGUAGE_WORDS,
    "production_countries": COUNTRY_WORDS,
}
