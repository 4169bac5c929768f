"""Name clusters: by the teacher, else by keywords that are frequent in one cluster and rare in the others."""

from collections.abc import Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from datasets import Features, List, Value

from ..core import Batch, Columns, apply, columns, estimate_tokens, flatten, from_rows, rows
from ..prompts import Prompt, PromptSet, load_prompts
from ..teacher import Ask, GroupedItem, Teacher, ask_groups

_CLUSTERS = Features({"instructions": List(Value("string")), "keywords": List(Value("string"))})
_TOPICS = Features({"topic": Value("string")})
_WORD = r"(?u)\b[^\W\d_]{3,}\b"
_NUM_KEYWORDS = 6
# Ours: a word of one or two instructions says little about their cluster.
_MIN_INSTRUCTIONS = 3
_MAX_NAME_LENGTH = 60
_MAX_SHARED_WORDS = 0.5


def name_topics(
    instructions: Sequence[str],
    clusters: Sequence[int],
    centrality: Sequence[float],
    teacher: Teacher | None,
    *,
    num_instructions: int = 8,
    max_tokens: int = 20_000,
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
        max_tokens: Limit of the clusters in one request, in estimated tokens.
        prompts: `default`, `small` or a folder; None: the teacher's default.
        cache_dir: Folder of the cache; None: as in `core.apply`.

    Returns:
        The names.
    """
    members: list[list[tuple[float, str]]] = [[] for _ in range(max(clusters) + 1)]
    for instruction, number, value in zip(instructions, clusters, centrality, strict=True):
        members[number].append((-value, instruction))
    texts = [[text for _, text in sorted(group)] for group in members]
    shared = find_keywords(texts, _MIN_INSTRUCTIONS)
    keywords = [words or others for words, others in zip(shared, find_keywords(texts), strict=True)]
    if teacher is None:
        return _make_unique([""] * len(texts), keywords)
    shown = [
        {"instructions": [flatten(text) for text in pick_different(group, num_instructions)], "keywords": words}
        for group, words in zip(texts, shared, strict=True)
    ]
    prompt = load_prompts(prompts or teacher.prompts)["topic"]
    with teacher.phase("topics", total=len(_pack(shown, prompt, max_tokens))) as progress:
        named = apply(
            from_rows(shown, _CLUSTERS),
            name_table,
            phase="topics",
            features=_TOPICS,
            settings={"prompt": prompt, "max_tokens": max_tokens},
            resources={"ask": teacher.ask},
            depends_on=teacher.identity,
            batch_size=None,
            cache_dir=cache_dir,
            is_final=lambda: progress.is_final,
        )
    return _make_unique(named["topic"][:], keywords)


def name_table(batch: Batch, *, ask: Ask, prompt: Prompt, max_tokens: int) -> Columns:
    """Request the names of clusters: of as many in one request as fit, and again of those without a name.

    Args:
        batch: Columns `instructions` and `keywords` (lists of str).
        ask: Sends requests and returns replies.
        prompt: The prompt `topic`.
        max_tokens: Limit of the clusters in one request, in estimated tokens; a longer one has a request of its own.

    Returns:
        Column `topic` (str, "" if the request failed).
    """
    groups = [[GroupedItem(prompt, row) for row in packed] for packed in _pack(rows(batch), prompt, max_tokens)]
    replies = ask_groups(ask, groups, lambda answer: bool(_clean(answer["topic"])))
    return columns([{"topic": _clean(reply.content["topic"]) if reply.content else ""} for reply in replies], _TOPICS)


def _pack(clusters: Sequence[Mapping[str, Any]], prompt: Prompt, max_tokens: int) -> list[list[Mapping[str, Any]]]:
    """Split clusters, in their order, into as few requests as fit the limits."""
    packed: list[list[Mapping[str, Any]]] = []
    total, limit = 0.0, prompt.max_items("answers") if prompt.is_grouped else 1
    for row in clusters:
        size = estimate_tokens("".join(f"- {text}\n" for text in [*row["instructions"], *row["keywords"]]))
        if not packed or total + size > max_tokens or len(packed[-1]) == limit:
            packed.append([])
            total = 0.0
        packed[-1].append(row)
        total += size
    return packed


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


def find_keywords(groups: Sequence[Sequence[str]], min_instructions: int = 1) -> list[list[str]]:
    """Return the keywords of each group by class-based TF-IDF (Grootendorst 2022, arXiv:2203.05794), best first.

    A keyword is in at least `min_instructions` texts of its group.
    """
    import numpy as np
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(stop_words="english", token_pattern=_WORD)
    group_of = [number for number, group in enumerate(groups) for _ in group]
    belongs = csr_array((np.ones(len(group_of)), (group_of, range(len(group_of)))))
    try:
        found = vectorizer.fit_transform(chain.from_iterable(groups))
    except ValueError:  # no word but stop words
        return [[] for _ in groups]
    words = vectorizer.get_feature_names_out()
    counts = (belongs @ found).toarray()
    frequency = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    weight = frequency * np.log1p(counts.sum() / len(groups) / np.maximum(counts.sum(axis=0), 1))
    weight[(belongs @ (found > 0)).toarray() < min_instructions] = 0
    best = np.argsort(-weight, axis=1, kind="stable")[:, :_NUM_KEYWORDS]
    return [[str(words[word]) for word in row if weight[group, word] > 0] for group, row in enumerate(best)]


def _clean(topic: str) -> str:
    """Return a name on one line, without quotes around it or a full stop."""
    return flatten(topic).strip(" .\"'")


def _make_unique(topics: list[str], keywords: list[list[str]]) -> list[str]:
    """Truncate long names, fill in missing ones, and make equal ones unique by a keyword or a number."""
    names: list[str] = []
    taken: set[str] = set()
    for number, (topic, words) in enumerate(zip(topics, keywords, strict=True), start=1):
        name = _clean(topic)[:_MAX_NAME_LENGTH].strip() or ", ".join(words[:3]) or f"cluster {number}"
        others = (word for word in words if word not in name.casefold())
        choices = chain([name], (f"{name} ({word})" for word in others), (f"{name} ({n})" for n in count(number)))
        name = next(choice for choice in choices if choice.casefold() not in taken)
        taken.add(name.casefold())
        names.append(name)
    return names
