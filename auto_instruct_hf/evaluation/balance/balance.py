"""Balance of clusters and of labels, a module for `evaluate`."""

from typing import Any

import datasets
import evaluate

from auto_instruct_hf.evaluation.measures import measure_evenness, measure_labels

_DESCRIPTION = """\
How evenly rows fall on clusters, and those of each classification task on its labels: the entropy by its highest
possible value, 1 where all are of equal size.
"""
_INPUTS = """
Args:
    clusters (list of int or str): the cluster of each row.
    num_clusters (int, optional): how many clusters there are; None: those that are met.
    tasks (list, optional): the task of each row of a classification task.
    labels (list, optional): the label of each of these rows; a label that no row has does not count.
Returns:
    clusters: `normalised_entropy` in [0, 1] (None for fewer than two clusters), `effective_number`, `coverage`,
        `largest_share`, `num_rows`, `num_kinds`, `num_met`.
    labels: `num_tasks`, `num_one_label`, and the distributions of `labels_a_task` and `normalised_entropy`; None
        without tasks.
Examples:
    >>> balance = evaluate.load("auto_instruct_hf/evaluation/balance")
    >>> balance.compute(clusters=[0, 0, 1, 1])["clusters"]["normalised_entropy"]
    1.0
"""
_CITATION = """\
@article{pielou1966measurement,
  title = {The measurement of diversity in different types of biological collections},
  author = {Pielou, E. C.}, journal = {Journal of Theoretical Biology}, volume = {13}, pages = {131--144}, year = {1966}
}
"""


class Balance(evaluate.Measurement):
    """Balance of clusters and of labels."""

    def _info(self) -> Any:
        return evaluate.MeasurementInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=[datasets.Features({"clusters": datasets.Value(kind)}) for kind in ("int64", "string")],
        )

    def _compute(
        self,
        clusters: list[Any],
        num_clusters: int | None = None,
        tasks: list[Any] | None = None,
        labels: list[Any] | None = None,
    ) -> dict[str, Any]:
        if (tasks is None) != (labels is None):
            raise ValueError("tasks and labels come together: give both, or neither")
        return {
            "clusters": measure_evenness(clusters, num_clusters),
            "labels": None if tasks is None or labels is None else measure_labels(tasks, labels),
        }
