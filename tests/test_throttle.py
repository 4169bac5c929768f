"""The pace of requests, in simulated time: limits are held or found, and no refusal slows a run down for long."""

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
from throttle_model import FixedWindow, NoLimit, SlidingWindow, TokenBucket, drive, run

from auto_instruct_hf.teacher.throttle import Throttle, remaining, retry_after

LATENCY = 0.2
Says = Callable[[float | None], float | None] | None


def one_second(_: float | None) -> float:
    return 1.0


def nothing(_: float | None) -> None:
    return None


SAYS = (None, one_second, nothing)
SERVERS = [(server, says) for server in (SlidingWindow, TokenBucket, FixedWindow) for says in SAYS]


def max_in_a_minute(times: list[float], amounts: list[int] | None = None) -> int:
    """Return the largest sum in any 60 s, the end not counted."""
    sums = [0]
    for amount in amounts or [1] * len(times):
        sums.append(sums[-1] + amount)
    return max((sums[bisect_left(times, time + 60)] - sums[at] for at, time in enumerate(times)), default=0)


@pytest.mark.parametrize("refusal", [0.01, LATENCY])
@pytest.mark.parametrize(("server", "says"), SERVERS)
def test_sixty_requests_per_minute_are_used_without_a_storm(
    server: Callable[[], Any], says: Says, refusal: float
) -> None:
    one = server()
    seconds = 640 if isinstance(one, FixedWindow) else 600  # up to the end of a window
    outcome = run(drive(Throttle(), one, seconds=seconds, workers=100, refusal=refusal, retry_after=says))
    assert len(outcome.accepted) >= 0.95 * one.opportunities(seconds)
    assert len(outcome.refused) <= 0.8 * len(outcome.accepted)
    later = [time for time in outcome.refused if time > 120]
    assert all(bisect_left(later, time + 1) - at <= 25 for at, time in enumerate(later))


def test_a_limit_below_one_request_in_flight_becomes_a_pace() -> None:
    server = TokenBucket(capacity=1, refill=1)
    outcome = run(drive(Throttle(), server, seconds=600, workers=100, retry_after=nothing))
    assert len(outcome.accepted) >= 0.65 * 600
    assert len(outcome.refused) <= 0.25 * len(outcome.accepted)


@pytest.mark.parametrize("concurrency", [None, 200])
def test_a_server_with_ten_places_is_kept_busy(concurrency: int | None) -> None:
    outcome = run(drive(Throttle(concurrency), NoLimit(), seconds=120, workers=250, places=10))
    assert len(outcome.accepted) >= 0.75 * 10 * 120 / LATENCY
    assert len(outcome.refused) <= 0.2 * len(outcome.accepted)


def test_given_concurrency_is_full_at_once_without_a_limit() -> None:
    outcome = run(drive(Throttle(200), NoLimit(), seconds=LATENCY / 2, workers=300))
    assert outcome.max_in_flight == len(outcome.sent) == 200


def test_concurrency_climbs_to_the_maximum_without_a_limit() -> None:
    outcome = run(drive(Throttle(max_in_flight=50), NoLimit(), seconds=10, workers=300))
    assert outcome.sent[4] > LATENCY / 2
    assert outcome.max_in_flight == 50


@pytest.mark.parametrize("concurrency", [None, 100])
@pytest.mark.parametrize("share", [0.02, 0.1])
@pytest.mark.parametrize(("says", "latency"), [(nothing, LATENCY), (one_second, 3.0)])
def test_random_refusals_never_cause_a_slow_pace(
    concurrency: int | None, share: float, says: Says, latency: float
) -> None:
    climb, part, workers = 0.0 if concurrency else 60 * latency, 25 * latency, concurrency or 64
    full = workers / (latency + share / (1 - share) * 1.01)  # what is in flight, with a second for each refusal
    server, seconds = NoLimit(share=share, random=Random(0)), climb + 4 * part
    work = drive(Throttle(concurrency), server, seconds=seconds, workers=workers, latency=latency, retry_after=says)
    accepted = run(work).accepted
    for start in (climb + part * number for number in range(4)):
        assert sum(start <= time < start + part for time in accepted) >= 0.7 * full * part


@pytest.mark.parametrize("says", [one_second, nothing])
def test_after_an_overload_the_speed_is_back_in_half_a_minute(says: Says) -> None:
    server = NoLimit(busy=(30, 50), random=Random(1))
    outcome = run(drive(Throttle(32), server, seconds=90, workers=32, retry_after=says))
    assert sum(80 <= time < 90 for time in outcome.accepted) >= 0.8 * 10 * 32 / LATENCY


@pytest.mark.parametrize("seconds", [7.0, 90.0])
def test_nothing_is_sent_before_a_long_retry_after_and_then_one_request(seconds: float) -> None:
    outcome = run(drive(Throttle(8), NoLimit(stray=30), seconds=seconds + 5, workers=8, retry_after=lambda _: seconds))
    known = outcome.refused[0] + 0.01
    after = [time for time in outcome.sent if time > known + 1e-3]
    assert after[0] >= known + seconds
    assert after[1] >= after[0] + LATENCY


def test_pauses_double_up_to_five_seconds_while_nothing_is_accepted() -> None:
    outcome = run(drive(Throttle(), NoLimit(), seconds=60, workers=8, places=0, retry_after=one_second))
    gaps = [later - time for time, later in zip(outcome.sent[-9:], outcome.sent[-8:], strict=False)]
    assert gaps == pytest.approx([5] * 8, abs=0.02)
    assert len(outcome.sent) < 25


@pytest.mark.parametrize(("server", "says"), SERVERS)
def test_no_refusal_if_the_limit_is_given(server: Callable[[], Any], says: Says) -> None:
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
def test_no_refusal_if_headers_give_the_remaining_requests(server: Callable[[], Any]) -> None:
    one = server()
    outcome = run(drive(Throttle(), one, seconds=600, workers=100, headers=headers_of))
    assert outcome.refused == []
    assert len(outcome.accepted) >= 0.9 * one.opportunities(600)


@settings(max_examples=25)
@given(
    rpm=st.one_of(st.integers(1, 3000), st.floats(0.5, 300)),
    latency=st.floats(0.001, 20),
    workers=st.integers(1, 80),
    concurrency=st.one_of(st.none(), st.integers(1, 100)),
)
def test_requests_per_minute_are_never_above_the_limit(
    rpm: float, latency: float, workers: int, concurrency: int | None
) -> None:
    outcome = run(drive(Throttle(concurrency, rpm=rpm), NoLimit(), seconds=200, workers=workers, latency=latency))
    assert max_in_a_minute(outcome.sent) <= max(rpm, 1)
    if concurrency and min(workers, concurrency) / latency > rpm / 30:  # otherwise it is not the limit that limits
        assert len(outcome.sent) >= 0.9 * math.floor(200 * (math.floor(rpm) or rpm) / 60)


@settings(max_examples=25)
@given(
    tpm=st.integers(1000, 200_000),
    shares=st.lists(st.floats(0.002, 0.1), min_size=1, max_size=30),
    under=st.sampled_from([1.0, 1.0, 0.5]),
    rpm=st.one_of(st.none(), st.integers(30, 600)),
)
def test_tokens_per_minute_are_never_above_the_limit(
    tpm: int, shares: list[float], under: float, rpm: int | None
) -> None:
    throttle = Throttle(20, rpm=rpm, tpm=tpm)
    times: list[float] = []
    amounts: list[int] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        while True:
            estimate = max(1, int(tpm * shares[len(times) % len(shares)] * under))
            async with throttle.slot(estimate) as slot:
                times.append(loop.time())
                amounts.append(estimate)
                await asyncio.sleep(0.2)
                throttle.succeeded(slot, tokens=int(estimate / under))

    async def several() -> None:
        tasks = [asyncio.create_task(work()) for _ in range(20)]
        done, _ = await asyncio.wait(tasks, timeout=240)
        assert not done

    run(several())
    assert max_in_a_minute(times, amounts) <= tpm + (max(amounts) if rpm else 0)
    if rpm is None and max(shares) < 0.05:
        assert sum(amounts) / under >= 0.85 * 4 * tpm
    # Tokens above the estimates are waited for: in the long run the limit holds for the tokens used.
    assert sum(amounts) / under <= 4 * tpm + 20 * max(amounts) / under + 0.05 * tpm


def test_a_request_of_more_tokens_than_the_limit_is_delayed() -> None:
    async def work() -> list[float]:
        throttle, times = Throttle(tpm=100), []
        for tokens in (10, 250, 10):
            async with throttle.slot(tokens) as slot:
                times.append(asyncio.get_running_loop().time())
                throttle.succeeded(slot)
        return times

    first, second, third = run(work())
    assert second >= first + 120
    assert third > second + 5


@settings(max_examples=40)
@given(data=st.data(), kind=st.sampled_from(["plain", "rpm", "tpm", "refused"]))
def test_a_cancelled_request_never_loses_a_slot(data: st.DataObject, kind: str) -> None:
    throttle = Throttle(3, rpm=600 if kind == "rpm" else None, tpm=6000 if kind == "tpm" else None)
    finished = 0

    async def work(number: int) -> None:
        nonlocal finished
        async with throttle.slot(10) as slot:
            await asyncio.sleep(0.1)
            if kind == "refused" and number % 7 == 0:
                await asyncio.sleep(throttle.refused(slot, 0.3))
            else:
                throttle.succeeded(slot)
        finished += 1

    async def several() -> None:
        tasks = [asyncio.create_task(work(number)) for number in range(30)]
        for _ in range(data.draw(st.integers(1, 25))):
            await asyncio.sleep(data.draw(st.sampled_from([0, 0, 0.01, 0.05, 0.1, 0.35])))
            tasks[data.draw(st.integers(0, 29))].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert throttle.in_flight == 0
        await asyncio.sleep(70)
        before, start = finished, asyncio.get_running_loop().time()
        await asyncio.gather(*(work(1) for _ in range(3)))
        assert finished == before + 3
        assert asyncio.get_running_loop().time() - start < 10

    run(several())


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
def test_retry_after_is_parsed_in_each_of_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("1s", 1), ("6m0s", 360), ("120ms", 0.12), ("1h2m", 3720), ("2m59.56s", 179.56), ("12", 12), ("soon", None)],
)
def test_the_time_of_what_is_left_is_parsed_in_each_of_its_forms(reset: str, seconds: float | None) -> None:
    headers = {"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": reset}
    assert remaining(headers, "tokens") == (None if seconds is None else (5, pytest.approx(seconds)))
    assert remaining(headers, "requests") is None
