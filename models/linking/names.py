"""Names as people write them in Indian English and elsewhere: tokens, the sounds behind spellings, short forms.

A spelling is compared at three depths: as written, as it sounds (`sound`), and by its consonants only
(`skeleton`, for finding candidates). The rules fold what the same name becomes when it is carried from an
Indian script into Latin letters: length of vowels (ee/i, oo/u, aa/a), aspiration (dh/d, th/t, sh/s), w/v,
z/j, x/ks, doubled letters, a final -a or -h. They are ours; the families below are common knowledge.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

TOKENS_MAX: Final = 12
"""Tokens kept of a name or an address; more is a text that somebody pasted."""

BEFORE: Final = (
    "mr mrs ms miss dr prof sir lady lord rev shri shree sri smt shrimati sushri janab thiru tmt selvi er adv "
    "capt col maj"
)
"""Words before a name that name nobody. `kumari` is not one of them: for many it is the last name."""
AFTER: Final = "ji saheb sahib sahab garu esq"

RELATION: Final = re.compile(
    r"\b([swdc])\s*/\s*o\b.*|\b(son|wife|daughter)\s+of\b.*", re.IGNORECASE
)
"""`Anil Kumar S/o Ram Kumar`: what follows is somebody else."""

FAMILIES: Final = (
    # One name that many people write in many ways, beyond what the rules of `sound` fold.
    "mohammed mohammad mohamed mohamad muhammad muhammed muhamed mohd mohmmad mohammed mohamud mhd md muhd",
    "ahmed ahmad ahamed ahmet ahammed",
    "sheikh shaikh shaik sheik shekh sk",
    "syed sayed sayyid saiyed sayyed said saiyid",
    "abdul abdool abd",
    "hussain hussein husain hossain hosain hussen",
    "rahman rehman rahaman rehaman",
    "chaudhary chaudhari choudhary choudhury chowdhury chaudhuri chowdary choudhari chaudhry choudry",
    "kumar kumaar kr",
    "prasad parsad pershad prashad pd",
    "mukherjee mukerji mukherji mukhopadhyay mukharji",
    "banerjee banerji bannerji bandyopadhyay bandopadhyay",
    "chatterjee chatterji chattopadhyay chattarji",
    "ganguly ganguli gangopadhyay",
    "bhattacharya bhattacharjee bhattacharyya bhattacharji",
    "roy ray roi",
    "das dass daas",
    "aggarwal agarwal agrawal aggrawal agarwala",
    "iyer iyyer aiyar ayyar",
    "iyengar ayyangar aiyangar iyangar",
    "nayar nair naiyar",
    "reddy reddi redy",
    "naidu nayudu naydu",
    "pillai pillay pillei",
    "singh sing sinh singha",
    "lakshmi laxmi luxmi lakshami laxami lakhmi",
    "lakshman laxman lachman lakshmanan laxmanan",
    "krishna krishnaa kishan krisna krushna",
    "vishnu bishnu visnu",
    "venkatesh venkatesha venkates vengatesh",
    "srinivas srinivasan shrinivas sreenivas shriniwas srinivasa",
    "subramaniam subramanian subramanyam subrahmanyam subramanya",
    "jagannath jagannatha jagarnath",
    "yusuf yousuf yousaf yosuf",
    "ibrahim ebrahim",
    "fatima fathima fatema fatma",
    "aisha ayesha aayesha aysha",
    "khatun khatoon",
    "begum begam begom",
    "bibi beebi bb",
)

NICKNAMES: Final = (
    # English short forms that are not merely the first letters of the name.
    "william bill will billy willie liam", "robert bob rob bobby robin", "richard dick rick ricky rich",
    "john jack johnny jon jonny", "james jim jimmy jamie", "edward ed ted eddie ned teddy",
    "henry harry hal hank", "charles charlie chuck chas", "thomas tom tommy", "joseph joe joey",
    "francis frank fran", "frederick fred freddie freddy", "margaret maggie meg peggy madge greta",
    "elizabeth liz beth betty bess lizzie eliza elsie libby", "mary molly polly may", "sarah sally sadie",
    "catherine kate kitty cathy katie kathleen katherine kathy", "anne ann nancy annie nan anna",
    "dorothy dot dolly", "george geordie", "albert bert al", "alfred alf fred", "alexander alex sandy alec",
    "andrew andy drew", "anthony tony", "arthur art", "benjamin ben", "christopher chris kit",
    "daniel dan danny", "david dave davy", "donald don", "ernest ernie", "eugene gene", "gerald gerry jerry",
    "gregory greg", "harold harry hal", "helen nell nellie ellen", "isabella bella isabel", "jacob jake",
    "jane jenny janet", "jennifer jenny", "jonathan jon", "joshua josh", "lawrence larry laurence",
    "leonard len lenny", "louis lou louie lewis", "martha patty", "matthew matt", "michael mike mick mickey",
    "nathaniel nat nathan", "nicholas nick", "patrick pat paddy", "peter pete", "philip phil",
    "raymond ray", "rebecca becky", "ronald ron", "samuel sam", "stephen steve steven", "susan sue susie",
    "terence terry", "theodore ted theo", "timothy tim", "victoria vicky", "vincent vince", "walter walt wally",
    "winifred winnie", "zachary zach",
)  # fmt: skip

_WORD: Final = re.compile(r"[^\W\d_]+|\d+")
_FOLDS: Final = tuple(
    (re.compile(found), becomes)
    for found, becomes in (
        (r"ksh|x", "ks"), (r"gya?n|dny", "gn"), (r"ph", "f"), (r"zh", "l"), (r"ck|q|c(?!h)", "k"),
        (r"chh?", "c"),
        (r"(?<=[bdgjkpst])h", ""), (r"w", "v"), (r"z", "j"), (r"(?<=[aeiou])h(?![aeiou])", ""),
        (r"ee+|ea|ii|ie", "i"), (r"oo+|uu", "u"), (r"aa+", "a"), (r"ai|ay|ei|ey", "e"),
        (r"au|ou|av(?=[^aeiou]|$)|ov(?=[^aeiou])", "o"),
        (r"y", "i"), (r"(.)\1+", r"\1"), (r"(?<=..)[ah]$", ""),
    )
)  # fmt: skip
_BEFORE: Final = frozenset(BEFORE.split())
_AFTER: Final = frozenset(AFTER.split())
_VOWELS: Final = re.compile("[aeiouhn]")


class Name(NamedTuple):
    """A name in its parts, each a token or several in the order of writing; "" where there is none."""

    given: str
    surname: str
    others: tuple[str, ...]


def fold(text: str) -> str:
    """`text` in lower case, with marks taken off letters, and nothing that no reader sees."""
    if text.isascii():
        return text.lower().strip()
    taken = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in taken if not unicodedata.combining(c) and c.isprintable()).strip()


def words(text: str) -> list[str]:
    """The words and numbers of a text, folded."""
    return _WORD.findall(fold(text).replace("'", ""))[:TOKENS_MAX]


@lru_cache(maxsize=1 << 17)
def sound(token: str) -> str:
    """What a spelling sounds like: spellings of one name have one sound."""
    token = _FAMILY.get(token, token)
    if not token.isalpha() or len(token) < 2:
        return token
    for found, becomes in _FOLDS:
        token = found.sub(becomes, token)
    return token


@lru_cache(maxsize=1 << 17)
def skeleton(token: str) -> str:
    """The first sound and the consonants after it, for finding candidates."""
    full = formal(token)
    heard = sound("j" + full[1:] if full.startswith("y") else full)
    return (heard[:1] + _VOWELS.sub("", heard[1:])).replace("b", "v")


def formal(token: str) -> str:
    """The full form of an English short form, and of a family of spellings; else the token."""
    return _FAMILY.get(token, _FORMAL.get(token, token))


def _heads(groups: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for group in groups:
        head, *rest = group.split()
        found.setdefault(head, head)
        for each in rest:
            found.setdefault(each, head)
    return found


_FAMILY: Final = _heads(FAMILIES)
_FORMAL: Final = _heads(NICKNAMES)


def parse(given: str, middle: str, surname: str, full: str) -> Name:
    """A name from its columns, any of which may be empty. `Sharma, Anil` is turned around.

    A column of the full name adds the tokens that the others do not have.
    """
    first, last = _tokens(given), _tokens(surname)
    others = _tokens(middle)
    if full:
        before, comma, after = full.partition(",")
        whole = _tokens(after) + _tokens(before) if comma and after.strip() else _tokens(full)
        if not first and not last and whole:
            first, last = whole[:-1], whole[-1:]
            if not first:
                first, last = last, []
            whole = []
        known = {*first, *last, *others}
        others += [token for token in whole if token not in known]
    head = first[:1]
    tail = last[-1:]
    rest = first[1:] + others + last[:-1]
    return Name("".join(head), "".join(tail), tuple(dict.fromkeys(rest)))


def _tokens(text: str) -> list[str]:
    found = words(RELATION.sub("", text)) if text else []
    first, last = 0, len(found)
    while last - first > 1 and found[first] in _BEFORE:
        first += 1
    while last - first > 1 and found[last - 1] in _AFTER:
        last -= 1
    return found[first:last]
