"""The map of instructions, with labels that do not overlap."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...core import FloatArray, IntArray
from .drawing import COLOURS, DPI, GRID, INK, PAPER, WIDTH, add_panel, clean_names, fit, start, styled

_MAX_NAMED = 12  # our choice; the names of more clusters would cover the map
_MAX_DOTS = 10_000  # more overlap to a grey area and make a large file
_LETTER = 12 * DPI / 72  # pixels
_COVER_COST = 12  # our choice: covering a whole cluster costs as much as this distance from it, in letters
_BADGE = {"boxstyle": "round,pad=0.22", "fc": PAPER, "lw": 1.6, "alpha": 0.93}


@styled
def draw_map(positions: FloatArray, clusters: IntArray, names: Sequence[str]) -> Figure:
    """Draw the map of instructions: a scatter plot in which neighbouring clusters differ in colour.

    Args:
        positions: Shape (rows, 2), any unit.
        clusters: The cluster of each row, an index into `names`.
        names: The topics. Up to 12 label the map; with more, numbers do, and the names are listed below it.

    Returns:
        The scatter plot.
    """
    topics, clusters = clean_names(names), np.asarray(clusters, dtype=np.int64)
    is_named = len(topics) <= _MAX_NAMED
    columns = 2 if len(topics) <= 24 else 3
    key_height = 0.0 if is_named else 0.28 * math.ceil(len(topics) / columns) + 0.2
    shown = f"{_MAX_DOTS:,} of {len(positions):,}" if len(positions) > _MAX_DOTS else f"{len(positions):,}"
    note = f"One dot per instruction ({shown}), coloured by cluster; close means similar"
    note += "" if is_named else ". Numbers: column cluster"
    figure = start(7.4 + key_height, "What the instructions are about", note)
    axes = add_panel(figure, 0.3, 0.2 + key_height, WIDTH - 0.6, 6.2)
    axes.set(xticks=[], yticks=[], aspect="equal", facecolor="#f7f7f7", **_limits(positions, 9.4 / 6.2))
    axes.spines[:].set_visible(False)
    anchors = {int(key): np.median(positions[clusters == key], axis=0) for key in np.unique(clusters)}
    colours = _spread_colours(anchors)
    # Shuffled: drawn in order, the last cluster would hide the others.
    order = np.random.default_rng(0).permutation(len(positions))[:_MAX_DOTS]
    size = float(np.clip(30_000 / max(len(order), 1), 5, 40))
    shades = [colours[int(key)] for key in clusters[order]]
    axes.scatter(positions[order, 0], positions[order, 1], s=size, c=shades, alpha=0.6, linewidths=0)
    texts = {key: _wrap(topics[key], 22, 3) if is_named else str(key) for key in anchors}
    some = order[:2000]  # enough to show where the dots are
    _place_labels(axes, anchors, texts, colours, positions[some], 1 / np.bincount(clusters[some])[clusters[some]])
    if not is_named:
        _draw_key(figure, topics, colours, columns, key_height)
    return figure


def _limits(positions: FloatArray, ratio: float) -> dict[str, tuple[float, float]]:
    """Return the limits of a map `ratio` times as wide as high, with margins; positions may be equal or none."""
    low, high = (positions.min(axis=0), positions.max(axis=0)) if len(positions) else (np.zeros(2), np.ones(2))
    half = 0.54 * max(float(high[1] - low[1]), float(high[0] - low[0]) / ratio) or 1.0
    x, y = float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2
    return {"xlim": (x - half * ratio, x + half * ratio), "ylim": (y - half, y + half)}


def _draw_key(figure: Figure, topics: Sequence[str], colours: Mapping[int, str], columns: int, height: float) -> None:
    """List numbers and names of the clusters below the map."""
    axes = add_panel(figure, 0.3, 0.1, WIDTH - 0.6, height)
    axes.axis("off")
    axes.set(xlim=(0, WIDTH - 0.6), ylim=(height, 0))  # a unit is an inch
    lines, width = math.ceil(len(topics) / columns), (WIDTH - 0.6) / columns
    for number, topic in enumerate(topics):
        left, top = number // lines * width, 0.28 * (number % lines) + 0.25
        badge = {**_BADGE, "ec": colours.get(number, GRID)}
        axes.text(left + 0.2, top, str(number), size=10, weight="bold", ha="center", va="center", bbox=badge)
        axes.text(left + 0.48, top, fit(topic, width - 0.55, 11), size=11, va="center")


def _wrap(text: str, width: int, lines: int) -> str:
    """Wrap text into lines of similar length, of at most `width` letters; the rest is cut off with "…"."""
    needed = len(textwrap.wrap(text, width))
    if needed <= lines:
        longest = min(max(map(len, text.split()), default=1), width)
        width = next(n for n in range(longest, width + 1) if len(textwrap.wrap(text, n)) == needed)
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder="…"))


def _spread_colours(anchors: Mapping[int, FloatArray]) -> dict[int, str]:
    """Assign to each cluster the colour whose nearest use is furthest away; of equals, the least used."""
    found: dict[int, str] = {}
    for key, anchor in anchors.items():
        room = dict.fromkeys(COLOURS, (math.inf, 0))
        for other, colour in found.items():
            distance, uses = room[colour]
            room[colour] = (min(distance, float(np.linalg.norm(anchors[other] - anchor))), uses - 1)
        found[key] = max(room, key=room.__getitem__)
    return found


def _place_labels(
    axes: Axes, anchors: Mapping[int, FloatArray], texts: Mapping[int, str], colours: Mapping[int, str],
    positions: FloatArray, weights: FloatArray,
) -> None:  # fmt: skip
    """Put each label near its anchor, where it covers no other label and few points, and draw a line to the anchor.

    Args:
        axes: With final limits.
        anchors: Position of each cluster, in data units.
        texts: The labels, by the same keys.
        colours: Of their edges, by the same keys.
        positions: The points, shape (points, 2), in data units.
        weights: Cost of covering each point, relative to `_COVER_COST`.
    """
    frame, points = axes.get_window_extent(), axes.transData.transform(positions)
    spots = {key: axes.transData.transform(anchor) for key, anchor in anchors.items()}
    radii, angles = (grid.ravel() for grid in np.meshgrid(np.arange(0, 30, 0.6), np.arange(0, 2 * np.pi, np.pi / 12)))
    moves = (radii * np.stack([np.cos(angles), np.sin(angles)])).T * _LETTER
    taken: list[tuple[FloatArray, FloatArray]] = []
    for key, spot in spots.items():
        text = axes.text(
            spot[0], spot[1], texts[key], transform=None, weight="bold", ha="center", va="center", zorder=4,
            bbox={**_BADGE, "ec": colours[key]},
        )  # fmt: skip
        box = text.get_window_extent().padded(0.4 * _LETTER)
        low, high = box.min + moves, box.max + moves
        others = np.array([spots[other] for other in spots if other != key]).reshape(-1, 2)
        costs = radii + _COVER_COST * (_covers(low, high, points) @ weights + _covers(low, high, others).sum(axis=1))
        costs += 1e6 * ((low < frame.min) | (high > frame.max)).any(axis=1)
        for least, most in taken:
            costs += 1e6 * ((low < most) & (high > least)).all(axis=1)
        best = int(np.argmin(costs))
        taken.append((low[best], high[best]))
        text.set_transform(axes.transData)
        text.set_position(tuple(axes.transData.inverted().transform(spot + moves[best])))
        ends = np.stack([anchors[key], text.get_position()])
        axes.plot(ends[:, 0], ends[:, 1], color=INK, lw=1, marker="o", markevery=[0], ms=4, zorder=3)


def _covers(low: FloatArray, high: FloatArray, points: FloatArray) -> npt.NDArray[np.bool_]:
    """Return which boxes cover which points, shape (boxes, points)."""
    x, y = ((points[:, axis] > low[:, [axis]]) & (points[:, axis] < high[:, [axis]]) for axis in (0, 1))
    return x & y
