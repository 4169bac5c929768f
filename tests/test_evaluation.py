import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_instruct_hf.errors import SchemaError
from auto_instruct_hf.evaluation.intervals import measure_share
from auto_instruct_hf.evaluation.questions import QUESTIONS, applies
from auto_instruct_hf.sampling import pick


def instances(sizes: dict[tuple[int, bool], int]) -> Dataset:
    return Dataset.from_list(
        [
            {
                "instance_id": f"{cluster}-{is_clf}-{number}-{copy}",
                "instruction_id": f"{cluster}-{is_clf}-{number}",
                "is_classification": is_clf,
                "cluster": cluster,
            }
            for (cluster, is_clf), size in sizes.items()
            for number in range(size)
            for copy in range(2)
        ]
    )


def test_the_interval_is_that_of_wilson() -> None:
    # Newcombe 1998, table I: 81 of 263, 0.2553 to 0.3662.
    share = measure_share([True] * 81 + [False] * 182)
    assert (round(share.low, 4), round(share.high, 4)) == (0.2553, 0.3662)


def test_missing_answers_do_not_count() -> None:
    share = measure_share([True, None, False, None])
    assert (share.yes, share.asked, share.share) == (1, 2, 0.5)
    assert measure_share([None]).share is None


@given(st.lists(st.sampled_from([True, False, None]), min_size=1))
def test_a_share_is_within_its_interval(answers: list[bool | None]) -> None:
    share = measure_share(answers)
    assert 0 <= share.low <= (share.share or 0) + 1e-12
    assert share.share is None or share.share <= share.high + 1e-12


def test_the_question_about_the_strategy_needs_one() -> None:
    asked = {question.name: question for question in QUESTIONS}["strategy_valid"]
    assert applies(asked, {"attribute": "by example", "is_classification": False})
    assert not applies(asked, {"attribute": "", "is_classification": False})
    assert not applies(asked, {"attribute": "a label", "is_classification": True})


@given(
    st.dictionaries(st.tuples(st.integers(0, 3), st.booleans()), st.integers(1, 12), min_size=1),
    st.integers(1, 60),
    st.integers(0, 5),
)
@settings(max_examples=40)
def test_picks_are_exact_and_proportional(sizes: dict[tuple[int, bool], int], size: int, seed: int) -> None:
    data = instances(sizes)
    total = sum(sizes.values())
    picked = pick(data, size, seed)
    assert len(picked) == len(set(picked["instruction_id"])) == min(size, total)
    for (cluster, is_clf), there in sizes.items():
        found = sum(row["cluster"] == cluster and row["is_classification"] == is_clf for row in picked.to_list())
        assert abs(found - min(size, total) * there / total) < 1


def test_picks_do_not_depend_on_the_order_of_rows() -> None:
    data = instances({(0, True): 5, (1, False): 20})
    shuffled = data.select(np.random.default_rng(1).permutation(len(data)))
    assert pick(data, 10)["instance_id"][:] == pick(shuffled, 10)["instance_id"][:]
    assert pick(data, 10)["instance_id"][:] != pick(data, 10, seed=7)["instance_id"][:]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(SchemaError, match="instance_id"):
        pick(Dataset.from_dict({"instruction": ["a"]}), 1)
