"""The page of an evaluation: one HTML file that loads nothing from the network and is readable without its script.

The template escapes all texts of models and people, and a Content-Security-Policy lets only the page's own script run.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path

import jinja2

from ...core import CONTROL
from ..judging import passed_all
from ..measures import Figures, find_figure
from ..questions import NAMES, DatasetRow
from .results import Evaluation, EvaluationFigures

_HERE = Path(__file__).parent
_MAX_LETTERS = 3000
_SHORT = {
    "valid_task": "The task is valid",
    "input_fits": "The input fits",
    "strategy_valid": "The strategy is sound",
    "output_follows_strategy": "The output follows the strategy",
    "output_correct": "The output is correct",
}
_ALIGNMENT = {"all": "Alignment", "other": "Alignment, texts", "classification": "Alignment, labels"}


def render_page(evaluation: Evaluation) -> str:
    """Render the page as HTML with its styles and script; the same evaluation gives the same page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=_percent, number=_number, count=_count, readable=_readable, whole=lambda share: f"{100 * share:.2f}"
    )
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    figures = evaluation.figures
    return environment.get_template("page.html.jinja").render(
        {
            **figures,
            "style": (_HERE / "page.css").read_text(encoding="utf-8"),
            "script": script,
            "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            "short": _SHORT,
            "names": NAMES,
            "peers": list(dict.fromkeys(peer for row in figures["table"] for peer in row["published"])),
            "faults": list_faults(figures["judge"]),
            "tiles": list_headlines(figures),
            "gains": _place_gains(figures["training"]) if figures["training"] else [],
            "histograms": _list_histograms(figures),
            "groups": [
                (name, list(rows))
                for name, rows in groupby(map(_mark, evaluation.samples), key=lambda row: str(row["cluster"]))
            ],
            "num_samples": len(evaluation.samples),
        }
    )


def list_headlines(figures: Mapping[str, object]) -> list[tuple[str, str, str]]:
    """Return the most telling figures of an evaluation, for the page and the card.

    Args:
        figures: As `evaluate` returns them.

    Returns:
        Name, value and meaning of each figure that is known.
    """
    measures = figures["measures"]
    alignment = find_figure(measures, "alignment")
    near = "share whose nearest other has a ROUGE-L above {:g}"
    unique = "share of instructions whose nearest other has a cosine of at most {:g}, by embeddings"
    meaning = "how often an output is nearer to its own task than to another; 0.5: chance"
    headlines: list[tuple[str, str, str, Callable[..., str]]] = [
        ("Near copies, instructions", "instructions.nearest.share_above", near, _percent),
        ("Near copies, outputs", "outputs.nearest.share_above", near, _percent),
        ("Unique in meaning", "instructions.meaning.share_unique", unique, _percent),
        ("Near the seeds", "overlap.share_above", "share of instructions above {:g} to a seed task", _percent),
        ("Vendi score", "instructions.vendi", "effective number of different instructions, by embeddings", _number),
        ("Distinct bigrams", "outputs.distinct.distinct_2", "of all word pairs in outputs", _percent),
        ("Verb-object pairs", "instructions.verb_nouns.num_pairs", "different ones in instructions", _count),
        ("Without an input", "inputs.lengths.share_empty", "share of the instances", _percent),
        ("Without an output", "outputs.lengths.share_empty", "share of the instances", _percent),
        ("Evenness of topics", "balance.clusters.normalised_entropy", "1: all of one size", _number),
        *(
            (_ALIGNMENT[kind], f"alignment.{kind}.auc", meaning, _number)
            for kind in (alignment if isinstance(alignment, Mapping) else ())
        ),
    ]
    return [
        (name, show(value), means.format(find_figure(measures, path.rpartition(".")[0] + ".threshold") or 0))
        for name, path, means, show in headlines
        if (value := find_figure(measures, path)) is not None
    ]


def list_faults(judge: Figures | None) -> list[tuple[str, Figures]]:
    """Return the name and the figures of each kind of fault in `JudgeFigures.checks` as JSON; None: no judge."""
    return [(name, found) for name, found in judge["checks"].items() if "caught" in found] if judge else []


def _place_gains(training: Figures) -> list[tuple[str, list[tuple[str, float, float, float, str]], float]]:
    """Return each set of tasks, its arms with low, high and gain as shares of the axis and as text, and where 0 is."""
    found = []
    for name in training["shown"]:
        gains = {arm: one["gain"] for arm, one in training["losses"][name].items() if "gain" in one}
        low = min([0.0, *(one["low"] for one in gains.values())])
        span = max([0.0, *(one["high"] for one in gains.values())]) - low or 1.0
        rows = [
            (arm, *((one[key] - low) / span for key in ("low", "high", "value")), f"{one['value']:+.3f}")
            for arm, one in gains.items()
        ]
        found.append((name, rows, -low / span))
    return found


def _mark(row: DatasetRow) -> Figures:
    """Add whether the judge answered no to a question, and whether two raters, models or people, disagree on one."""
    judgement = row["judgement"]
    given = [*row["ratings"], *([judgement] if judgement else [])]
    differs = any(len({one[name] for one in given} - {None}) > 1 for name in NAMES)
    return {**row, "refused": bool(judgement) and not passed_all(judgement), "differs": differs}


def _list_histograms(figures: EvaluationFigures) -> list[tuple[str, str, list[tuple[str, int]], tuple[str, str]]]:
    """Return the title, the text, the bars (range and count) and the ends of the axis of each histogram."""
    found = []
    for name, one in figures["lengths"].items():
        if counts := one["counts"]:
            width, words = one["width"], figures["measures"][f"{name}s"]["lengths"]["words"]
            beyond = f"; {one['beyond']:,} longer, up to {words['max']:,.0f}" if one["beyond"] else ""
            text = f"median {words['median']:,.0f}, mean {words['mean']:,.1f} words{beyond}"
            starts = range(1, len(counts) * width + 1, width)
            edges = [f"{start} to {start + width - 1}" if width > 1 else str(start) for start in starts]
            ends = "1", f"{len(counts) * width:,} words"
            found.append((f"Length of {name}s in words", text, list(zip(edges, counts, strict=True)), ends))
    for name in ("instructions", "outputs"):
        near = figures["measures"].get(name, {}).get("nearest")
        if near and near["rouge_l"]["count"]:
            counts = near["histogram"]
            edges = [f"{bar / len(counts):.2f} to {(bar + 1) / len(counts):.2f}" for bar in range(len(counts))]
            text = f"ROUGE-L F1; median {near['rouge_l']['median']:.2f}, of {near['rouge_l']['count']:,}; 1 is a copy"
            bars = list(zip(edges, counts, strict=True))
            found.append((f"Each of the {name} and its nearest other", text, bars, ("0", "1")))
    return found


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _readable(text: str) -> str:
    """Replace control characters other than line ends, and truncate long texts."""
    shown = CONTROL.sub(lambda found: "\n" * found[0].count("\n") or " ", text[:_MAX_LETTERS])
    more = len(text) - _MAX_LETTERS
    return f"{shown} … ({more:,} characters more)" if more > 0 else shown
