"""Balance of clusters and of labels, a module for `evaluate`."""

from collections.abc import Hashable, Sequence

from auto_instruct_hf.evaluation.measurement import make_measurement
from auto_instruct_hf.evaluation.measures import Figures, measure_evenness, measure_labels


def _measure_balance(
    clusters: Sequence[Hashable],
    num_clusters: int | None = None,
    tasks: Sequence[Hashable] | None = None,
    labels: Sequence[Hashable] | None = None,
) -> Figures:
    """Measure how evenly rows are distributed over clusters, and those of each classification task over its labels.

    Args:
        clusters: The cluster of each row, int or str.
        num_clusters: The number of clusters; None: those that occur.
        tasks: The task of each row of a classification task; None: no labels are measured.
        labels: The label of each of these rows; labels without rows do not count.

    Returns:
        `clusters`: `normalised_entropy` in [0, 1], 1 if all have the same size (None for fewer than two clusters),
        `effective_number`, `coverage`, `largest_share`, `num_rows`, `num_kinds`, `num_met`; `labels`: `num_tasks`,
        `num_one_label`, and the distributions of `labels_a_task` and `normalised_entropy`; None without tasks.

    Raises:
        ValueError: If only one of `tasks` and `labels` is given.
    """
    if (tasks is None) != (labels is None):
        raise ValueError("tasks and labels come together: give both, or neither")
    return {
        "clusters": measure_evenness(clusters, num_clusters),
        "labels": None if tasks is None or labels is None else measure_labels(tasks, labels),
    }


Balance = make_measurement(
    "balance",
    _measure_balance,
    ("clusters",),
    types=("int64", "string"),
    example="""\
    >>> balance.compute(clusters=[0, 0, 1, 1])["clusters"]["normalised_entropy"]
    1.0
""",
    citation="""\
@article{pielou1966measurement, author = {Pielou, E. C.}, year = {1966}, volume = {13}, pages = {131--144},
  title = {The measurement of diversity in different types of biological collections},
  journal = {Journal of Theoretical Biology}}
""",
)
