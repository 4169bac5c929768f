"""The chart of fine-tuning: what each arm gains on each set of held-out tasks."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .drawing import COLOURS, FAINT, INK, WIDTH, add_panel, clean, fit, start, styled

_ROW, _HEAD = 0.42, 1.15
_MAIN, _CONTROL, _OTHER = COLOURS[0], FAINT, COLOURS[4]


@styled
def draw_gains(gains: Mapping[str, Sequence[tuple[str, float, float, float]]], main: str, note: str) -> Figure:
    """Draw gains with their intervals, one panel for each set of tasks.

    Args:
        gains: Set -> arm, gain, and the bounds of its interval, in nats per answer token.
        main: The arm that is the dataset.
        note: How it was trained.

    Returns:
        The chart.
    """
    heights = [_ROW * len(rows) + _HEAD for rows in gains.values()]
    figure = start(sum(heights) + 1.1, "What the model gains by training", note)
    low = min([0.0, *(one[2] for rows in gains.values() for one in rows)])
    high = max([0.0, *(one[3] for rows in gains.values() for one in rows)])
    margin, top = 0.08 * max(high - low, 0.01), sum(heights)
    for (name, rows), height in zip(gains.items(), heights, strict=True):
        top -= height
        axes = add_panel(figure, 2.2, top + 0.6, WIDTH - 4.3, _ROW * len(rows))
        axes.set_title(fit(clean(name), WIDTH - 4.3, 13))
        axes.set(xlim=(low - margin, high + margin), ylim=(len(rows) - 0.5, -0.5), yticks=[])
        axes.set_xlabel("nats per answer token; positive is better")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.grid(axis="x")
        axes.axvline(0, color=INK, lw=1.2)
        side = axes.get_yaxis_transform()
        for number, (arm, value, least, most) in enumerate(rows):
            colour = _MAIN if arm == main else _CONTROL if arm == "shuffled" else _OTHER
            axes.plot([least, most], [number, number], color=colour, lw=4, solid_capstyle="butt")
            axes.plot([value], [number], "o", color=colour, ms=9)
            axes.text(-0.02, number, fit(clean(arm), 1.9, 12), ha="right", va="center", transform=side)
            axes.text(1.02, number, f"{value:+.3f}", ha="left", va="center", transform=side)
    return figure
