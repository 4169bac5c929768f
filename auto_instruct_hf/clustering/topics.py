"""Name clusters: by the teacher, else by keywords that are frequent in one cluster and rare in the others."""

from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from datasets import Features, List, Value

from ..core import Batch, Columns, apply, columns, flatten, from_rows, rows
from ..prompts import Prompt, PromptSet, load_prompts
from ..teacher import Ask, Request, Teacher

_CLUSTERS = Features({"instructions": List(Value("string")), "keywords": List(Value("string"))})
_TOPICS = Features({"topic": Value("string")})
_WORD = r"(?u)\b[^\W\d_]{3,}\b"
_NUM_KEYWORDS = 6
_MAX_NAME_LENGTH = 60
_MAX_SHARED_WORDS = 0.5


def name_topics(
    instructions: Sequence[str],
    clusters: Sequence[int],
    centrality: Sequence[float],
    teacher: Teacher | None,
    *,
    num_instructions: int = 8,
    prompts: str | PromptSet | None = None,
    cache_dir: Path | None = None,
) -> list[str]:
    """Return a unique name for each cluster.

    Args:
        instructions: All instructions, in any order; `clusters` (from 0, without gaps) and `centrality` (higher is more
            central) are in the same order.
        clusters: See `instructions`.
        centrality: See `instructions`.
        teacher: The model that names clusters; None: names are keywords.
        num_instructions: Number of central, dissimilar instructions of a cluster to show.
        prompts: `default`, `small` or a folder; None: the teacher's default.
        cache_dir: Folder of the cache; None: as in `core.apply`.

    Returns:
        The names.
    """
    members: list[list[tuple[float, str]]] = [[] for _ in range(max(clusters) + 1)]
    for instruction, number, value in zip(instructions, clusters, centrality, strict=True):
        members[number].append((-value, instruction))
    texts = [[text for _, text in sorted(group)] for group in members]
    keywords = find_keywords(texts)
    shown = [
        {"instructions": pick_different(group, num_instructions), "keywords": words}
        for group, words in zip(texts, keywords, strict=True)
    ]
    if teacher is None:
        return _make_unique([""] * len(shown), keywords)
    prompt = load_prompts(prompts or teacher.prompts)["topic"]
    with teacher.phase("topics", total=len(shown)) as progress:
        named = apply(
            from_rows(shown, _CLUSTERS),
            name_batch,
            phase="topics",
            features=_TOPICS,
            settings={"prompt": prompt},
            resources={"ask": teacher.ask},
            depends_on=teacher.identity,
            cache_dir=cache_dir,
            is_final=lambda: progress.is_final,
        )
    return _make_unique(named["topic"][:], keywords)


def name_batch(batch: Batch, *, ask: Ask, prompt: Prompt) -> Columns:
    """Request the names of a batch of clusters.

    Args:
        batch: Columns `instructions` and `keywords` (lists of str).
        ask: Sends requests and returns replies.
        prompt: The prompt `topic`.

    Returns:
        Column `topic` (str, "" if the request failed).
    """
    replies = ask([Request(prompt, prompt.messages(**row)) for row in rows(batch)])
    topics = [{"topic": flatten(reply.content["topic"]) if reply.content else ""} for reply in replies]
    return columns(topics, _TOPICS)


def pick_different(texts: Sequence[str], count: int) -> list[str]:
    """Pick texts in order, each sharing at most half of its words with any picked before; fill up with the rest."""
    picked: list[str] = []
    bags: list[set[str]] = []
    passed: list[str] = []
    for text in texts:
        if len(picked) == count:
            break
        bag = set(text.casefold().split())
        if all(len(bag & other) <= _MAX_SHARED_WORDS * len(bag | other) for other in bags):
            picked.append(text)
            bags.append(bag)
        else:
            passed.append(text)
    return picked + passed[: count - len(picked)]


def find_keywords(groups: list[list[str]]) -> list[list[str]]:
    """Return the keywords of each group by class-based TF-IDF (Grootendorst 2022, arXiv:2203.05794), best first."""
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(stop_words="english", token_pattern=_WORD)
    try:
        counts = vectorizer.fit_transform([" ".join(group) for group in groups]).toarray()
    except ValueError:  # no word but stop words
        return [[] for _ in groups]
    words = vectorizer.get_feature_names_out()
    frequency = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    weight = frequency * np.log1p(counts.sum() / len(groups) / np.maximum(counts.sum(axis=0), 1))
    best = np.argsort(-weight, axis=1, kind="stable")[:, :_NUM_KEYWORDS]
    return [[str(words[word]) for word in row if weight[group, word] > 0] for group, row in enumerate(best)]


def _make_unique(topics: list[str], keywords: list[list[str]]) -> list[str]:
    """Truncate long names, fill in missing ones, and make equal ones unique by a keyword or a number."""
    names: list[str] = []
    taken: set[str] = set()
    for number, (topic, words) in enumerate(zip(topics, keywords, strict=True), start=1):
        name = flatten(topic).strip(" .\"'")[:_MAX_NAME_LENGTH].strip() or ", ".join(words[:3]) or f"cluster {number}"
        others = (word for word in words if word not in name.casefold())
        choices = chain([name], (f"{name} ({word})" for word in others), (f"{name} ({n})" for n in count(number)))
        name = next(choice for choice in choices if choice.casefold() not in taken)
        taken.add(name.casefold())
        names.append(name)
    return names
