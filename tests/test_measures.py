import json
import math
import random
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest
from datasets import ClassLabel, Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from auto_instruct_hf.core.arrays import FloatArray, Vectors
from auto_instruct_hf.embedding import phase as embedding_phase
from auto_instruct_hf.errors import SchemaError
from auto_instruct_hf.evaluation import measures
from auto_instruct_hf.evaluation.length_profile.length_profile import LengthProfile
from auto_instruct_hf.evaluation.measures import (
    join_prompt,
    measure_alignment,
    measure_dataset,
    measure_distinct,
    measure_evenness,
    measure_labels,
    measure_lengths,
    measure_meaning,
    measure_nearest,
    measure_overlap,
    measure_vendi,
    measure_verb_nouns,
)
from auto_instruct_hf.evaluation.measures.distributions import describe_values
from auto_instruct_hf.generation.seeds import read_seeds
from auto_instruct_hf.novelty.tokens import tokenize

EVALUATION = Path(measures.__file__).parents[1]
TEXT = st.lists(st.sampled_from("abcde!"), max_size=7).map(" ".join)
TEXTS = st.lists(TEXT, max_size=8)
QUICK = settings(max_examples=40)
Columns = dict[str, list[Any]]


@pytest.fixture(scope="module")
def sound() -> Columns:
    """A dataset without flaws: seed tasks that are not classification, written by hand."""
    rows = [row for row in read_seeds().to_list() if not row["is_classification"]][:60]
    names = sorted({row["domain"] for row in rows})
    columns: Columns = {name: [row[name] for row in rows] for name in ("instruction", "input", "output")}
    columns["cluster"] = [names.index(row["domain"]) for row in rows]
    columns["is_classification"] = [False] * len(rows)
    return columns


@pytest.fixture
def folder(sound: Columns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of an embedding model that places all texts of a task close together."""
    prompts = map(join_prompt, sound["instruction"], sound["input"])
    texts = zip(sound["instruction"], prompts, sound["output"], strict=True)
    tasks = {text: number for number, own in enumerate(texts) for text in own}

    def draw(seed: int | list[int]) -> FloatArray:
        return np.random.default_rng(seed).normal(size=128)

    def encode(texts: list[str]) -> Vectors:
        vectors = np.array([draw(tasks[text]) + draw(list(text.encode())) for text in texts])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    monkeypatch.setattr(embedding_phase, "make_encoder", lambda *_: encode)
    return tmp_path


def measured(columns: Columns, folder: Path | None = None, **options: Any) -> dict[str, Any]:
    options = {"cache_dir": folder, "with_embeddings": folder is not None, **options}
    return measure_dataset(Dataset.from_dict(columns), **options)


def rouge(one: str, other: str) -> float:
    return float(RougeScorer(["rougeL"]).score(one, other)["rougeL"].fmeasure)


def test_all_measures_of_diversity_detect_planted_copies(sound: Columns, folder: Path) -> None:
    copied = {name: values[:45] + values[:15] for name, values in sound.items()}
    before, after = (measured(columns, folder)["instructions"] for columns in (sound, copied))
    for n in range(1, 5):
        assert after["distinct"][f"distinct_{n}"] < before["distinct"][f"distinct_{n}"]
    assert after["vendi"] < before["vendi"] - 5
    assert after["nearest"]["rouge_l"]["mean"] > before["nearest"]["rouge_l"]["mean"]
    assert (before["nearest"]["share_above"], after["nearest"]["share_above"]) == (0, 0.5)
    assert after["verb_nouns"]["num_pairs"] < before["verb_nouns"]["num_pairs"]


def test_only_the_alignment_detects_shuffled_outputs(sound: Columns, folder: Path) -> None:
    found = []
    for count in (0, 6, 60):  # none, a tenth, all
        rows = random.Random(0).sample(range(60), count)
        outputs = list(sound["output"])
        for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
            outputs[row] = sound["output"][other]
        found.append(measured({**sound, "output": outputs}, folder))
    none, tenth, all_ = (one.pop("alignment")["other"] for one in found)
    assert found[0] == found[1] == found[2]
    assert none["auc"] > 0.95
    assert tenth["auc"] == pytest.approx(none["auc"] - 0.1 * (none["auc"] - 0.5), abs=0.04)
    assert tenth["share_below_chance"] > none["share_below_chance"]
    assert abs(all_["auc"] - 0.5) < 4 * all_["standard_error"]


def test_a_cluster_without_rows_is_not_covered(sound: Columns) -> None:
    names = [f"topic {number}" for number in range(2 * len(set(sound["cluster"])))]
    data = Dataset.from_dict(sound).cast_column("cluster", ClassLabel(names=names))
    found = measure_dataset(data, with_embeddings=False)["balance"]["clusters"]
    assert (found["coverage"], found["num_kinds"]) == (0.5, len(names))


def test_uneven_labels_are_detected() -> None:
    columns: Columns = {
        "instruction": ["Is it kind?"] * 4 + ["Is it long?"] * 4 + ["Write a poem."] * 4,
        "instruction_id": ["a"] * 4 + ["b"] * 4 + ["c"] * 4,
        "is_classification": [True] * 8 + [False] * 4,
        "attribute": ["yes", "no"] * 4 + ["rhymed"] * 4,
    }
    even = measured(columns)["balance"]["labels"]
    assert even["normalised_entropy"]["min"] == pytest.approx(1)
    assert (even["num_tasks"], even["num_one_label"]) == (2, 0)
    columns["attribute"] = ["yes", "yes", "yes", "no"] + ["yes"] * 4 + [""] * 4
    uneven = measured(columns)["balance"]["labels"]
    assert uneven["normalised_entropy"]["deciles"] == pytest.approx([0.8112781] * 9)  # H(1/4) in bits
    assert (uneven["num_tasks"], uneven["num_one_label"]) == (2, 1)


def test_copies_of_the_references_are_detected(sound: Columns) -> None:
    half = measured(sound, references=[*sound["instruction"][:30], "another text"])["overlap"]
    assert (half["share_above"], half["num_texts"], half["num_references"]) == (0.5, 60, 31)
    assert half["rouge_l"]["max"] == 1


def test_repeated_rows_count_once(sound: Columns) -> None:
    drawn = {name: values + values[:20] for name, values in sound.items()}
    keys: Columns = {
        "instance_id": [str(row) for row in [*range(60), *range(20)]],
        "num_draws": [2] * 20 + [1] * 40 + [2] * 20,
    }
    plain = measured(sound)
    for name, values in keys.items():
        found = measured({**drawn, name: values})
        assert found.pop("rows") == {"given": 80, "measured": 60, "counted_once_by": name, "instructions": 60}
        assert found == {key: value for key, value in plain.items() if key != "rows"}
    assert measured(drawn)["rows"]["measured"] == 80


def test_an_instruction_with_several_instances_counts_once(sound: Columns) -> None:
    twice = {name: values * 2 for name, values in sound.items()}
    twice["instruction_id"] = [str(row) for row in range(60)] * 2
    found = measured(twice)
    assert found["instructions"] == measured(sound)["instructions"]
    assert (found["rows"]["instructions"], found["outputs"]["nearest"]["share_above"]) == (60, 1)


def test_the_order_of_rows_does_not_matter(sound: Columns, folder: Path) -> None:
    options: dict[str, Any] = {"nearest_outputs": 20, "aligned_rows": 30}
    order = random.Random(1).sample(range(60), 60)
    turned = {name: [values[row] for row in order] for name, values in sound.items()}
    one, other = (measured(columns, folder, **options) for columns in (sound, turned))
    assert one["outputs"]["nearest"]["rouge_l"]["count"] == 20
    assert one["alignment"]["other"]["num_rows"] == 30
    assert one["instructions"].pop("vendi") == pytest.approx(other["instructions"].pop("vendi"))
    assert one.pop("alignment")["other"] == pytest.approx(other.pop("alignment")["other"])
    assert one == other


def test_missing_measures_have_a_reason(sound: Columns) -> None:
    found = measured({"instruction": sound["instruction"]})
    assert set(found["left_out"]) == {
        *(
            "instructions.meaning",
            "instructions.vendi",
            "inputs.lengths",
            "outputs.lengths",
            "outputs.distinct",
            "outputs.nearest",
        ),
        *("balance.clusters", "balance.labels", "alignment"),
    }
    assert found["left_out"]["inputs.lengths"] == "there is no column 'input'"
    assert found["left_out"]["instructions.vendi"] == "embeddings were not asked for"
    with pytest.raises(SchemaError, match="prompt"):
        measured({"prompt": ["a"]})
    with pytest.raises(SchemaError, match="null in row 2"):
        measured({"instruction": ["a", None]})


def test_a_dataset_without_rows_is_measured(folder: Path) -> None:
    empty = Dataset.from_dict({"instruction": ["a"], "input": [""], "output": ["b"]}).select([])
    found = measure_dataset(empty, cache_dir=folder)
    assert found["left_out"]["instructions.vendi"] == "there are no rows"
    assert found["instructions"]["nearest"]["rouge_l"]["count"] == 0
    json.dumps(found, allow_nan=False)


@given(TEXTS)
@QUICK
def test_distinct_follows_its_definition(texts: list[str]) -> None:
    found = measure_distinct(texts)
    for n in range(1, 5):
        grams = [tuple(row[at : at + n]) for row in map(tokenize, texts) for at in range(len(row) - n + 1)]
        assert found[f"distinct_{n}"] == (len(set(grams)) / len(grams) if grams else None)


@given(TEXTS, st.integers(0, 9))
@QUICK
def test_nearest_is_exact_for_all_and_for_a_sample(texts: list[str], num_rows: int) -> None:
    exact = [
        max((rouge(one, other) for at, other in enumerate(texts) if at != row), default=0.0)
        for row, one in enumerate(texts)
    ]
    assert measure_nearest(texts)["rouge_l"] == describe_values(exact)
    sampled, whole = measure_nearest(texts, num_rows=num_rows), measure_nearest(texts[::-1])
    assert sampled == measure_nearest(texts[::-1], num_rows=num_rows)
    assert sampled["rouge_l"]["count"] == min(num_rows, len(texts))
    assert all(one <= other for one, other in zip(sampled["histogram"], whole["histogram"], strict=True))


@given(TEXTS, TEXTS)
@QUICK
def test_overlap_is_exact(texts: list[str], others: list[str]) -> None:
    found = measure_overlap(texts, others, threshold=0.5)
    exact = [max((rouge(one, other) for other in others), default=0.0) for one in texts]
    assert found["rouge_l"] == describe_values(exact)
    assert found["share_above"] == (sum(value > 0.5 for value in exact) / len(texts) if texts else None)


@given(st.integers(1, 20), st.integers(1, 8), st.integers(0, 99), st.integers(1, 3))
@QUICK
def test_vendi_equals_that_of_the_matrix_of_all_pairs(rows: int, size: int, seed: int, copies: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(rows, size))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / rows)
    values = values[values > 1e-12]
    found = measure_vendi(np.random.default_rng(1).permutation(np.repeat(vectors, copies, axis=0)))
    assert found == pytest.approx(math.exp(-(values * np.log(values)).sum()))
    assert found is not None
    assert 1 <= found <= min(rows * copies, size)


def test_a_zero_vector_is_named() -> None:
    with pytest.raises(ValueError, match="vector 1 has the length 0"):
        measure_vendi(np.array([[1.0, 0], [0, 0]]))
    assert measure_vendi(np.zeros((0, 3))) is None


def test_unique_in_meaning_is_what_has_no_near_other() -> None:
    vectors = np.array([[1, 0], [0.96, 0.28], [0, 1], [0.8, 0.6]], dtype=np.float32)
    found = measure_meaning(vectors, 0.9)
    assert found["cosine"]["max"] == pytest.approx(0.96)
    assert (found["num_texts"], found["num_unique"], found["share_unique"], found["num_groups"]) == (4, 1, 0.25, 2)
    nothing = measure_meaning(vectors[:0])
    assert (nothing["num_unique"], nothing["share_unique"], nothing["num_groups"]) == (0, None, 0)


@given(st.lists(st.integers(0, 4)), st.integers(0, 3))
@QUICK
def test_evenness_is_within_its_bounds(kinds: list[int], more: int) -> None:
    found = measure_evenness(kinds, len(set(kinds)) + more)
    assert found["effective_number"] <= found["num_met"] + 1e-9
    assert found["normalised_entropy"] is None or 0 <= found["normalised_entropy"] <= 1
    assert found == measure_evenness(kinds[::-1], len(set(kinds)) + more)


@given(st.integers(2, 9), st.integers(1, 5))
@QUICK
def test_kinds_of_equal_size_are_even(number: int, size: int) -> None:
    found = measure_evenness(list(range(number)) * size)
    assert (found["normalised_entropy"], found["effective_number"]) == (pytest.approx(1), pytest.approx(number))
    uneven = measure_evenness([*range(number), 0])
    assert uneven["normalised_entropy"] < 1
    assert uneven["largest_share"] == 2 / (number + 1)


def test_too_few_kinds_are_rejected() -> None:
    with pytest.raises(ValueError, match="2 different kinds"):
        measure_evenness([0, 1], 1)
    assert measure_evenness([3, 3])["normalised_entropy"] is None
    assert measure_labels([], [])["num_tasks"] == 0


@given(st.integers(2, 12), st.integers(0, 50))
@QUICK
def test_alignment_is_one_for_own_outputs_and_a_half_for_equal_ones(number: int, seed: int) -> None:
    prompts = np.eye(12, dtype=np.float32)[:number]
    assert measure_alignment(prompts, prompts, range(number))["auc"] == 1
    blank = np.tile(np.eye(12, dtype=np.float32)[-1:], (number, 1)) if number < 12 else np.zeros((12, 12), np.float32)
    assert measure_alignment(prompts, blank, range(number))["auc"] == 0.5
    draw = np.random.default_rng(seed)
    a, b = draw.normal(size=(2, number, 5)).astype(np.float32)
    found, order = measure_alignment(a, b, range(number)), draw.permutation(number)
    assert 0 <= found["auc"] <= 1
    assert measure_alignment(a[order], b[order], range(number))["auc"] == pytest.approx(found["auc"])


def test_rows_of_one_instruction_are_not_controls_of_each_other() -> None:
    vectors = np.eye(4, dtype=np.float32)
    swapped = vectors[[1, 0, 2, 3]]  # within an instruction: any of its outputs will do
    assert measure_alignment(vectors, swapped, ["a", "a", "b", "c"])["share_below_chance"] == 0
    assert measure_alignment(vectors, swapped, ["a", "d", "b", "c"])["share_below_chance"] == 0.5
    alone = measure_alignment(vectors, vectors, ["a"] * 4)
    assert (alone["auc"], alone["num_rows"]) == (None, 0)


def test_a_sample_of_controls_approximates_all() -> None:
    draw = np.random.default_rng(0)
    prompts = draw.normal(size=(600, 8)).astype(np.float32)
    outputs = prompts + draw.normal(size=(600, 8)).astype(np.float32)
    whole, sampled = (measure_alignment(prompts, outputs, range(600), num_controls=count) for count in (600, 100))
    assert (whole["num_controls"], sampled["num_controls"]) == (600, 100)
    assert sampled["auc"] == pytest.approx(whole["auc"], abs=0.03)


def test_lengths_are_counted_in_words() -> None:
    found = measure_lengths(["one two  three", "", "four", "\n", "五六七八"])
    assert (found["num_texts"], found["share_empty"]) == (5, 0.4)
    assert (found["words"]["count"], found["words"]["mean"], found["words"]["median"]) == (3, 2, 2)


def test_verbs_and_nouns_are_counted() -> None:
    texts = ["Write a poem.", "Write a short poem.", "Write a story.", "Sort the list.", "Weiter so"]
    found = measure_verb_nouns(texts)
    assert (found["num_verbs"], found["num_pairs"]) == (2, 3)
    assert (found["share_with_verb"], found["share_with_both"]) == (0.8, 0.8)
    assert found["top_verbs"] == {"write": 3, "sort": 1}
    assert found["effective_verbs"] == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))
    assert found == measure_verb_nouns(texts[::-1])


def test_each_module_loads_offline_and_computes_what_its_function_does(tmp_path: Path) -> None:
    texts = ["Name a fruit.", "Name a fruit, please.", "Sort the list.", ""]
    vectors = np.eye(4, dtype=np.float32)
    prompts = {"instructions": texts, "inputs": [""] * 4, "outputs": texts}
    vendi = {"embeddings": vectors, "clusters": [0, 0, 1, 1], "num_clusters": 4}
    diversity = {
        "distinct": measure_distinct(texts),
        "nearest": measure_nearest(texts),
        "vendi": measure_vendi(vectors),
        "coverage": {"coverage": 0.5, "num_met": 2, "num_kinds": 4},
    }
    kinds = {"clusters": ["x", "y", "y"], "tasks": [0, 0], "labels": ["a", "b"]}
    balance = {"clusters": measure_evenness(["x", "y", "y"]), "labels": measure_labels([0, 0], ["a", "b"])}
    aligned = measure_alignment(vectors, vectors, texts)
    calls: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "diversity": ({"texts": texts, **vendi}, diversity),
        "balance": (kinds, balance),
        "verb_nouns": ({"instructions": texts}, measure_verb_nouns(texts)),
        "length_profile": ({"texts": texts}, measure_lengths(texts)),
        "overlap": ({"texts": texts, "others": ["Sort it."]}, measure_overlap(texts, ["Sort it."])),
        "alignment": ({**prompts, "prompt_embeddings": vectors, "output_embeddings": vectors}, aligned),
    }
    assert set(calls) == {path.parent.name for path in EVALUATION.glob("*/*.py") if path.stem == path.parent.name}
    for name, (arguments, expected) in calls.items():
        module = evaluate.load(str(EVALUATION / name), cache_dir=str(tmp_path))
        assert module.module_type == "measurement"
        assert module.compute(**arguments) == expected
        assert json.dumps(expected, allow_nan=False)


def test_a_module_is_a_class_that_takes_batches(tmp_path: Path) -> None:
    module = LengthProfile(cache_dir=str(tmp_path))
    for texts in (["one", ""], ["two words"]):
        module.add_batch(texts=texts)
    assert module.compute() == measure_lengths(["one", "", "two words"])


def test_only_the_modules_for_evaluate_import_it() -> None:
    for path in EVALUATION.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        may_import = path.stem in (path.parent.name, "measurement")
        assert may_import or not ("import evaluate\n" in text or "measurement import" in text), path
