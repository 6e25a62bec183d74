"""What a message says about items: liked, disliked, seen, not seen, wanted. Rules on clauses; titles are masked first.

Knows words and mentions; knows no person and no store. A model may be asked about the clauses that the rules leave open
(see `judge`), by choosing one of three words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from agent.ask import Ask
from agent.chat.titles import Mention, lexicon
from agent.types import Language

Stance = Literal["liked", "disliked", "seen", "unseen", "wanted", "like_it", "open"]
"""`like_it`: something like it is asked for, which says that it was liked. `open`: named, and nothing said of it."""

HIDDEN = "\ue000"
"""Stands where a title stood, so that its words are not read as an opinion."""
MOST_QUOTE = 300
"""Characters of a message that are kept as the receipt of an opinion."""
CHOICES = ("liked", "disliked", "neither")
NOTHING = {"en": "N/A", "zh": "无"}
"""What the model says about it is bias, and is taken off (see persona.reading)."""
SURE = 0.6
"""Share of belief from which on the model's word counts."""

BORDER = re.compile(
    r"(?:,\s*(?:and\s+)?|\s+and\s+)(?=\ue000+\s*(?:was|is|wasn't|isn't|bored)\b)|"
    r"[.!?;…\n]+|[。！？；，]|,?\s+\b(?:but|though|although|however|whereas|while|except|unfortunately)\b"
    r"|,\s*(?=(?:i|it|he|she|we|they|that|this|my|not|never|and i|so i|thanks|yes|no)\b)"
    r"|\s+\band\s+(?=(?:i|we|my|it|(?:really |absolutely )?"
    r"(?:hate[ds]?|disliked?|loved?|liked|enjoyed|can'?t stand|didn'?t))\b)"
    r"|\s+(?=(?:have|did) you\b)|(?:但是|不过|但|可是|然而|而且)",
    re.IGNORECASE,
)
LEFT_OVER = re.compile(r"[\s,]+(?:and|but|though|although|however|whereas|while|except)$", re.IGNORECASE)
"""What a quote need not end with."""
RUN_ON = re.compile(r"(?<=[a-z\ue000]) (?=I(?:'m|'ve|'ll|'d|m|ve)?\b)")
"""A sentence that begins without a full stop before it, unless the word before it goes on (`Lexicon.running`)."""
NOT = (
    r"(?:not|n't|never|nor|hardly|barely|without|didnt|dont|doesnt|wasnt|isnt|cant|couldnt|wouldnt|werent|arent|aint"
    r"|havent|hasnt|hadnt)"
)
GOOD = re.compile(
    r"\b(?:lov(?:e|es|ed|ing)|lik(?:ed|es)|en?j?oy\w*|ador(?:e|ed)|fav(?:e|s|es|ou?rites?|ou?rite)?|fan"
    r"|fans|great|good|gr8"
    r"|amazing|awesome|excellent|fantastic|hilarious|funny|best|wonderful|brilliant|classics?|masterpiece"
    r"|perfect|fun|cool"
    r"|superb|incredible|beautiful|solid|cute|nice|entertaining|recommend|underrated|glad|hysterical|outstanding|epic"
    r"|interesting|laughed|crack(?:s|ed)? me up|well done|well made|twice)\b",
    re.IGNORECASE,
)
LIKING = re.compile(
    r"(?:\b(?:i|we|you|they|kids?|he|she|wife|husband|who|to|also|really|do|did|both|always|actually"
    r"|generally|kinda|never"
    r"|not|dont|didnt|doesnt|cant)|n't)"
    r"(?:\s+(?:really|also|do|did|absolutely|just|always|kind of|kinda|quite|sort of|particularly|much|even))*"
    r"\s+(like)\b(?!\s+(?:to\b|some\b|a\s+(?:good|recommend)|you to|if))|^\W*(like)d?\s+(?:it|that|them|this|those)\b",
    re.IGNORECASE,
)
"""A verb only behind somebody who does: not in "movies like", "looks like", "would like"."""
BAD = re.compile(
    r"\b(?:hat(?:e|ed|es)|dislik(?:e|ed|es)|boring|bored|terrible|awful|horrible|bad|worst|worse|suck(?:s"
    r"|ed)|stupid|dumb|lame"
    r"|overrated|dis+ap+oint\w*|waste|crap(?:py)?|garbage|trash|meh|ugh|yuck|let ?down|ruined|annoying"
    r"|weak|least fav\w*"
    r"|can'?t stand|couldn'?t (?:get into|finish|stand)|fell asleep|walked out|turned it off|not for me"
    r"|mediocre|cheesy|corny"
    r"|unwatchable|dull|pointless|rather not|pass on|a bit much|not (?:really )?(?:my|into)\b"
    r"|not (?:\w+ )?(?:interested|fond)"
    r"|(?:is|was|are|were|seem(?:s|ed)?|bit|little|way|just|looks?|felt|it's)\s+too\s+\w+"
    r"|too (?:\w+ )?(?:long|slow|scary|violent|gory|silly|much|weird|dark|sad|old|gross|predictable|childish|serious"
    r"|confusing))\b",
    re.IGNORECASE,
)
NEGATED = re.compile(
    rf"(?:\b{NOT}|n't|\bno(?=\s+(?:good|fun|fan|great)))\b[\s,]+(?:(?!i\b|it\b|he\b|she\b|we\b)[\w']+\s+){{0,3}}?$",
    re.IGNORECASE,
)
NICE = r"(?:good|great|fun|funny|cool|nice|interesting|awesome|classic|best|hilarious|bad|scary)"
DENIED = re.compile(
    r"\b(?:never|did(?:n'?t| not)|have(?:n'?t| not) ever) (?:ever )?(?:say|said|told|tell|claim(?:ed)?|mention(?:ed)?"
    r"|meant?)\b|没(?:有)?说过?",
    re.IGNORECASE,
)
"""What comes behind it was not said: "I never said I liked westerns"."""
UNDONE = re.compile(
    r"\bhave a (?:\w+ ){0,2}(?:day|night|evening|weekend|one|time|morning|afternoon)\b"
    r"|\b(?:good|great|nice) (?:day|night|evening|morning|afternoon|one|time|luck|weekend|bye)\b"
    r"|\b(?:looking for|want(?:ed)?|in the mood for|watch|see|suggest|recommend|find|know(?: of)?|need"
    r"|any|some|other|more"
    r"|another|hoping for|got)(?: (?:me|us|to|a|an|any|some|really|watch|see|for|another|other|more)){0,4} "
    + NICE
    + r"\b"
    r"|(?:\bnot|n't) (?:\w+ )?as (?:good|great|funny|scary|bad) as\b"
    r"|\bnot (?:only|just)\b|\b(?:who|what) (?:does|did|would)n'?t\b|\bcan(?:'?t|not) (?:beat|go wrong|help|wait)\b"
    r"|\bno (?:problem|doubt|worries)\b|\bnever (?:gets old|get tired|fails)|\bwhy not\b|\bnot sure\b|\bbad[- ]?ass\b"
    r"|\blove(?:s|d)? (?:terrible|bad|dumb|stupid|cheesy|awful)\b",
    re.IGNORECASE,
)
"""Looks like an opinion and is a greeting, a request or a figure of speech."""
FELL_SHORT = re.compile(
    r"\b(?:care(?:d)? for|into it|get into|impressed|scary enough"
    r"|my (?:thing|type|style|taste|cup|kind|favou?rite|fave|genre))\b",
    re.IGNORECASE,
)
LISTED = re.compile(rf"(?:{HIDDEN}(?:\s*,?\s*(?:and|or|&)\s+|\s*[,/]\s*))+$", re.IGNORECASE)
"""Titles before one in a list of them: what was said before the first holds for it, too."""
UNSEEN = re.compile(
    r"\b(?:have(?:n't| not|nt|n;t|en't)|hav(?:e|ent)? ?n'?t|has(?:n't| not)|had(?:n't| not|nt)|never"
    r"|didn'?t|did not|not|n't|yet to|still (?:need|have|want) to)"
    r"\s+(?:\w+\s+){0,3}?(?:see|seen|saw|watch|watched|heard|hear|know|knew|familiar|been able|gotten|got)\b"
    r"|\bno,?\s+i\s+have(?:n't|nt| not)|\bi\s+have(?:n't|nt)\b(?!\s+\w+ed)|\bnot (?:yet|seen)\b"
    r"|\bnever (?:seen|watched|heard)\b|\bunfamiliar\b",
    re.IGNORECASE,
)
WANTED = re.compile(
    r"\b(?:sounds?|looks?|seems?)\s+(?:\w+\s+){0,2}?(?:good|great|interesting|fun|funny|cool|awesome"
    r"|amazing|nice|perfect|like|hilarious|intriguing|right up|promising|neat|fantastic|wonderful)\b"
    r"|\bcheck\s+(?:\S+\s+){0,4}?out\b|\bcheck into\b|\bgive\s+(?:it|that|those|them|this)\s+a\s+(?:try"
    r"|go|shot|watch|look)\b|\blook (?:it|that|into|for)\b"
    r"|\b(?:will|i'?ll|gonna|going to|have to|need to|should|must|want(?:ed)? to|love to|like to"
    r"|plan(?:ning)? to|dying to|wanting to|try(?:ing)? to)\s+(?:\w+\s+){0,2}?(?:see|watch|try|rent|find|check"
    r"|add|rewatch|get)\b"
    r"|\badd(?:ing|ed)?\s+(?:\w+\s+){0,3}?(?:list|queue)\b|\b(?:can'?t|cannot) wait\b|\bon my (?:list"
    r"|watch)|\binterested in (?:seeing|watching)"
    r"|\b(?:great|good|awesome|excellent|perfect|nice|wonderful|fantastic)\s+(?:suggestion|recommendation"
    r"|choice|idea|pick|call)s?\b|\bup my alley\b|\bheard (?:\w+\s+){0,3}?(?:good|great)\b"
    r"|想看|听起来|会去看|有兴趣|感兴趣",
    re.IGNORECASE,
)
SEEN = re.compile(r"\b(?:seen|saw|watched|rewatched|remember|grew up)\b|看过|看了", re.IGNORECASE)
AGAINST_SUCH = re.compile(
    rf"\b(?:hate|dislike|can'?t stand|tired of|nothing|(?:{NOT}|n't)\s+(?:\w+\s+){{0,3}}?(?:like|into|fan"
    rf"|fond|enjoy|want|anything))\b",
    re.IGNORECASE,
)
LIKE_IT = re.compile(
    r"^[^\w\ue000]*(?:(?:maybe|kinda|just|and|or|so)\s+)?like\s*$|"
    r"\b(?:something|anything|movies?|films?|ones?|more|stuff|things?|others?|comed(?:y|ies)|thrillers?"
    r"|dramas?|books?|shows?|genre|along)\b"
    r"[^.!?" + HIDDEN + r"]{0,40}\b(?:like|similar to|such as|as good as"
    r"|along the lines of|in the vein of|kind of like|same as)\b[^.!?]*$"
    r"|\b(?:similar to|reminds? me of|(?:as|so) (?:good|funny|scary|great) as|in the vein of"
    r"|along the lines of|such as|a la)\b[^.!?]*$"
    r"|(?:类似|像|跟|和)\s*[《“\"]?$",
    re.IGNORECASE,
)
GOOD_ZH = re.compile(r"喜欢|喜爱|最爱|爱看|好看|不错|很棒|精彩|经典|有意思|太好|超赞|很赞|好听|好用|满意|推荐过")
BAD_ZH = re.compile(
    r"讨厌|难看|无聊|失望|太长|太慢|太吓人|太血腥|不行|很烂|烂片|糟糕|一般般|反感|受不了|没意思|难听|难用|太差|很差"
)
NOT_ZH = re.compile(r"(?:不|没|没有|不太|不怎么|并不|不是很|没那么)(?:太|很|是|怎么|那么|觉得)?$")
UNSEEN_ZH = re.compile(r"没(?:有)?(?:看|听|读|玩|用)过|还没看|没听说过|不知道")
AGAINST_SUCH = re.compile(
    rf"\b(?:hate|dislike|can'?t stand|tired of|(?:{NOT}"
    rf"|n't)\b\s+(?:\w+\s+){{0,3}}?(?:like|into|fan|enjoy|want))\b",
    re.IGNORECASE,
)
QUESTION = re.compile(
    r"^[^\w\ue000]*(?:(?:and|so|but|ok|oh|well|hmm|hey|hi|also|or|yes|no)[\s,]+)*(?:have you|has|did you"
    r"|do you|does|is|are|was|were|what|who|how|when|where|which|would you|could you|"
    r"can you|any|got)\b",
    re.IGNORECASE,
)
ALL = re.compile(
    r"\b(?:both|all(?! (?:the |his |her |of (?:his|her|their) )?(?:\w+ )?"
    r"(?:movies?|films?|books?|kinds?|sorts?|day|night|time|ages?)\b)"
    r"|them|those|these|they(?:'re| are| were| all| both| look| sound| seem)|each|every|everything|two|three)\b"
    r"|都|它们|这些|那些",
    re.IGNORECASE,
)
ELSEWHERE = re.compile(
    r"\b(?:lik(?:e|es|ed)|lov(?:e|es|ed)|hat(?:e|es|ed)|enjoy(?:s|ed)?|prefer|dislikes?|fans? of|into"
    r"|care for|fond of)\s+"
    r"(?:(?:a|an|some|any|most|more|the|my|his|her|good|really|anything|watching)\s+)*"
    r"(?!(?:a|an|the|some|any|most|my|his|her|good|really|anything|watching|it|that|this|them|those|these"
    r"|both|all|one|ones|movie|movies|film|films|book|first|second|third|last|how|so|very|much"
    r"|and|or|to|too|a lot|lots?|as|well|every|each|either|original|new|old|newer|series|more|better|when"
    r"|until|because|lol"
    r"|ending|story|acting|plot|characters?|cast|music|idea|suggestions?|show|game|album|song|item)\b)\w+"
    r"|(?:喜欢|讨厌|爱看)(?!它|这|那|第|过|的)[\u4e00-\u9fff]",
    re.IGNORECASE,
)
"""A liking whose object stands in the clause, and is no item: "I like dry jokes" says nothing about the last film."""
FIRST = {"first": 0, "1st": 0, "second": 1, "2nd": 1, "third": 2, "3rd": 2, "fourth": 3, "4th": 3, "fifth": 4, "5th": 4}
ORDINAL = re.compile(
    r"\b(?:the\s+)?(first|second|third|fourth|fifth|1st|2nd|3rd|4th|5th|last)"
    r"(?!\s+(?:\d+\s+)?(?:hours?|minutes?|half|times?|parts?|scenes?|season|night|year|week)\b)(?:\s+(?:one|movie|film|book"
    r"|item|two|three|\d))?\b"
    r"|(?:#|\bno\.?|\bnumbers?|\bnr\.?|\bitem|\bcard|第)\s*(\d{1,2}|[一二三四五])",
    re.IGNORECASE,
)
NUMBERS = re.compile(
    r"(?:\b(?:seen|saw|watched|know|like|liked|love|loved|hate|hated|dislike|disliked|enjoyed)\s+(?:both\s+)?"
    r"(?:numbers?\s+|#\s?)?|(?:看过|看了|喜欢|讨厌)\s*第?)(?P<places>[1-9]"
    r"(?:\s*(?:,\s*(?:and\s+)?|and\s+|&\s*|[和、])\s*[#第]?[1-9])*)(?![\w:%/]|[.]\d|\s*(?:stars?|times?|hours?|minutes?"
    r"|films?|movies?|books?|of|or|years?|days|weeks|months|seasons?|episodes?|parts?|more|out|[个部次遍小分天年])\b)",
    re.IGNORECASE,
)
"""Places of the list behind what somebody did with them: "I have seen 1 and 3"."""
ZH_DIGITS = {"一": 1, "二": 2, "三": 3, "四": 4, "五": 5}
SINGULAR = re.compile(r"\b(?:it|that|this|that one|this one|one)\b|它|这部|那部|这个|那个", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What somebody said of one item."""

    item: str
    stance: Stance
    quote: str
    """The words that say it, verbatim in the message."""
    sure: bool = True
    """False: which item is meant, or what is said of it, is a guess."""
    by: Literal["rules", "model"] = "rules"


@dataclass(frozen=True, slots=True)
class Clause:
    """A part of a message with one attitude."""

    start: int
    end: int
    text: str
    """With every title hidden."""
    mentions: tuple[Mention, ...]
    asks: bool
    """It is a question."""


def opinions(text: str, mentions: Sequence[Mention], focus: Sequence[str] = (), *, last: bool = False) -> list[Opinion]:
    """The opinions in `text`, one an item, the last word about it.

    `focus`: the items that were talked about just before, in the order shown: "it", "both", "the second one".
    `last`: "it" means the last of several (people name them one by one) instead of leaving it open.
    """
    found: dict[str, Opinion] = {}
    before: tuple[str, ...] = tuple(focus)
    own: tuple[str, ...] = ()
    for clause in clauses(text, mentions):
        quote = LEFT_OVER.sub("", text[clause.start : clause.end].strip())[:MOST_QUOTE]
        stance = attitude(clause.text)
        named = tuple(dict.fromkeys(one.item for one in clause.mentions))
        if named:
            own = named
            sure = {one.item for one in clause.mentions if one.sure}
            for mention in clause.mentions:
                said = stance_of(clause, mention, stance)
                add(found, Opinion(mention.item, said, quote, mention.item in sure))
        elif stance != "open" and not clause.asks and points_back(clause.text):
            meant, sure = referred(clause.text, own or before, last=last or bool(own))
            for item in meant:
                add(found, Opinion(item, stance, quote, sure))
    return list(found.values())


def points_back(clause: str) -> bool:
    """Whether an opinion without a title can be about what was talked about."""
    return bool(NUMBERS.search(clause)) or not ELSEWHERE.search(clause)


def add(found: dict[str, Opinion], new: Opinion) -> None:
    """The last word counts, but nothing said does not take back what was said before it."""
    rank: Mapping[Stance, int] = {
        "open": 0,
        "seen": 1,
        "unseen": 1,
        "like_it": 2,
        "wanted": 2,
        "liked": 3,
        "disliked": 3,
    }
    old = found.get(new.item)
    if old is None or rank[new.stance] >= rank[old.stance]:
        found[new.item] = new


def hidden(text: str, mentions: Sequence[Mention]) -> str:
    """`text` with every letter of a title HIDDEN."""
    masked = list(text)
    for one in mentions:
        masked[one.start : one.end] = [HIDDEN] * (one.end - one.start)
    return "".join(masked).replace("’", "'")


def clauses(text: str, mentions: Sequence[Mention]) -> list[Clause]:
    """`text` cut where the attitude may change; a border inside a title is none."""
    masked = hidden(text, mentions)
    marks = {match.end(): match[0] for match in BORDER.finditer(masked)}
    for match in RUN_ON.finditer(masked):
        if masked[: match.start()].rpartition(" ")[2].lower() not in lexicon().running:
            marks.setdefault(match.end(), "")
    cuts = [0, *sorted(marks), len(text)]
    found = []
    for start, end in pairwise(cuts):
        part = re.sub(f"{HIDDEN}+", HIDDEN, masked[start:end])
        if not part.strip(" .!?,;\n"):
            continue
        inside = tuple(one for one in mentions if start <= one.start < end)
        ends = marks.get(end, "")
        asks = bool(QUESTION.match(part)) or (not inside and ("?" in ends or "？" in ends))
        found.append(Clause(start, end, part, inside, asks))
    return found


def attitude(clause: str) -> Stance:
    """What a clause with hidden titles says of what it is about."""
    denied = DENIED.search(clause)
    text = UNDONE.sub(" ", clause[: denied.start()] if denied else clause)
    praise = [match.start() for match in GOOD.finditer(text)]
    praise += [match.start(1) if match[1] else match.start(2) for match in LIKING.finditer(text)]
    bad = any(not flipped(text, match.start()) for match in BAD.finditer(text))
    flipped_bad = any(flipped(text, match.start()) for match in BAD.finditer(text))
    good = any(not flipped(text, place) for place in praise)
    flipped_good = any(flipped(text, place) for place in praise)
    flipped_good |= bool(re.search(rf"(?:\b{NOT}|n't)\b", text, re.IGNORECASE) and FELL_SHORT.search(text))
    good |= any(not NOT_ZH.search(text[: match.start()]) for match in GOOD_ZH.finditer(text))
    bad |= bool(BAD_ZH.search(text)) or any(NOT_ZH.search(text[: match.start()]) for match in GOOD_ZH.finditer(text))
    unseen = bool(UNSEEN.search(text) or UNSEEN_ZH.search(text))
    if WANTED.search(text) and not (bad or flipped_good):
        return "wanted"
    if unseen and not (bad and not flipped_bad):
        return "unseen"
    if bad or flipped_good:
        return "disliked"
    if good or flipped_bad:
        return "liked"
    return "seen" if SEEN.search(text) else "open"


def flipped(text: str, place: int) -> bool:
    return bool(NEGATED.search(text[:place]))


def stance_of(clause: Clause, mention: Mention, stance: Stance) -> Stance:
    """What the clause says of this one mention in it."""
    count = sum(one.start < mention.start for one in clause.mentions)
    place = [match.start() for match in re.finditer(HIDDEN, clause.text)]
    before = LISTED.sub("", clause.text[: place[count]] if count < len(place) else clause.text)
    if re.search(r"\bthan\s*$", before, re.IGNORECASE):
        return "open"
    if LIKE_IT.search(before) and not flipped(before, len(before)) and not AGAINST_SUCH.search(before):
        return "like_it"
    if clause.asks:
        return "open"
    return stance


def referred(clause: str, focus: Sequence[str], *, last: bool) -> tuple[tuple[str, ...], bool]:
    """Which of the items talked about a clause without a title means, and whether that is sure."""
    if not focus:
        return (), False
    if match := NUMBERS.search(clause):
        places = [int(digit) - 1 for digit in re.findall(r"\d", match["places"])]
        return tuple(focus[place] for place in places if place < len(focus)), True
    if (match := ORDINAL.search(clause)) and len(focus) > 1:
        chosen = numbered(match, len(focus))
        if chosen is not None:
            return (focus[chosen],), True
    if len(focus) == 1:
        return (focus[0],), True
    if re.search(r"\bboth\b|两部|两个", clause, re.IGNORECASE):
        return (tuple(focus), True) if len(focus) == 2 else (tuple(focus) if last else (), False)
    if ALL.search(clause):
        return tuple(focus), True
    if last:
        return (focus[-1],), False
    return (), False


def numbered(match: re.Match[str], count: int) -> int | None:
    """The place that "the second one" or "#2" names, from 0; None where there are not so many."""
    word, digits = match.group(1), match.group(2)
    if word:
        place = count - 1 if word.lower() == "last" else FIRST[word.lower()]
    else:
        place = (ZH_DIGITS.get(digits) or int(digits)) - 1
    return place if 0 <= place < count else None


def judge(found: Sequence[Opinion], text: str, ask: Ask, language: Language) -> list[Opinion]:
    """`found` with what the rules left open or only called seen decided by the model, where it is sure of it.

    Raises LLMError.
    """
    doubtful = [one for one in found if one.stance in ("open", "seen")]
    if not doubtful:
        return list(found)
    quotes = list(dict.fromkeys(one.quote for one in doubtful))
    replies = ask.choose(
        "opinion",
        [{"message": NOTHING[language]}, *({"message": quote} for quote in quotes)],
        CHOICES,
        language=language,
    )
    bias, rows = replies[0].value, [reply.value for reply in replies[1:]]
    said = {quote: decided(row, bias) for quote, row in zip(quotes, rows, strict=True)}
    return [
        replace(one, stance=stance, by="model") if one in doubtful and (stance := said[one.quote]) else one
        for one in found
    ]


def decided(row: Sequence[float], bias: Sequence[float]) -> Stance | None:
    """The stance that the model believes in, its bias for a word divided out; None where it is not sure."""
    lifted = [math.exp(max(a, -30.0) - max(b, -30.0)) for a, b in zip(row, bias, strict=True)]
    shares = [one / sum(lifted) for one in lifted]
    best = shares.index(max(shares))
    if shares[best] < SURE or CHOICES[best] == "neither":
        return None
    return "liked" if best == 0 else "disliked"
