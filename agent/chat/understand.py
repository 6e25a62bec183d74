"""One message understood: what its writer wants done, of which items, and what it says about them and their tastes.

Rules in English and Chinese; a model, where there is one, is asked only what the rules leave open, and only by choosing
among given answers. Knows titles, opinions and wishes; knows no person and no store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agent.ask import Ask
from agent.chat import wishes as wishing
from agent.chat.opinions import (
    DENIED,
    HIDDEN,
    MOST_QUOTE,
    NUMBERS,
    ORDINAL,
    Opinion,
    attitude,
    clauses,
    hidden,
    judge,
    numbered,
    opinions,
)
from agent.chat.titles import Mention, Titles
from agent.chat.wishes import Catalogue, Wish
from agent.errors import LLMError
from agent.persona.reading import CJK
from agent.sensitive import sensitive
from agent.types import Item, Language, Polarity

Intent = Literal["ask", "refine", "more", "why", "about", "me", "compare", "tell", "correct", "undo", "chat"]

UNDO = re.compile(
    r"^\W*(?:please\s+)?(?:(?:forget|undo|ignore) (?:the|my) last (?:thing|one|message|bit|part|sentence|change)"
    r"|forget (?:that|it|this|about (?:that|it)|what i (?:just )?said)|undo"
    r"|never\s?mind(?: that)?|scratch that"
    r"|take (?:that|it) back|ignore that|i take (?:that|it) back)\b"
    r"|^\W*(?:忘了(?:吧|它|这个)?|忘掉|撤销|当我没说|收回|算了)",
    re.IGNORECASE,
)
WHY = re.compile(
    r"^\W*(?:but |and |so )?why\b(?! not\b)|\bwhy (?:this|that|did you|do you|would i|should i|number|#"
    r"|the)\b|\bexplain\b|\bwhat makes you"
    r"|\bhow come\b|为什么|为啥|理由|凭什么",
    re.IGNORECASE,
)
WHY_NOT = re.compile(r"^\W*(?:but |and |so )?why not\b|为什么不|为什么没有?推荐", re.IGNORECASE)
"""Asks why only where a title follows; "why not?" agrees."""
THIS_ONE = (
    rf"(?:{HIDDEN}|(?:the )?(?:first|second|third|fourth|fifth|last)|numbers? \d|#? ?\d|it|they|this|that|th[eo]se)"
    r"(?: (?:one|two|film|movie|book)s?)?"
)
THIS_ONE_ZH = rf"(?:{HIDDEN}|它|这部|那部|这个|那个|第.部?)"
ABOUT = re.compile(
    rf"\bwhat(?:'s|s| is| was| are| were)? {THIS_ONE}(?: all)? about\b"
    rf"|\bwhat (?:happens in|(?:is|was|'s) the (?:plot|story) of) {THIS_ONE}"
    rf"|\b(?:tell me (?:more )?|more )about {THIS_ONE}\W*$|\bdescribe {THIS_ONE}\W*$"
    rf"|\bwho (?:made|directed|wrote|is in|(?:stars|starred|plays|acts) in) {THIS_ONE}"
    rf"|\b(?:when|what year) (?:was|is|did) {THIS_ONE} (?:made|from|released|come out)\b"
    rf"|\bhow (?:long|old|expensive) (?:is|are) {THIS_ONE}\W*$"
    rf"|{THIS_ONE_ZH}\S{{0,4}}(?:讲(?:的是|了|的)?什么|说的是什么|是关于什么|多长|是谁(?:导|拍|写)|哪年的)"
    rf"|介绍一下{THIS_ONE_ZH}",
    re.IGNORECASE,
)
"""Asks what the catalogue says of an item. Read with titles hidden: "a film about a lonely robot" asks for one."""
ABOUT_ME = re.compile(
    r"\bwhat (?:do|did|have|would) you (?:\w+ )?(?:know|think|believe|remember|learn(?:ed|t)?|say|got)"
    r" (?:about me|of me|on me|i (?:really )?(?:like|love|enjoy|prefer|want)|my taste)"
    r"|\bwhat(?:'s|s| is| are) my (?:tastes?|profile|likes|interests?|preferences?)\b"
    r"|\b(?:describe|summari[sz]e|show(?: me)?|tell me about)"
    r" (?:me|my (?:tastes?|profile|likes|interests?|preferences?))\W*$"
    r"|\bwho am i\b|\bdo you know (?:me|who i am|what i like)\b"
    r"|(?:你|您)(?:都|还)?(?:知道|了解|觉得|认为|记得)(?:关于)?我(?:什么|多少|的口味|喜欢(?:什么|哪))"
    r"|我的(?:口味|喜好|画像)(?:是什么|怎么样|如何)",
    re.IGNORECASE,
)
"""Asks what is believed of the person."""
COMPARE = re.compile(
    r"\bcompar(?:e|ison)\b|\bdifferences? between\b|\bwhich (?:of|one|is)\b.*\b(?:better|best|shorter"
    r"|newer|longer|should|would)\b"
    r"|\bvs\.?\b|\bversus\b|比较|对比|区别|哪(?:个|部|一部)(?:更|比较)?(?:好|适合|短|新)",
    re.IGNORECASE,
)
MORE = re.compile(
    r"\bmore (?:like|of)\b|\bsimilar\b|\b(?:something|anything|others?|another|films?|movies?|books?"
    r"|ones?|things?|stuff) (?:one )?like\b"
    r"|\blike (?:(?:this|that|these|those|it|them|the (?:first|second|third|last)|number)\b|#?\d\b)"
    r"|\bin the (?:style|vein) of\b"
    r"|类似|像.{1,20}(?:一样|那样|这样|的)|同类|差不多的",
    re.IGNORECASE,
)
ASK = re.compile(
    r"\b(?:recommend\w*|suggest\w*|looking for|search(?:ing)? for|show me|find me|give me|get me|i(?:'d"
    r"| would)? (?:want|like|need|love)\b(?= (?:to (?:see|watch|read|hear)|a|an|some|something))"
    r"|i (?:want|need)|what (?:should|can|could|shall|would|do you|to|else|about)|which"
    r"|any(?:thing)?(?: good)?|something|somewhat|got any|have you (?:got|any)"
    r"|in the mood|feel like|how about|let'?s (?:see|watch|try)|next|more|another|else|again|help me"
    r"|surprise me|tonight)\b"
    r"|推荐|想看|想听|想读|想要|找|有没有|来(?:一|点|些|几)|给我|看什么|换一",
    re.IGNORECASE,
)
REFINE = re.compile(
    r"^\W*(?:but|and|not|no|without|nothing|less|more|only|just|rather|instead|make it|shorter|longer"
    r"|newer|older|cheaper|funnier|scarier"
    r"|darker|lighter|also|too|same|but not|except|please)\b|\binstead\b|^(?:但|不要|别|更|短|长|新|老|再|换)",
    re.IGNORECASE,
)
CORRECT = re.compile(
    r"\b(?:(?:that|this|it)(?:'s| is) (?:not true|wrong|not right|incorrect|false)|you(?:'re"
    r"| are) (?:wrong|mistaken)|not true|actually,? i|i never said"
    r"|i(?: am|'m) not (?:really )?(?:a|into|that|interested)|i no longer|i don'?t (?:really "
    r"|actually )?(?:like|care|enjoy|want)|not any ?more|any ?more"
    r"|stop (?:showing|recommending|suggesting)|wrong about)\b|不对|你错了|其实我|我不再|别再推荐|不是这样",
    re.IGNORECASE,
)
CHAT = re.compile(
    r"^\W*(?:hi+|hello+|hey+|howdy|greetings|good (?:morning|evening|afternoon|night|day)"
    r"|thanks?(?: you)?|thank you|ty|thx|bye+|goodbye|see you"
    r"|ok(?:ay)?|cool|great|nice|perfect|awesome|lol|haha+|yes|yeah|yep|no|nope|sure|fine|alright"
    r"|how are you|who are you|what are you"
    r"|what can you do|tell me about yourself|introduce yourself|help|are you (?:a|an) (?:robot|bot|human|ai|person)"
    r"|你好|您好|嗨|谢谢|再见|好的?|嗯|哈哈|你是谁)\b",
    re.IGNORECASE,
)
TASTE = re.compile(
    r"\b(?:i|we)(?:'m| am|'ve|'d)?\s+(?:(?:really|also|just|absolutely|always|usually|mostly|generally"
    r"|actually|do|don'?t|do not|never|no longer|not|a|an|the|big|huge|"
    r"much of a|bit of a|can'?t|cannot|totally|quite|love to|like to|prefer to|hate to)\s+)*"
    r"(?:lov(?:e|ed)|like|liked|enjoy|adore|prefer|hate|dislike|stand|fan|fans|into|fond|tired|sick|care"
    r"|watch|read|listen)\b"
    r"|\bmy favou?rites?\b|\bstop (?:showing|recommending|suggesting)\b"
    r"|我(?:很|非常|最|特别|比较|也|不|不太|一直|从来不"
    r"|从不)*(?:喜欢|爱看|讨厌|爱|受不了|偏爱)",
    re.IGNORECASE,
)
WANTS = re.compile(
    r"\b(?:would|i'd|'d)\s+(?:really )?(?:like|love|prefer)\b|\blike to\b|\blike (?:a|some|something"
    r"|another)\b|\btonight\b|今晚|现在",
    re.IGNORECASE,
)
REQUESTS = re.compile(
    r"\b(?:recommend(?!ations?\b)\w*|suggest(?!ions?\b)\w*|looking for|search(?:ing)? for"
    r"|(?:show|find|give|get|tell) me|in the mood|feel(?:ing)? like|(?:what|how) about|interested in|prefer|hoping for"
    r"|could use|seek(?:ing)?|(?:i|we|he|she|they)(?: [\w']+){0,2} (?:wants?|needs?)|so no(?:t|thing)?"
    r"|(?:should|must|ha(?:s|ve) to|needs? to) be"
    r"|(?:is|are) there (?:any|an?|some)|(?:like|love|enjoy|hate) (?:\w+ ){1,3}like(?= \ue000)"
    r"|addict|buff|i(?:'d|d| would)(?: really| also)? (?:like|love|prefer)"
    r"|(?:want|need|like|love|rather|care|try(?:ing)?) (?:to|a|an|some|something|anything)"
    r"|(?:do|would|can|could|have) (?:you|u) (?:know|have|got|think of|find|help)|got any|(?:something|anything)"
    r"|(?:like|love|enjoy|into|watch) (?:\w+ ){1,3}(?:movies|films|flicks|books|stories|shows|music|songs)"
    r"|(?:movies?|films?|flicks?|books?|stories|ones?|shows?|things?)"
    r" (?:that|where|about|with|when|like|set|in which))\b",
    re.IGNORECASE,
)
"""What makes a clause with a subject a request: its words are searched with."""
STATES = re.compile(
    r"^[\W\ue000]*(?:(?:yes|yeah|yep|yup|yea|no|nope|o+h+|a+h+|awe|aw+|ooh|wow|well|ok|okay|true|right|sure|but|and|so|lol"
    r"|haha+|h?m+|u+m+|great|cool|nice|awesome|thanks|hi|hey|hello|also|then|actually|honestly|because"
    r"|since|as|or|unless|although|though|if|when|while|maybe|now"
    r"|just)\b[\s,.!\ue000]*)*"
    r"(?:i|im|i'\w+|ive|ill|id|we|we'\w+|you|you'\w+|u|he|she|he's|she's|it|it's|its|that|that's|thats|this|they"
    r"|they'\w+|those|these|there|there's|my|your|his|her|their|our|both|all of|some (?:\w+ )?are|everyone|everybody"
    r"|nobody|who|what(?:'s|s| is| was| were| are| did| do| does| year| kind of day)|when|where|why|how|is|are|was|were"
    r"|am|has|have|had|did|does|do|may|might|will|would|havent|haven't|hasn't|didn't|didnt|don't|dont|isn't|isnt|aren't"
    r"|doesn't|doesnt|can't|wasn't|never|not sure|not (?:yet|really|a)|sounds?|looks?|seems?|glad|sorry|me|same|hope\w*"
    r"|saw|seen|watched|loved|liked|hated|the (?:\w+ ){1,2}(?:is|was|are|were)|\ue000+\s+(?:is|was|has|had))\b",
    re.IGNORECASE,
)
"""Begins as somebody does who tells something."""
POLITE = re.compile(
    r"\b(?:thank(?:s|ing)?|thx|ty|bye|goodbye|nice (?:talking|chatting|meeting|day)|see you|take care|how are you"
    r"|(?:good|great) (?:night|evening|day|suggestions?|recommendations?|choices?|idea|talking|chatting)"
    r"|have an? (?:\w+ ){0,2}(?:day|night|evening|weekend|one|time)|how(?:'s| is) it going|appreciate|no problem"
    r"|(?:you(?:'re| are)|ur) welcome|enjoy (?:it|them|your|the))\b",
    re.IGNORECASE,
)
ANYTHING = re.compile(
    r"^\W*(?:anything|any|whatever|no preference|don'?t (?:care|mind|know)|doesn'?t matter|i'?m not sure"
    r"|not sure|you choose|up to you|随便|都行|都可以|无所谓)",
    re.IGNORECASE,
)
PAIR = re.compile(r"\b(?:these|those|the|both|first)\s+(?:two|2|both)\b|\bboth\b|这两|那两|两个|两部", re.IGNORECASE)
SEVERAL = re.compile(r"\b(?:they|these|those)\b|这些|那些", re.IGNORECASE)
REVOKE = re.compile(
    r"^\W*(?:please\s+)?(?:forget|drop|remove|lift|cancel|clear|delete|lose|reset)\s+(?:about\s+)?(?:the"
    r"|all|my|that|every)?\s*(?P<what>.*)$|^(?:清除|取消|去掉)(?P<zh>.*)$",
    re.IGNORECASE,
)
"""Takes back wishes that are in force: "drop the horror filter", "clear all"."""
START_OVER = re.compile(
    r"^\W*(?:please\s+|let'?s\s+|ok(?:ay)?,?\s+)*(?:start (?:over|again|afresh|from scratch|new)|begin again"
    r"|(?:a )?new search|from scratch|reset)\b|^\W*(?:重新开始|从头(?:开始|来)|重来|清空)",
    re.IGNORECASE,
)
EVERYTHING = re.compile(r"\b(?:all|filters|wishes|everything|conditions)\b|所有|全部|条件", re.IGNORECASE)
GOES_ON = re.compile(
    r"^\W*(?:(?:but|and|also|really|absolutely)\s+)*(?:love|hate|like|dislike|enjoy|prefer|not|never"
    r"|don'?t|can'?t stand)\b|^\W*(?:也|但|很)*(?:不喜欢|讨厌|喜欢)",
    re.IGNORECASE,
)
"""A clause that goes on with what the one before it began: "I love westerns but hate musicals"."""
EXPLICIT_MORE = re.compile(
    r"\bmore\b|\bsimilar\b|\b(?:something|anything|others?|another|any) (?:\w+ )?like\b|类似|像", re.IGNORECASE
)
"""Beside an opinion: "I did not like the second one" asks for nothing."""
LIKE_THIS = re.compile(
    r"\blike\s+(?:this|that|these|those|it|them|the|number|#|\d\b)|\bmore of (?:this|that|these|those|it)"
    r"|\bsimilar\b|像(?:这|那|它)|类似",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Context:
    """What was going on when the message came."""

    shown: tuple[str, ...] = ()
    """Items of the last list, in order; "the second one" is among them."""
    focus: tuple[str, ...] = ()
    """Items talked about last, which "it" and "these" mean; () = the list."""
    reference: tuple[Item, ...] = ()
    """The same as items, for "shorter" and "newer"."""
    asked: bool = False
    """A question of ours is open."""
    wanted: tuple[str, ...] = ()
    """Categories that wishes in force ask for."""

    @property
    def about(self) -> tuple[str, ...]:
        return self.focus or self.shown


@dataclass(frozen=True, slots=True)
class Taste:
    """What somebody says they like or dislike in general: it lasts."""

    name: str
    feature: str
    """E.g. "category:Horror"."""
    polarity: Polarity
    quote: str


@dataclass(frozen=True, slots=True)
class Understanding:
    """Everything that was found in one message."""

    intent: Intent
    language: Language = "en"
    mentions: tuple[Mention, ...] = ()
    opinions: tuple[Opinion, ...] = ()
    named: tuple[Opinion, ...] = ()
    """Of titles that it names without saying what its writer thinks of them: asked for the like of, wanted, or open."""
    tastes: tuple[Taste, ...] = ()
    wishes: tuple[Wish, ...] = ()
    meant: tuple[str, ...] = ()
    """Items that "why", "what is it about", "compare" and "more like" mean."""
    unclear: tuple[str, ...] = ()
    """Items of which one was meant, and the message does not say which."""
    revoked: tuple[str, ...] = ()
    """Slots of wishes that are taken back; "*" = all."""
    notes: tuple[str, ...] = ()
    """What was understood but cannot be done, in words."""
    by: Literal["rules", "model"] = "rules"
    """Who decided the intent."""


@dataclass(frozen=True)
class Understand:
    """message -> Understanding, for one catalogue."""

    titles: Titles
    catalogue: Catalogue
    items: Callable[[Sequence[str]], Mapping[str, Item]] = lambda ids: {}
    """Catalogue entries by id: "newer" than a title in the message is newer than that item."""
    ask_opinions: bool = False
    """Whether the model is asked about what the rules leave open in opinions. Off: the built-in model takes the F1 of
    disliked from .32 to .19 (300 dialogues, `rapport eval run redial`)."""

    def __call__(self, text: str, context: Context, ask: Ask | None = None, default: Language = "en") -> Understanding:
        """Never raises because of the model: what it was to decide is left open then."""
        language = language_of(text, default)
        mentions = self.titles.find(text)
        # Numbers are those of the list, whatever was talked about since.
        said = opinions(text, mentions, context.shown if NUMBERS.search(text) else context.about)
        if ask and self.ask_opinions:
            said = judged(said, text, ask, language)
        tastes, rest = self._tastes(text, mentions)
        unclear = self._unclear(text, mentions, context, said)
        reference = self._reference(context, text, mentions)
        wanted = (*context.wanted, *(one.name for one in tastes if one.polarity > 0))
        quiet = statements(text, mentions)
        heard = wishing.hear(rest, mentions, self.catalogue, reference, quiet=quiet, wanted=wanted)
        meant = self._meant(text, mentions, context, said)
        found = Understanding(
            intent="chat",
            language=language,
            mentions=tuple(mentions),
            opinions=tuple(one for one in said if one.stance in ("liked", "disliked", "seen")),
            tastes=tastes,
            wishes=heard.wishes,
            meant=meant,
            unclear=unclear,
            notes=heard.notes,
        )
        if revoked := self._revoked(text):
            return replace(found, intent="undo", wishes=(), revoked=revoked)
        intent = self._intent(text, found, context, said)
        if intent is None:
            intent, by = decided(text, ask, language, bool(found.wishes))
            found = replace(found, by=by)
        if intent in ("why", "about", "me", "compare", "undo", "chat"):
            # "Why is it so long?" wishes for nothing.
            found = replace(found, wishes=())
        elif intent in ("tell", "correct"):
            found = replace(found, wishes=tuple(one for one in found.wishes if not one.words))
        elif intent == "more" and found.meant:
            found = replace(found, wishes=(Wish("like", like=found.meant[:3]), *found.wishes))
        if intent not in ("why", "about", "me", "compare", "undo"):
            titled = {one.item for one in mentions if one.sure}
            named = [one for one in said if one.item in titled and one.stance in ("like_it", "wanted", "open")]
            found = replace(found, named=tuple(named))
        return replace(found, intent=intent)

    def taste(self, name: str) -> Taste | None:
        """The kind or the maker of the catalogue that a name is, unless nobody may be tagged with it."""
        for wish in wishing.hear(name, (), self.catalogue, own_words=False).wishes:
            one = wish.condition
            if one is not None and one.field in ("categories", "creator"):
                feature = f"{'category' if one.field == 'categories' else 'creator'}:{one.value}"
                if not sensitive(feature):
                    return Taste(str(one.value), feature, 1, name)
        return None

    def wanted(self, words: str) -> tuple[Wish, ...]:
        """What words ask for, by the rules."""
        return wishing.hear(words[:MOST_QUOTE], self.titles.find(words[:MOST_QUOTE]), self.catalogue).wishes

    def _intent(self, text: str, found: Understanding, context: Context, said: Sequence[Opinion]) -> Intent | None:
        """What the rules say is wanted; None where they say nothing."""
        spoken = any(one.stance in ("liked", "disliked", "seen") for one in said)
        if UNDO.search(text):
            return "undo"
        if ABOUT_ME.search(text) and not found.mentions:
            return "me"
        if WHY.search(text) and (found.mentions or context.shown):
            return "why"
        if WHY_NOT.search(text) and found.mentions:
            return "why"
        if asks_about(text, found.mentions) and (found.mentions or context.about):
            return "about"
        if COMPARE.search(text) and (len(found.mentions) >= 2 or len(context.about) >= 2 or len(context.shown) >= 2):
            return "compare"
        filters = [one for one in found.wishes if not one.words]
        if found.unclear and not filters:
            return "tell"
        similar = any(one.stance == "like_it" for one in said)
        wants_more = MORE.search(text) and (not spoken or EXPLICIT_MORE.search(text))
        if similar or (wants_more and found.meant and (found.mentions or LIKE_THIS.search(text))):
            return "more"
        if (spoken or found.tastes) and not filters:
            if ASK.search(text) and any(one.words for one in found.wishes):
                return "ask"
            if CORRECT.search(text) and (found.tastes or any(one.stance == "disliked" for one in said)):
                return "correct"
            return "tell"
        if found.wishes:
            clearly = filters or ASK.search(text) or context.asked
            if context.shown and (REFINE.search(text) or not ASK.search(text)) and filters:
                return "refine"
            return "ask" if clearly else None
        if found.mentions and not CHAT.match(text):
            return "more"
        if found.notes and REFINE.search(text):
            return "refine" if context.shown else "ask"
        if ANYTHING.match(text) and context.asked:
            return "ask"
        if CHAT.match(text):
            return "chat"
        return "ask" if ASK.search(text) else None

    def _revoked(self, text: str) -> tuple[str, ...]:
        if START_OVER.match(text):
            return ("*",)
        match = REVOKE.match(text)
        if not match:
            return ()
        what = match["what"] or match["zh"] or ""
        slots = [one.slot for one in wishing.hear(what, (), self.catalogue, own_words=False).wishes]
        return tuple(slots) or (("*",) if EVERYTHING.search(text) else ())

    def _reference(self, context: Context, text: str, mentions: Sequence[Mention]) -> Sequence[Item]:
        chosen = pointed(text, context.shown)
        if named := self.items([one.item for one in mentions] or chosen):
            return tuple(named.values())
        return [one for one in context.reference if one.id in chosen] or context.reference

    def _meant(
        self, text: str, mentions: Sequence[Mention], context: Context, said: Sequence[Opinion]
    ) -> tuple[str, ...]:
        alike = [one.item for one in said if one.stance == "like_it"]
        if mentions:
            return tuple(dict.fromkeys(alike or [one.item for one in mentions]))
        if chosen := pointed(text, context.shown):
            return chosen
        if COMPARE.search(text) or PAIR.search(text):
            return (context.focus if len(context.focus) >= 2 else context.shown)[:2]
        if WHY.search(text) or (asks_about(text, ()) and not SEVERAL.search(text)):
            return context.about[:1]
        return context.about[:3]

    def _unclear(
        self, text: str, mentions: Sequence[Mention], context: Context, said: Sequence[Opinion]
    ) -> tuple[str, ...]:
        """The candidates where an opinion is about "it" and several were shown, or about a title that several have."""
        doubtful = {one.item for one in said if not one.sure and one.stance in ("liked", "disliked")}
        for one in mentions:
            if not one.sure and one.item in doubtful:
                return one.items[:5]
        if mentions or len(context.about) < 2 or said:
            return ()
        for clause in clauses(text, ()):
            if clause.asks or attitude(clause.text) not in ("liked", "disliked"):
                continue
            if re.search(
                r"\b(?:that one|this one|it|that (?:film|movie|book))\b|那部|这部|它", clause.text, re.IGNORECASE
            ):
                return context.about[:5]
        return ()

    def _tastes(self, text: str, mentions: Sequence[Mention]) -> tuple[tuple[Taste, ...], str]:
        """What is said about tastes in general, and `text` with those clauses blanked, so that they are no wishes."""
        found: list[Taste] = []
        rest, begun = text, False
        for clause in clauses(text, mentions):
            own = text[clause.start : clause.end]
            begins = TASTE.search(own) or (begun and GOES_ON.search(own))
            begun = begun or bool(begins)
            if clause.mentions or clause.asks or not begins or WANTS.search(own):
                continue
            if DENIED.search(own):
                rest = rest[: clause.start] + " " * len(own) + rest[clause.end :]
                continue
            stance = attitude(own)
            averse = stance == "disliked" or bool(
                re.search(r"\bstop (?:showing|recommending|suggesting)\b|\bno longer\b", own, re.IGNORECASE)
            )
            if (
                stance not in ("liked", "disliked")
                and not averse
                and not re.search(r"\b(?:prefer|watch|favou?rite)|偏爱", own)
            ):
                continue
            liked = [one.name for one in found if one.polarity > 0]
            heard = wishing.hear(own, (), self.catalogue, own_words=False, wanted=liked)
            before = len(found)
            for wish in heard.wishes:
                condition = wish.condition
                if condition is None or condition.field not in ("categories", "creator"):
                    continue
                kind = "category" if condition.field == "categories" else "creator"
                name = str(condition.value)
                if sensitive(f"{kind}:{name}"):
                    continue
                polarity: Polarity = -1 if averse or (condition.op == "!=" and stance != "liked") else 1
                found.append(Taste(name, f"{kind}:{name}", polarity, own.strip()[:MOST_QUOTE]))
            if len(found) > before:
                rest = rest[: clause.start] + " " * len(own) + rest[clause.end :]
        return tuple(dict.fromkeys(found)), rest


def asks_about(text: str, mentions: Sequence[Mention]) -> bool:
    """Whether a message asks what the catalogue says of items."""
    return bool(ABOUT.search(re.sub(f"{HIDDEN}+", HIDDEN, hidden(text, mentions))))


def pointed(text: str, shown: Sequence[str]) -> tuple[str, ...]:
    """The items of a list that a text points at: "the second one", "#2", "why 2", "compare 1 and 3"."""
    places = [place for match in ORDINAL.finditer(text) if (place := numbered(match, len(shown))) is not None]
    if not places and (COMPARE.search(text) or WHY.search(text) or MORE.search(text) or asks_about(text, ())):
        places = [int(digit) - 1 for digit in re.findall(r"(?<![\w.])(\d)(?![\w.])", text)]
    return tuple(dict.fromkeys(shown[place] for place in places if 0 <= place < len(shown)))


def statements(text: str, mentions: Sequence[Mention]) -> list[tuple[int, int]]:
    """Where a text tells something or is polite, and asks for nothing: "I have not seen that in a long time"."""
    return [
        (one.start, one.end)
        for one in clauses(text, mentions)
        if (STATES.match(one.text) or POLITE.search(one.text)) and not REQUESTS.search(one.text)
    ]


def language_of(text: str, default: Language = "en") -> Language:
    """The language in which a message is written; `default` for one without letters."""
    letters = sum(char.isalpha() for char in text)
    if not letters:
        return default
    return "zh" if len(CJK.findall(text)) > 0.2 * letters else "en"


def judged(said: Sequence[Opinion], text: str, ask: Ask, language: Language) -> list[Opinion]:
    try:
        return judge(said, text, ask, language)
    except LLMError:
        return list(said)


def decided(text: str, ask: Ask | None, language: Language, wishes: bool) -> tuple[Intent, Literal["rules", "model"]]:
    """What to do with a message that no rule knows: whether it asks for something or just talks, by the model's choice.

    Without a model, what holds words to search with is taken for a request.
    """
    if not wishes:
        return "chat", "rules"
    if ask is None or ask.llm.name == "none":
        return "ask", "rules"
    try:
        asks, talks = ask.choose("intent", [{"message": text[:MOST_QUOTE]}], ("yes", "no"), language=language)[0].value
    except LLMError:
        return "ask", "rules"
    return ("ask" if asks >= talks else "chat"), "model"
