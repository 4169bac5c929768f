"""The root verb of an instruction and its direct object, by rules for English commands and questions.

Self-Instruct (arXiv:2212.10560, figure 3) plots these two words. Nearly all instructions begin with their verb, and the
object is the last noun before a preposition, a clause or punctuation: word lists are enough, no parser is needed. Texts
in other languages give no result.
"""

import re
from itertools import pairwise
from pathlib import Path

import yaml

_TEXT = Path(__file__).with_name("english_words.yaml").read_text(encoding="utf-8")
_LISTS = {name: frozenset(words.split()) for name, words in yaml.safe_load(_TEXT).items()}
_VERBS, _ASIDES, _NUMBERS, _DETERMINERS = (_LISTS[name] for name in ("verbs", "asides", "numbers", "determiners"))
_PRONOUNS, _PREPOSITIONS, _QUESTIONS = (_LISTS[name] for name in ("pronouns", "prepositions", "questions"))
_BE, _AUXILIARIES, _PARTICLES = (_LISTS[name] for name in ("be", "auxiliaries", "particles"))
_GIVING, _THINKING, _NOUNS = (_LISTS[name] for name in ("giving", "thinking", "nouns"))
_ADJECTIVES, _AFTER_NOUN = (_LISTS[name] for name in ("adjectives", "after_noun"))
_IRREGULAR: dict[str, str] = dict(pair.split(":") for pair in _LISTS["irregular"])
_OTHER = {"whether", "there", "here", "then", "not", "yet", "also", "whatever"}
_CLOSED = _PREPOSITIONS | _QUESTIONS | _PRONOUNS | _DETERMINERS | _BE | _AUXILIARIES | _OTHER
_JOINTS = frozenset({"and", "or", ",", "then", "&", "/"})
_POLITE = re.compile(
    r"(?:(?:^|(?<=[,:-] ))(?:can|could|would|will) you|let's|let us|i(?: woul|')d like you to|i (?:want|need) you to|"
    r"(?:your|the) (?:task|job|goal|aim) is to|you (?:should|must|will|have to|need to|are to|are asked to))\s+"
)
_ADJECTIVE = re.compile(r".+(?:al|ive|ous|ful|less|able|ible|ic|ary|ing|ed|-friendly|-based|-step)")
_SENTENCE_END = re.compile(r"(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)(?<=[.!?])[\"')\]]*\s+|\n+")
_TOKEN = re.compile(r"[^\W_]+(?:['.&/_+-]+[^\W_]+)*[+#]*'?|[^\w\s]")
_MARKS = frozenset("\"'*`[]{}<>")
_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")


def root_verb_and_object(instruction: str) -> tuple[str, str]:
    """Return the root verb of an English instruction and its direct object, as lower-case lemmas; "" if there is none.

    They are taken from the first sentence that is a command or a question. Of verbs or nouns joined by "and" the first
    is used.
    """
    text = re.sub(r"\([^()]*\)", " ", instruction.lower().translate(_QUOTES))
    for sentence in _SENTENCE_END.split(text):
        plain, polite = _POLITE.subn("", sentence.strip(), 1)
        words = _TOKEN.findall(plain)[:150]
        if not words:
            continue
        fronted = bool(polite) or words[0] in _PREPOSITIONS or words[0].endswith("ing") or words[-1] == "?"
        for start in (0, *(at for at, before in enumerate(words, 1) if before in {",", ":", "-"})):
            if start == 0 or fronted or (start <= 4 and words[start - 1] != ","):  # "Task: sort the list"
                found = _command(words[start:])
                if not found and (start == 0 or words[-1] == "?"):
                    found = _question(words[start:])
                if found:
                    return found
    return "", ""


def _command(words: list[str]) -> tuple[str, str] | None:
    """Return verb and object of a clause that begins with its verb, else None."""
    at = 0
    while at < len(words) - 1 and (not words[at][0].isalnum() or words[at].isdigit() or words[at] in _ASIDES):
        at += 1
    verb, follower = (*words[at:], ".", ".")[:2]
    # An unknown word before a determiner is a verb too: "Untangle these notes".
    unknown = verb.isalpha() and verb not in _CLOSED and not verb.endswith(("ing", "ed"))
    if verb not in _VERBS and not (unknown and follower in _DETERMINERS | _NUMBERS):
        return None
    return None if follower in _BE | _AUXILIARIES else (verb, _object(verb, words[at + 1 :]))


def _question(words: list[str]) -> tuple[str, str] | None:
    """Return verb and object of a question, None if the clause is not one."""
    asking = 1 if words[0] in _PREPOSITIONS - _QUESTIONS else 0  # "in which year"
    asks = words[asking : asking + 1] and words[asking] in _QUESTIONS
    if not asks and words[0] not in _BE | _AUXILIARIES:
        return None
    for at, word in enumerate(words):
        if word in _BE:
            return "be", ""
        if word in _AUXILIARIES:
            asked = _noun(words[1:at]) if words[0] in _QUESTIONS else ""
            return _after_subject(words[at + 1 :], asked)
        if asks and at > asking and word not in _VERBS and _base(word) in _VERBS:  # "what causes rain"
            return _base(word), _object(_base(word), words[at + 1 :])
    return None


def _after_subject(words: list[str], asked: str) -> tuple[str, str] | None:
    """Return verb and object of the words after an auxiliary; `asked` is the object if it came before."""
    for at in range(1 if words and words[0] in _PRONOUNS else 2, len(words)):
        before, verb = words[at - 1], words[at]
        if verb == "be":
            return "be", ""
        if verb in _VERBS and before not in _DETERMINERS | _PREPOSITIONS - {"below", "above"}:
            return verb, asked or _object(verb, words[at + 1 :])
    return None


def _object(verb: str, after: list[str]) -> str:
    """Return the direct object in the words after a verb, "" if there is none."""
    rest = [*after, ".", "."]
    while True:
        particle = rest[0] in _PARTICLES and rest[1] in _DETERMINERS | _NUMBERS
        if rest[0] in _JOINTS and rest[1] in _VERBS | {"output"}:  # "identify and list"
            rest = rest[2:]
        elif particle or _is_adverb(rest[0]) or (verb, rest[0]) == ("fill", "in") or {*rest[:2]} < _JOINTS:
            rest = rest[1:]
        else:
            break
    if verb in _THINKING:
        return ""
    if rest[0] in _PRONOUNS and verb in _GIVING | {"ask", "write", "make", "find", "get", "bring"}:
        rest = rest[1:]
    elif verb in _GIVING:  # "give the reader an overview": the thing given comes second
        for at in range(2, min(len(rest), 5)):
            if rest[at] in {"a", "an", "the", "some"} and not _CLOSED.intersection(rest[1:at]):
                return _noun(rest[at:])
    return _noun(rest)


def _noun(words: list[str]) -> str:
    """Return the head of the noun phrase at the start of the words, "" if there is none."""
    phrase: list[str] = []
    begun = marked = False  # whether a noun, or a quotation mark or bracket, was seen
    for word, following in pairwise([*words, "."]):
        inner = not begun or (marked and following[0].isalnum() and following not in _CLOSED)
        if word in _MARKS and inner:  # the "TODO" comment
            marked = True
            continue
        if not phrase and _is_adverb(word):
            continue
        if not begun and (word in _DETERMINERS or (phrase and word in {"following", "given"})):
            phrase.append(word)
        elif word in _JOINTS and phrase and _is_adjective(phrase[-1]):  # "a short, funny story"
            if following in _CLOSED or following in _VERBS - _ADJECTIVES or not following[0].isalnum():
                break
        elif word in _CLOSED or word in _JOINTS or not word[0].isalnum() or (begun and _is_apposed(word, following)):
            break
        else:
            phrase.append(word)
            begun = begun or not (_is_adjective(word) or word in _NUMBERS or word.isdigit() or word.endswith("'s"))
    head = phrase[-1] if phrase else ""
    if head in _CLOSED | _NUMBERS or head.endswith("'s") or _is_adverb(head) or not any(map(str.isalpha, head)):
        return ""
    gerund = head.endswith("ing") and head not in _NOUNS and len(phrase) == 1  # "try coming up with a name"
    bare = head in _ADJECTIVES and phrase[0] not in _DETERMINERS  # "fits best"
    return "" if gerund or bare else _base(head)


def _is_apposed(word: str, following: str) -> bool:
    """Return whether a word after a noun begins a modifier: "a story set in Rome", "the data provided"."""
    if word.endswith(("ing", "ed")):
        return word not in _NOUNS
    ends = following in _CLOSED or not following[0].isalnum()
    return (ends and (word in _AFTER_NOUN or _is_adverb(word))) or (word, following) == ("set", "in")


def _is_adjective(word: str) -> bool:
    return word in _ADJECTIVES or (word not in _NOUNS and _ADJECTIVE.fullmatch(word) is not None)


def _is_adverb(word: str) -> bool:
    return word.endswith("ly") and word not in _NOUNS | _ADJECTIVES


def _base(word: str) -> str:
    """Return the singular of a noun, or the infinitive of a verb in -s."""
    word = word.rstrip("'")
    head, hyphen, last = word.rpartition("-")
    if last in _IRREGULAR:
        return head + hyphen + _IRREGULAR[last]
    if len(last) < 4 or not last.endswith("s") or last.endswith(("ss", "us", "is")):
        return word
    if last.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if last.endswith(("sses", "xes", "ches", "shes")) else word[:-1]
