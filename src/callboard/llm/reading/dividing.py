"""Telling the instruction of a prompt from the text it is about.

People write the instruction first, or last, or around the text; the text itself is whatever a stranger sent and may
hold anything, instructions too. So the search begins at the first line and stops where the instruction stops. Only
when the beginning instructs nothing is the end looked at, and an end that speaks of earlier instructions is no
instruction of the one who wrote the prompt. What stands in between is never read as one: *ignore previous
instructions* in a letter is a sentence of the letter.
"""

from __future__ import annotations

import re

HEAD = 4_000  # characters of a prompt in which its instruction is looked for

_VERBS = (
    "abstract|add|analy[sz]e|answer|assess|assign|assume|avoid|be|break|categori[sz]e|choose|classify|combine|compare|"
    "compose|compute|condense|consider|contrast|convert|correct|count|create|decide|describe|detect|determine|develop|"
    "distil|do|don'?t|draft|draw|edit|elaborate|ensure|estimate|evaluate|examine|explain|extract|file|fill|find|focus|"
    "format|generate|get|give|grade|help|highlight|identify|improve|include|judge|keep|label|limit|list|look|make|"
    "mark|mention|merge|name|note|organi[sz]e|outline|paraphrase|pick|prepare|present|produce|proofread|propose|"
    "provide|pull|put|quote|rank|rate|read|recommend|refine|reply|rephrase|report|respond|restate|return|review|"
    "revise|rewrite|say|score|select|send|shorten|show|simplify|sort|speak|split|start|state|structure|study|suggest|"
    "summari[sz]e|sum|synthesi[sz]e|tag|take|tell|thank|think|title|transform|translate|treat|try|turn|use|weigh|write"
)
_OPENING = (
    r"(?:(?:please|kindly|now|then|next|first|finally|also|carefully|briefly|in (?:(?:at most|under|about|exactly|"
    r"up to|no more than|fewer than|less than) )?\w+ \w+,?|(?:can|could|would|will) you(?: please)?|"
    r"i(?:'d| would)? (?:want|need|like) you to|your (?:task|job|goal) is to|let'?s|"
    r"using the (?:text|following|above)[^,]{0,40},|based on [^,]{1,60},|from [^,]{1,60},)[,:]?\s+){0,4}"
)
_INSTRUCTS = re.compile(
    rf"\W{{0,3}}{_OPENING}(?:{_VERBS})\b(?!['’]s\b|\s+(?:is|are|was|were|has|had|will)\b)", re.IGNORECASE
)
_SETS_UP = re.compile(
    r"\W{0,3}(?:you are|you're|you will|you must|you should|your (?:answer|task|reply|output|job)|act as|the (?:answer|"
    r"output|reply|summary|following|text|document|letter|input|audience|reader|result|language|format|tone)s?\s+(?:is|"
    r"are|must|should|below|above|follows?)|here (?:is|are)|below (?:is|are)|the following|no (?:preamble|more than|"
    r"longer|comments?|explanations?|headings?|markdown)|only|at most|max(?:imum)?\b|up to|format:|output:|language:|"
    r"length:|style:|tone:|audience:|labels?:|categor(?:y|ies):|options?:|fields?:|keys?:|one of:|in \w+ (?:sentences?|"
    r"words|bullet|paragraphs?)|as (?:json|a list|bullet)|json\b)",
    re.IGNORECASE,
)
_ASKED = re.compile(r"\W{0,3}(?:questions?|q|tasks?|instructions?|prompt|request)\s*:", re.IGNORECASE)
_QUESTION = re.compile(
    r"\W{0,3}(?:what|who|whom|whose|when|where|why|how|which|is|are|was|were|does|do|did|can|could|should|has|have|"
    r"will|in what|at what|for whom|to whom|by whom|on which)\b[^?\n]{2,300}\?",
    re.IGNORECASE,
)
_OF_THE_TEXT = re.compile(
    r"\b(?:text|document|above|letter|passage|article|author|email|message|report|review)s?\b", re.IGNORECASE
)
_FOREIGN = re.compile(
    r"\b(?:ignore|disregard|forget|override|overrule)\b|\b(?:previous|prior|earlier|above|system|all)\s+"
    r"(?:instructions?|prompts?|rules|directions)\b",
    re.IGNORECASE,
)
_TEXT_NAMES = (
    "text|document|input|data|article|context|source|content|transcript|e-?mail|letter|review|message|notes|report|"
    "file|passage|story|doc|documents|untrusted|user[_-]input"
)
_BEGINS_TEXT = re.compile(rf"\s*(?:the )?(?:{_TEXT_NAMES})s?\s*:\s*", re.IGNORECASE)
_OPEN_TAG = re.compile(rf"^\s*<({_TEXT_NAMES})(?:\s[^<>\n]*)?>", re.IGNORECASE | re.MULTILINE)
_MARK_LINE = re.compile(r"^\s*(\"\"\"|'''|```+|~~~+|-{3,}|={3,}|#{4,}|<{3,}|\*{4,})[ \t]*\w*[ \t]*$", re.MULTILINE)
_FRONT_MATTER = re.compile(r"\s*\n[\w-]{1,40}:")
_PIECE_END = re.compile(r"(?<![.!?:])[.!?:]++[\"'”’)*]*+(?=\s)|\n")
_ABBREVIATED = re.compile(r"\b(?:e\.g|i\.e|etc|vs|approx|no|cf)\.$", re.IGNORECASE)
_ENTRY = re.compile(r"\s*(?:[-*•]|\d{1,2}[.)])\s+\S[^\n]{0,80}$")
_NAMES_A_LIST = re.compile(
    r"(?:one of|labels?|categor(?:y|ies)|classes|options|choices|keys?|fields?|properties|following \w+|format|values|"
    r"language|tone|style|length|audience|question|q|topics)\s*(?:are|is)?\s*:$",
    re.IGNORECASE,
)
_FORM = re.compile(
    r"\W{0,3}(?:(?:please )?(?:answer|reply|respond|write|use|return|give|keep|output)\b[^\n]{0,60}\b(?:sentences?|"
    r"words|bullets?|bullet points|points|json|paragraphs?|characters)\b[^\n]{0,30}|"
    r"in (?:\w+ ){1,2}(?:sentences?|words|bullets?|bullet points|points)"
    r"[^\n]{0,20}|(?:at most|no more than|max(?:imum)?|up to) \w+ (?:sentences?|words|points|characters)[^\n]{0,20})$",
    re.IGNORECASE,
)


def divide(prompt: str) -> tuple[str, str, str]:
    """(instruction before, text, instruction after) of a prompt. What is no instruction is text."""
    fenced = _fenced(prompt)
    if fenced is not None:
        return fenced
    end = _head_end(prompt)
    head, text = prompt[:end], prompt[end:]
    if head.strip():
        named = _BEGINS_TEXT.match(text)
        text = text[named.end() :] if named else text
        asks_below = "question" in head.lower() and "?" not in head
        tail = _tail_start(text, marked=True) if asks_below else _form_start(text)
    else:
        tail = _tail_start(text)
    return head.strip(), text[:tail].strip(), text[tail:].strip()


def instructs(text: str) -> bool:
    """Whether some sentence of a text, such as a standing instruction, tells somebody to do something."""
    return any(_INSTRUCTS.match(part) for part in re.split(r"(?<=[.!?:])\s+|\n", text[:HEAD]))


def _fenced(prompt: str) -> tuple[str, str, str] | None:
    """The parts of a prompt whose text is marked by a tag or by lines, from the first mark to the last."""
    start = prompt[:HEAD]
    tag = _OPEN_TAG.search(start)
    if tag:
        before, closing = prompt[: tag.start()], prompt.rfind(f"</{tag[1]}>")
        after = prompt[closing + len(tag[1]) + 3 :] if closing >= 0 else ""
        if closing >= tag.end() and (_instructs_only(before) or (not before.strip() and _is_instruction(after))):
            return before.strip(), prompt[tag.end() : closing].strip(), after.strip()
    line = _MARK_LINE.search(start)
    if line is None or not _instructs_only(prompt[: line.start()]):
        return None
    before, closing = prompt[: line.start()].strip(), prompt.rfind(f"\n{line[1]}")
    if line[1] == "---" and _FRONT_MATTER.match(prompt, line.end()):
        return before, prompt[line.start() :].strip(), ""
    if closing >= line.end() and len(prompt) - closing < 600:
        after = prompt[closing + 1 :].partition("\n")[2]
        if line[1][0] in "\"'`~<" or _is_instruction(after):
            return before, prompt[line.end() : closing].strip(), after.strip()
    return (before, prompt[line.end() :].strip(), "") if line[1][0] in "-=#*" else None


def _instructs_only(text: str) -> bool:
    """Whether a text before a mark is all instruction: a page has marks too, after its own first words."""
    end = _head_end(text)
    return end > 0 and not text[end:].strip()


# ── the beginning ───────────────────────────────────────────────────────────────────────────────────────


def _head_end(prompt: str) -> int:
    """Where the instruction at the beginning of a prompt ends; 0 when there is none."""
    start = len(prompt) - len(prompt.lstrip())
    place, stop = start, min(len(prompt), start + HEAD)
    while place < stop:
        end = _piece_end(prompt, place, stop)
        piece = prompt[place:end]
        if not _is_instruction(piece) and not (place > start and _is_entry(piece, prompt[start:place])):
            break
        place = end
        if piece.rstrip().endswith(":") and not _expects_list(prompt, place):
            break
    return 0 if place == start else place


def _piece_end(prompt: str, place: int, stop: int) -> int:
    """The end of the sentence, or of the line, that begins at `place`; a line goes on when it stops in mid-sentence."""
    while place < stop and prompt[place].isspace():
        place += 1
    for found in _PIECE_END.finditer(prompt, place, stop):
        if found[0] == "\n":
            following = prompt[found.end() : found.end() + 80]
            if not following[:1].islower() or _ENTRY.match(following.partition("\n")[0]):
                return found.end()
        elif found[0].startswith(".") and _ABBREVIATED.search(prompt[max(place, found.end() - 8) : found.end()]):
            continue
        elif not found[0].startswith(":") or _opens_text(prompt, place, found.end()):
            return found.end()
    return stop


def _opens_text(prompt: str, start: int, end: int) -> bool:
    """Whether the colon at `end` opens the text, and no list of labels or fields within the instruction."""
    rest = prompt[end : end + 400].partition("\n")[0]
    if not rest.strip():
        return True
    if _NAMES_A_LIST.search(prompt[start:end]):
        return False
    return len(rest.split()) >= 6 or bool(re.search(r"[.!?]\s", rest + " "))


def _is_instruction(piece: str) -> bool:
    text = piece.strip()
    return bool(text) and bool(
        _INSTRUCTS.match(text) or _SETS_UP.match(text) or _ASKED.match(text) or _QUESTION.match(text) or _is_shape(text)
    )


def _is_shape(text: str) -> bool:
    """Whether a piece is an example of JSON, the form an answer shall have."""
    return text[:1] == "{" and '"' in text[:80] and len(text) < 1_500 and ":" in text[:120]


def _is_entry(piece: str, before: str) -> bool:
    """Whether a piece is an entry of a list that the instruction before has announced."""
    if not _ENTRY.match(piece.rstrip("\n")):
        return False
    lines = [line for line in before.rstrip().splitlines()[-40:] if not _ENTRY.match(line)]
    return bool(lines and _NAMES_A_LIST.search(lines[-1].rstrip()))


def _expects_list(prompt: str, place: int) -> bool:
    following = prompt[place : place + 400].lstrip("\n").partition("\n")[0]
    return _is_entry(following, prompt[max(0, place - 200) : place])


# ── the end ─────────────────────────────────────────────────────────────────────────────────────────────


def _tail_start(prompt: str, *, marked: bool = False) -> int:
    """Where the instruction at the end of a prompt begins, its length when there is none.

    `marked`: only what calls itself a question or a task counts, or is a question as a whole.
    """
    text = prompt.rstrip()
    for cut in ("\n\n", "\n"):
        start = text.rfind(cut, max(0, len(text) - 1_000))
        last = text[start:].strip() if start > 0 else ""
        if not last or _FOREIGN.search(last):
            continue
        if _ASKED.match(last) or (marked and _QUESTION.match(last)):
            return start
        if not marked and (_INSTRUCTS.match(last) or _FORM.match(last)):
            return start
        if not marked and _QUESTION.match(last) and _OF_THE_TEXT.search(last):
            return start
    return len(prompt)


def _form_start(text: str) -> int:
    """Where a last line begins that says only what form the answer shall have; the length when there is none."""
    stripped = text.rstrip()
    start = stripped.rfind("\n\n", max(0, len(stripped) - 160))
    return start if start > 0 and _FORM.match(stripped[start:].strip()) else len(text)
