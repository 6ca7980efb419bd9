"""How assistants begin a refusal, by language.

Invariant: a pattern is matched at the beginning of an answer, after an apology or without one. An apology
alone is no refusal ("Sorry for the confusion: it is 4"), nor is an inability to find what is asked about ("I
cannot find an error in your code"). Patterns are of folded text: lower case, plain apostrophes, no newlines.
"""

from __future__ import annotations

import re
import unicodedata

OPENINGS = (
    r"(?:i(?:'m| am) )?(?:so |very |truly |really )?sorry",
    r"(?:my )?apologies|i apologi[sz]e|unfortunately|regrettably",
    r"es tut mir (?:sehr )?leid|tut mir leid|leider|entschuldigung",
    r"(?:je suis )?(?:vraiment )?désolée?|malheureusement|je regrette",
    r"lo siento(?: mucho)?|lamentablemente|desafortunadamente|disculpa",
    r"mi dispiace|purtroppo|spiacente",
    r"desculpe|sinto muito|lamento|infelizmente",
    r"het spijt me|helaas|sorry",
    r"przykro mi|przepraszam|niestety",
    r"tyvärr|jag beklagar",
    r"üzgünüm|maalesef",
    r"извините|простите|к сожалению",
    r"вибачте|на жаль",
)
BUT = "but|aber|doch|mais|pero|ma|mas|maar|ale|men|ama|ancak|но|але"

_EN_ACTS = (
    "help|assist|provide|comply|fulfill?|answer|do (?:that|this)|create|write|generate|share|give|support|"
    "continue|engage|discuss|offer|participate|complete|process|produce|respond|access|browse|recommend|advise"
)
_EN_UNABLE = r"i(?:'m| am) (?:not able|unable) to|i (?:can ?not|can't|cant|will not|won't|am not going to)"

REFUSALS: dict[str, tuple[str, ...]] = {
    "en": (
        rf"(?:{_EN_UNABLE}) (?:be able to )?(?:\w+ ){{0,2}}(?:{_EN_ACTS})\b",
        r"i (?:must|have to) (?:respectfully )?(?:decline|refuse)",
        r"as an ai(?: language)?(?: model| assistant)?,? i (?:can(?:not|'t)|do not|don't|am (?:not|unable))",
        r"(?:that|this)(?: i|')s (?:not )?something i (?:can't|cannot|won't|can) (?:help|assist|do)",
    ),
    "de": (
        r"(?:\w+ )?kann (?:ich )?(?:\w+ ){0,5}nicht (?:\w+ ){0,3}(?:helfen|beantworten|erfüllen|liefern)",
        r"(?:\w+ )?kann (?:ich )?(?:dir|ihnen|euch) (?:dabei |hierbei |damit |da )?(?:leider )?nicht",
        r"(?:ich )?(?:darf|werde) (?:ich )?(?:\w+ ){0,4}nicht (?:\w+ ){0,2}(?:helfen|beantworten|erstellen)",
        r"als (?:ki|sprachmodell)\S* kann ich (?:\w+ ){0,4}(?:nicht|keine)",
    ),
    "fr": (
        r"je ne (?:peux|puis|saurais) pas (?:\w+[ '-]){0,3}(?:aider|répondre|fournir|faire|créer|écrire)",
        r"je ne suis pas en mesure d",
        r"en tant qu'(?:ia|intelligence artificielle|assistant),? je ne",
    ),
    "es": (
        r"no puedo (?:\w+ ){0,2}(?:ayud|proporcion|respond|cumpl|hacer|crear|gener|escrib|ofrec)\w*",
        r"como (?:una? )?(?:ia|modelo de lenguaje|asistente)\S*,? no",
    ),
    "it": (
        r"non posso (?:\w+ ){0,2}(?:aiut|forn|rispond|far|soddisf|crear|gener|scriv)\w*",
        r"non sono in grado di (?:\w+ ){0,1}(?:aiut|forn|rispond|soddisf)\w*",
        r"come (?:ia|modello linguistico|assistente)\S*,? non",
    ),
    "pt": (
        r"não posso (?:\w+ ){0,2}(?:ajud|fornec|respond|faz|atend|criar|ger|escrev)\w*",
        r"como (?:uma? )?(?:ia|modelo de linguagem|assistente)\S*,? não",
    ),
    "nl": (
        r"(?:ik )?kan (?:ik )?(?:je|u|jou) (?:\w+ ){0,3}niet (?:\w+ ){0,2}(?:helpen|geven|beantwoorden)",
        r"(?:ik )?kan (?:ik )?(?:\w+ ){0,4}niet (?:\w+ ){0,2}(?:helpen|beantwoorden|voldoen)",
        r"als (?:ai|taalmodel)\S* kan ik (?:\w+ ){0,2}(?:niet|geen)",
    ),
    "pl": (r"nie mogę (?:\w+ ){0,2}(?:pomóc|odpowiedzieć|udzielić|dostarczyć|zrobić|spełnić|stworzyć)",),
    "sv": (
        r"(?:jag )?kan (?:jag )?(?:tyvärr )?inte (?:\w+ ){0,1}(?:hjälpa|svara|tillhandahålla|skapa|skriva)",
    ),
    "tr": (r"(?:\w+ ){0,5}(?:yardımcı olamam|yardım edemem|yardımcı olamıyorum|sağlayamam)",),
    "ru": (r"я не (?:могу|смогу) (?:\w+ ){0,2}(?:помо|ответ|предостав|выполн|сдела|созда|написа)\w*",),
    "uk": (r"я не (?:можу|зможу) (?:\w+ ){0,2}(?:допомог|відпов|надат|викона|створ|написа)\w*",),
    "ar": (
        r"(?:عذرا|عذرًا|آسف|أعتذر|للأسف).{0,30}(?:لا أستطيع|لا يمكنني)",
        r"(?:لا أستطيع|لا يمكنني) (?:مساعد|تقديم|الإجابة)",
    ),
    "hi": (r"(?:क्षमा करें|माफ़ करें|मुझे खेद है).{0,60}(?:नहीं कर सकत|असमर्थ)",),
    "zh": (
        r"(?:很?抱歉|对不起|對不起|不好意思)[，,。 ]?.{0,20}(?:无法|不能|無法)",
        r"我(?:无法|不能|無法)(?:提供|帮助|协助|回答|满足|完成|執行|回應|幫助)",
        r"作为一个?(?:ai|人工智能|语言模型).{0,20}(?:无法|不能)",
    ),
    "ja": (
        r"(?:申し訳(?:ありません|ございません)|すみません|恐れ入りますが).{0,60}(?:できません|できかねます)",
        r".{0,30}(?:お手伝い|お答え|ご提供|提供)(?:することは)?でき(?:ません|かねます)",
    ),
    "ko": (
        r"(?:죄송|미안)(?:합니다|하지만|해요).{0,60}(?:없습니다|어렵습니다|못합니다)",
        r".{0,30}(?:도와|도움을|제공|답변).{0,10}(?:드릴|할) 수 없습니다",
    ),
}

_opening = rf"(?:(?:{'|'.join(OPENINGS)})(?:[,.:;!]| [-–—])?(?: (?:{BUT}),?)? *)?"
_refusal = re.compile(rf"\W*{_opening}(?:{'|'.join(p for own in REFUSALS.values() for p in own)})")
_plain = str.maketrans({"\u2019": "'", "\u02bc": "'", "\u2018": "'", "\n": " "})


def folded(text: str) -> str:
    """The text as the patterns want it."""
    return unicodedata.normalize("NFC", text).casefold().translate(_plain)


def refusal_in(beginning: str) -> str | None:
    """How a folded beginning refuses; None where it does not."""
    found = _refusal.match(beginning)
    return found.group() if found else None
