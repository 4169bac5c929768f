"""Progress is a bar on a terminal, elsewhere a line per step and every ten seconds."""

import time

import datasets
import pytest

from auto_instruct_hf.core import ProgressLine, progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]  # the last number is the time
    monkeypatch.setattr(time, "monotonic", lambda: now[-1])
    return now


def test_a_step_is_a_line_at_its_start_every_ten_seconds_and_at_its_end(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with ProgressLine("attribute", 40, "request", is_shown=True) as line:
        for seconds in range(1, 26):
            clock.append(float(seconds))
            line.advance()
        line.note("spent $0.02")
    assert capsys.readouterr().err.splitlines() == [
        "attribute …",
        "attribute: 11 of 40 requests",
        "attribute: 22 of 40 requests",
        "attribute: 25 of 40 requests in 25 s, spent $0.02",
    ]


def test_a_quick_step_has_a_start_and_an_end(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine("curve", 1, is_shown=True) as line:
        line.advance()
    assert capsys.readouterr().err.splitlines() == [
        "cluster, number of clusters …",
        "cluster, number of clusters: 1 mixture in 0 s",
    ]


def test_an_interrupted_step_does_not_look_finished(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), ProgressLine("embed", 30, is_shown=True):
        raise KeyboardInterrupt
    assert capsys.readouterr().err.splitlines()[-1] == "cluster, embeddings: 0 of 30 texts when it stopped"


def test_an_exceeded_total_is_unknown(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine("bootstrap", 2, "request", is_shown=True) as line:
        line.advance(3)
        clock.append(60.0)
    assert capsys.readouterr().err.splitlines()[-1] == "bootstrap: 3 requests in 60 s"


def test_nothing_is_shown_where_the_bars_of_datasets_are_disabled(capsys: pytest.CaptureFixture[str]) -> None:
    datasets.disable_progress_bars()
    ProgressLine("split", 2).close()
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    with ProgressLine("embed", 3, is_shown=True) as line:
        line.advance(3)
    assert "cluster, embeddings: 100%" in capsys.readouterr().err
