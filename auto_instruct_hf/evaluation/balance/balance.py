"""Balance of clusters and of labels, a module for `evaluate`."""

from collections.abc import Hashable, Sequence

from auto_instruct_hf.evaluation.measurement import make_measurement
from auto_instruct_hf.evaluation.measures import Figures, measure_evenness, measure_labels


def _compute(
    clusters: Sequence[Hashable],
    num_clusters: int | None = None,
    tasks: Sequence[Hashable] | None = None,
    labels: Sequence[Hashable] | None = None,
) -> Figures:
    if (tasks is None) != (labels is None):
        raise ValueError("tasks and labels come together: give both, or neither")
    return {
        "clusters": measure_evenness(clusters, num_clusters),
        "labels": None if tasks is None or labels is None else measure_labels(tasks, labels),
    }


Balance = make_measurement(
    "Balance",
    _compute,
    ("clusters",),
    types=("int64", "string"),
    description="""\
How evenly rows are distributed over clusters, and the rows of each classification task over its labels: the entropy
divided by its highest possible value, 1 where all are of equal size.
""",
    inputs="""
Args:
    clusters (list of int or str): the cluster of each row.
    num_clusters (int, optional): the number of clusters; None: those that occur.
    tasks (list, optional): the task of each row of a classification task.
    labels (list, optional): the label of each of these rows; labels without rows do not count.
Returns:
    clusters: `normalised_entropy` in [0, 1] (None for fewer than two clusters), `effective_number`, `coverage`,
        `largest_share`, `num_rows`, `num_kinds`, `num_met`.
    labels: `num_tasks`, `num_one_label`, and the distributions of `labels_a_task` and `normalised_entropy`; None
        without tasks.
Examples:
    >>> balance = evaluate.load("auto_instruct_hf/evaluation/balance")
    >>> balance.compute(clusters=[0, 0, 1, 1])["clusters"]["normalised_entropy"]
    1.0
""",
    citation="""\
@article{pielou1966measurement,
  title = {The measurement of diversity in different types of biological collections},
  author = {Pielou, E. C.}, journal = {Journal of Theoretical Biology}, volume = {13}, pages = {131--144}, year = {1966}
}
""",
)
