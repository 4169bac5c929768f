"""The bare loops that `teacher.py` compares the teacher with, and the teacher: each sends the same chat completions.

Only the standard library is imported before a client is chosen: peers run in virtual environments of their own.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

SYSTEM = "You do the task you are given. Write the answer and nothing else. Do not say what you are about to do. " * 12
SCHEMA = {
    "type": "object",
    "properties": {"output": {"type": "string"}},
    "required": ["output"],
    "additionalProperties": False,
}
KEY = "sk-none"
TIMEOUT = 300.0
TEMPERATURE, MAX_TOKENS = 0.7, 1024

Body = dict[str, Any]
Ask = Callable[[list[Body]], list[Any]]
Make = Callable[[str, int, Path, ExitStack], Ask]


def make_body(number: int) -> Body:
    """Return a request of about 2 kB, as the answering phase sends them."""
    task = f"Task {number}: explain to a beginner what happens, and why. " * 8
    return {
        "model": "stub",
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": task}],
        "temperature": TEMPERATURE,
        "max_tokens": MAX_TOKENS,
        "seed": number,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "output", "strict": True, "schema": SCHEMA},
        },
    }


def open_loop(stack: ExitStack) -> asyncio.Runner:
    """Return an event loop that is closed with the stack."""
    return stack.enter_context(asyncio.Runner())


def at_most(loop: asyncio.Runner, concurrency: int, send: Callable[[Body], Coroutine[Any, Any, Any]]) -> Ask:
    """Return a function that sends requests, so many at once."""
    slots = asyncio.Semaphore(concurrency)

    async def send_one(body: Body) -> Any:
        async with slots:
            return await send(body)

    async def send_all(bodies: list[Body]) -> list[Any]:
        return await asyncio.gather(*map(send_one, bodies))

    return lambda bodies: loop.run(send_all(bodies))


def read_content(completion: bytes) -> Any:
    """Return what the model wrote, parsed."""
    return json.loads(json.loads(completion)["choices"][0]["message"]["content"])


def ours(url: str, concurrency: int, folder: Path, stack: ExitStack) -> Ask:
    """`Teacher.ask`: journal before use, JSON, schema; retries by its settings."""
    from auto_instruct_hf import Teacher
    from auto_instruct_hf.prompts.prompt import Prompt
    from auto_instruct_hf.recipe import TeacherSettings
    from auto_instruct_hf.teacher.exchange import Request

    settings = TeacherSettings(concurrency=concurrency)
    teacher = stack.enter_context(
        Teacher("stub", base_url=url, api_key=KEY, journal=folder / "journal.sqlite", settings=settings)
    )
    prompt = Prompt(
        name="output", system=SYSTEM, user="", schema=SCHEMA, temperature=TEMPERATURE, max_tokens=MAX_TOKENS
    )

    def ask(bodies: list[Body]) -> list[Any]:
        return [reply.content for reply in teacher.ask([Request(prompt, b["messages"], b["seed"]) for b in bodies])]

    return ask


def openai_bare(url: str, concurrency: int, _folder: Path, stack: ExitStack, is_aiohttp: bool = False) -> Ask:
    """The openai client as it comes; or over aiohttp."""
    import openai

    loop = open_loop(stack)
    client = openai.AsyncOpenAI(
        base_url=url,
        api_key=KEY,
        timeout=TIMEOUT,
        http_client=openai.DefaultAioHttpClient() if is_aiohttp else None,
    )
    stack.callback(lambda: loop.run(client.close()))

    async def send(body: Body) -> Any:
        completion = await client.chat.completions.create(**body)
        return json.loads(completion.choices[0].message.content or "")

    return at_most(loop, concurrency, send)


def openai_aiohttp(url: str, concurrency: int, folder: Path, stack: ExitStack) -> Ask:
    """The openai client over aiohttp."""
    return openai_bare(url, concurrency, folder, stack, is_aiohttp=True)


def openai_post(url: str, concurrency: int, _folder: Path, stack: ExitStack) -> Ask:
    """The openai client over aiohttp, without its model of the request and of the reply."""
    import httpx2
    import openai

    loop = open_loop(stack)
    client = openai.AsyncOpenAI(base_url=url, api_key=KEY, timeout=TIMEOUT, http_client=openai.DefaultAioHttpClient())
    stack.callback(lambda: loop.run(client.close()))

    async def send(body: Body) -> Any:
        response = await client.post("/chat/completions", cast_to=httpx2.Response, body=body)
        return read_content(response.content)

    return at_most(loop, concurrency, send)


def httpx2_bare(url: str, concurrency: int, _folder: Path, stack: ExitStack) -> Ask:
    """HTTP alone, with httpx2."""
    import httpx2

    loop = open_loop(stack)
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    client = httpx2.AsyncClient(timeout=TIMEOUT, limits=limits, headers={"Authorization": f"Bearer {KEY}"})
    stack.callback(lambda: loop.run(client.aclose()))

    async def send(body: Body) -> Any:
        return read_content((await client.post(f"{url}/chat/completions", json=body)).content)

    return at_most(loop, concurrency, send)


def aiohttp_bare(url: str, concurrency: int, _folder: Path, stack: ExitStack) -> Ask:
    """HTTP alone, with aiohttp."""
    import aiohttp

    loop = open_loop(stack)

    async def connect() -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        headers = {"Authorization": f"Bearer {KEY}"}
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout, headers=headers)

    session = loop.run(connect())
    stack.callback(lambda: loop.run(session.close()))

    async def send(body: Body) -> Any:
        async with session.post(f"{url}/chat/completions", json=body) as response:
            return read_content(await response.read())

    return at_most(loop, concurrency, send)


CLIENTS: dict[str, Make] = {
    "ours": ours,
    "openai": openai_bare,
    "openai+aiohttp": openai_aiohttp,
    "openai.post+aiohttp": openai_post,
    "httpx2": httpx2_bare,
    "aiohttp": aiohttp_bare,
}
