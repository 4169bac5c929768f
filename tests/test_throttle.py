import asyncio
import math
from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from throttle_model import FixedWindow, NoLimit, Outcome, SlidingWindow, Stray, TokenBucket, drive, run

from auto_instruct_hf.teacher.pacing.headers import remaining, retry_after
from auto_instruct_hf.teacher.pacing.throttle import Throttle

LATENCY = 0.2


def honest(seconds: float | None) -> float | None:
    return seconds


def one_second(_: float | None) -> float:
    return 1.0


def nothing(_: float | None) -> None:
    return None


def strict() -> TokenBucket:
    return TokenBucket(capacity=1, refill=1)


SERVERS = [
    (SlidingWindow, honest),
    (SlidingWindow, one_second),
    (SlidingWindow, nothing),
    (TokenBucket, honest),
    (TokenBucket, nothing),
    (strict, honest),
    (strict, nothing),
    (FixedWindow, honest),
    (FixedWindow, one_second),
    (FixedWindow, nothing),
]


def most_in_a_minute(times: list[float], amounts: list[int] | None = None) -> int:
    """Return the largest sum in any 60 s, the end not counted: it begins with one of the times."""
    sums = [0]
    for amount in amounts or [1] * len(times):
        sums.append(sums[-1] + amount)
    return max((sums[bisect_left(times, time + 60)] - sums[at] for at, time in enumerate(times)), default=0)


@pytest.mark.parametrize("refusal", [0.01, LATENCY])
@pytest.mark.parametrize(("server", "says"), SERVERS)
def test_most_of_what_a_server_allows_is_used_with_few_refusals(
    server: Callable[[], Any], says: Callable[[float | None], float | None], refusal: float
) -> None:
    one = server()
    seconds = 640 if isinstance(one, FixedWindow) else 600  # up to the end of a window
    outcome = run(drive(Throttle(), one, seconds=seconds, workers=100, refusal=refusal, retry_after=says))
    assert len(outcome.accepted) >= 0.9 * one.opportunities(seconds)
    first = sum(time < 70 for time in outcome.refused)
    assert first <= 20
    assert len(outcome.refused) - first <= 3.5 * seconds / 60


@pytest.mark.parametrize("says", [honest, nothing])
def test_a_strict_server_with_slow_answers_is_given_enough_in_flight(says: Any) -> None:
    outcome = run(drive(Throttle(), strict(), seconds=600, workers=100, latency=5, retry_after=says))
    assert len(outcome.accepted) >= 0.7 * 600
    assert len(outcome.refused) <= 15


@pytest.mark.parametrize("refusal", [0.01, LATENCY])
@pytest.mark.parametrize("concurrency", [None, 200])
def test_a_server_that_admits_ten_at_once_is_kept_busy(concurrency: int | None, refusal: float) -> None:
    work = drive(Throttle(concurrency), NoLimit(), seconds=600, workers=250, refusal=refusal, places=10)
    outcome = run(work)
    assert len(outcome.accepted) >= 0.7 * 10 * 600 / LATENCY
    assert sum(time > 5 for time in outcome.refused) <= 10


def test_given_concurrency_is_full_at_once_without_a_limit() -> None:
    outcome = run(drive(Throttle(200), NoLimit(), seconds=LATENCY / 2, workers=300))
    assert outcome.most_in_flight == len(outcome.sent) == 200


def test_concurrency_climbs_to_the_most_without_a_limit() -> None:
    outcome = run(drive(Throttle(most=50), NoLimit(), seconds=10, workers=300))
    assert outcome.sent[4] > LATENCY / 2
    assert outcome.most_in_flight == 50


@pytest.mark.parametrize(("says", "seconds"), [(nothing, 1), (lambda _: 0.3, 0.3)])
def test_a_stray_refusal_lets_only_its_own_request_wait(says: Any, seconds: float) -> None:
    outcome = run(drive(Throttle(200), NoLimit(stray=2000), seconds=60, workers=200, retry_after=says))
    assert len(outcome.refused) == 1
    assert len(outcome.accepted) > 0.99 * 199 * 60 / LATENCY
    known = outcome.refused[0] + 0.01
    assert sum(known < time < known + LATENCY + 0.01 for time in outcome.sent) == 199
    assert sum(known + seconds < time < known + seconds + LATENCY + 0.01 for time in outcome.sent) >= 199


@pytest.mark.parametrize(
    ("concurrency", "share", "says", "slow"),
    [
        (32, 0.05, one_second, 0.2),
        (32, 0.1, nothing, 0.2),
        (32, 0.02, one_second, 3.0),
        (None, 0.05, nothing, 0.2),
        (None, 0.1, one_second, 3.0),
    ],
)
def test_refusals_at_random_never_slow_the_others_down(
    concurrency: int | None, share: float, says: Any, slow: float
) -> None:
    climb = 0.0 if concurrency else 300 * slow
    seconds, workers, part = climb + 100 * slow, concurrency or 64, 25 * slow
    server = Stray(share, random=Random(1))
    throttle = Throttle(concurrency)
    outcome = run(drive(throttle, server, seconds=seconds, workers=workers, latency=slow, retry_after=says))
    wait = says(None)
    most = workers / (slow + share / (1 - share) * ((1 if wait is None else wait) + 0.01))
    for start in (climb + part * number for number in range(4)):
        assert sum(start <= time < start + part for time in outcome.accepted) >= 0.5 * most * part


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("says", [one_second, nothing])
def test_after_a_time_of_overload_a_quarter_of_the_speed_is_back_in_half_a_minute(says: Any, seed: int) -> None:
    server = Stray(0.0, busy=(30, 50), random=Random(seed))
    outcome = run(drive(Throttle(32), server, seconds=90, workers=32, retry_after=says))
    assert sum(80 <= time < 90 for time in outcome.accepted) >= 0.25 * 10 * 32 / LATENCY


@pytest.mark.parametrize("seconds", [7.0, 90.0])
def test_nothing_goes_before_a_long_retry_after_is_over_and_then_one_alone(seconds: float) -> None:
    server = NoLimit(stray=30)
    outcome = run(drive(Throttle(8), server, seconds=seconds + 5, workers=8, retry_after=lambda _: seconds))
    known = outcome.refused[0] + 0.01
    after = [time for time in outcome.sent if time > known + 1e-3]
    assert after[0] >= known + seconds
    assert after[1] >= after[0] + LATENCY


def test_pauses_double_up_to_a_minute_while_nothing_is_accepted() -> None:
    outcome = run(drive(Throttle(), NoLimit(), seconds=400, workers=8, places=0, retry_after=one_second))
    gaps = [later - time for time, later in zip(outcome.sent[3:], outcome.sent[4:], strict=False)]
    assert gaps == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60], abs=0.02)


@pytest.mark.parametrize(("server", "says"), SERVERS)
def test_no_refusal_at_all_where_the_limit_is_given(server: Callable[[], Any], says: Any) -> None:
    outcome = run(drive(Throttle(rpm=60), server(), seconds=600, workers=100, retry_after=says))
    assert outcome.refused == []
    assert len(outcome.accepted) >= 0.98 * 600


def headers_of(server: Any, now: float) -> dict[str, str]:
    if isinstance(server, SlidingWindow):
        left, reset = server.allowed - len(server.accepted), server.accepted[-1] + 60 - now
    else:
        left, reset = int(server.level), (server.capacity - server.level) / server.refill
    return {
        "x-ratelimit-remaining-requests": str(left),
        "x-ratelimit-reset-requests": f"{int(reset // 60)}m{reset % 60:.3f}s",
    }


@pytest.mark.parametrize("server", [SlidingWindow, TokenBucket])
def test_no_refusal_where_the_headers_tell_what_is_left(server: Callable[[], Any]) -> None:
    one = server()
    outcome = run(drive(Throttle(), one, seconds=600, workers=100, headers=headers_of))
    assert outcome.refused == []
    assert len(outcome.accepted) >= 0.9 * one.opportunities(600)


@settings(max_examples=40, deadline=None)
@given(
    rpm=st.one_of(st.integers(1, 3000), st.floats(0.5, 300)),
    latency=st.floats(0.001, 20),
    workers=st.integers(1, 80),
    concurrency=st.one_of(st.none(), st.integers(1, 100)),
)
def test_requests_a_minute_are_never_above_the_limit(
    rpm: float, latency: float, workers: int, concurrency: int | None
) -> None:
    throttle = Throttle(concurrency, rpm=rpm)
    outcome: Outcome = run(drive(throttle, NoLimit(), seconds=200, workers=workers, latency=latency))
    assert most_in_a_minute(outcome.sent) <= max(rpm, 1)
    if concurrency and min(workers, concurrency) / latency > rpm / 30:  # else it is not the limit that limits
        assert len(outcome.sent) >= 0.9 * math.floor(200 * (math.floor(rpm) or rpm) / 60)


@settings(max_examples=40, deadline=None)
@given(
    tpm=st.integers(1000, 200_000),
    shares=st.lists(st.floats(0.002, 0.4), min_size=1, max_size=30),
    under=st.sampled_from([1.0, 1.0, 0.5]),
    rpm=st.one_of(st.none(), st.integers(30, 600)),
)
def test_tokens_a_minute_are_never_above_the_limit(
    tpm: int, shares: list[float], under: float, rpm: int | None
) -> None:
    throttle = Throttle(20, rpm=rpm, tpm=tpm)
    times: list[float] = []
    amounts: list[int] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        while True:
            estimate = max(1, int(tpm * shares[len(times) % len(shares)] * under))
            async with throttle.slot(estimate):
                times.append(loop.time())
                amounts.append(estimate)
                await asyncio.sleep(0.2)
                throttle.succeeded(tokens=int(estimate / under))

    async def several() -> None:
        tasks = [asyncio.create_task(work()) for _ in range(20)]
        done, _ = await asyncio.wait(tasks, timeout=240)
        assert not done

    run(several())
    assert most_in_a_minute(times, amounts) <= tpm
    if rpm is None and max(shares) < 0.05:
        assert sum(amounts) / under >= 0.9 * 4 * tpm
    # What the estimates left out is waited for: in the long run the limit holds for what was used.
    assert sum(amounts) / under <= 4 * tpm + 20 * max(amounts) / under + 0.05 * tpm


def test_a_request_of_more_tokens_than_the_limit_goes_alone() -> None:
    async def work() -> list[float]:
        throttle, times = Throttle(tpm=100), []
        for tokens in (10, 250, 10):
            async with throttle.slot(tokens):
                times.append(asyncio.get_running_loop().time())
                throttle.succeeded()
        return times

    first, second, third = run(work())
    assert second >= first + 60
    assert third >= second + 60


def test_tokens_above_the_estimate_delay_the_next_request_at_once() -> None:
    async def work() -> float:
        throttle = Throttle(tpm=6000)
        async with throttle.slot(10):
            throttle.succeeded(tokens=1000)
        start = asyncio.get_running_loop().time()
        async with throttle.slot(10):
            throttle.succeeded(tokens=10)
        return asyncio.get_running_loop().time() - start

    assert run(work()) == pytest.approx(1000 / 100, rel=0.1)  # tokens at 100 a second


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["plain", "rpm", "tpm", "refused"]))
def test_a_cancelled_request_never_loses_a_slot(data: st.DataObject, kind: str) -> None:
    throttle = Throttle(3, rpm=600 if kind == "rpm" else None, tpm=6000 if kind == "tpm" else None)
    finished = 0

    async def work(number: int) -> None:
        nonlocal finished
        async with throttle.slot(10):
            await asyncio.sleep(0.1)
            if kind == "refused" and number % 7 == 0:
                throttle.refused(0.3)
            else:
                throttle.succeeded()
        finished += 1

    async def several() -> None:
        tasks = [asyncio.create_task(work(number)) for number in range(30)]
        for _ in range(data.draw(st.integers(1, 25))):
            await asyncio.sleep(data.draw(st.sampled_from([0, 0, 0.01, 0.05, 0.1, 0.35])))
            tasks[data.draw(st.integers(0, 29))].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert throttle.in_flight == 0
        # As many as before go at once, as soon as nothing is left to wait for.
        await asyncio.sleep(70)
        before, places, start = finished, throttle.limit, asyncio.get_running_loop().time()
        await asyncio.gather(*(work(1) for _ in range(places)))
        assert finished == before + places
        assert asyncio.get_running_loop().time() - start < 60

    run(several())


def test_a_probe_without_a_verdict_is_followed_by_another() -> None:
    async def work() -> None:
        throttle = Throttle(2)
        async with throttle.slot():
            throttle.refused(1)
        with pytest.raises(ConnectionError):
            async with throttle.slot():
                raise ConnectionError
        async with throttle.slot():
            throttle.succeeded()
        async with throttle.slot():
            assert throttle.in_flight == 1

    run(work())


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"rpm": -1}, {"tpm": 0}, {"most": 0}, {"rpm": math.nan}])
def test_limits_that_let_nothing_through_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Throttle(**wrong)


NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "9", "retry-after-ms": "soon"}, 9),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=90), True), "date": format_datetime(NOW, True)}, 90),
        ({"retry-after": format_datetime(NOW, True)}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Mon, 99 May 2026 12:00:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_in_each_of_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("1s", 1), ("6m0s", 360), ("120ms", 0.12), ("1h2m", 3720), ("2m59.56s", 179.56), ("12", 12), ("soon", None)],
)
def test_the_time_of_what_is_left_is_read_in_each_of_its_forms(reset: str, seconds: float | None) -> None:
    headers = {"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": reset}
    assert remaining(headers, "tokens") == (None if seconds is None else (5, pytest.approx(seconds)))
    assert remaining(headers, "requests") is None
