"""Other libraries that send requests and keep the replies, each set to what is nearest to the teacher's work."""

import json
import os
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clients import KEY, MAX_TOKENS, SCHEMA, TEMPERATURE, TIMEOUT, Ask, Body, Make, at_most, open_loop

_NO_LIMIT = 10**9


def litellm(url: str, concurrency: int, folder: Path, stack: ExitStack) -> Ask:
    """`litellm.acompletion` with its disk cache and its check of the schema."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it is fetched
    import litellm
    from litellm.caching.caching import Cache

    litellm.cache = Cache(type="disk", disk_cache_dir=str(folder))
    litellm.enable_json_schema_validation = True
    loop = open_loop(stack)

    async def send(body: Body) -> Any:
        completion = await litellm.acompletion(
            **{**body, "model": "openai/stub"}, api_base=url, api_key=KEY, timeout=TIMEOUT, caching=True
        )
        return json.loads(completion.choices[0].message.content)

    return at_most(loop, concurrency, send)


def langchain(url: str, concurrency: int, folder: Path, stack: ExitStack) -> Ask:
    """`ChatOpenAI.abatch` with the SQLite cache; the reply parsed as JSON, its schema not checked."""
    from langchain_community.cache import SQLiteCache
    from langchain_core.globals import set_llm_cache
    from langchain_openai import ChatOpenAI

    set_llm_cache(SQLiteCache(str(folder / "cache.sqlite")))
    model = ChatOpenAI(
        model="stub", base_url=url, api_key=KEY, timeout=TIMEOUT, temperature=TEMPERATURE, max_tokens=MAX_TOKENS
    ).with_structured_output({"title": "output", **SCHEMA}, method="json_schema", strict=True)
    loop = open_loop(stack)

    def ask(bodies: list[Body]) -> list[Any]:
        return loop.run(model.abatch([body["messages"] for body in bodies], config={"max_concurrency": concurrency}))

    return ask


def curator(url: str, concurrency: int, folder: Path, _stack: ExitStack) -> Ask:
    """`curator.LLM` with its cache of responses and a Pydantic model of the reply."""
    package = find_spec("litellm")  # it brings the tokenizer's file, which would else be fetched
    assert package is not None
    assert package.origin is not None
    tokenizers = Path(package.origin).parent / "litellm_core_utils" / "tokenizers"
    os.environ.update(CURATOR_CACHE_DIR=str(folder), TELEMETRY_ENABLED="0", CURATOR_VIEWER="0", OPENAI_API_KEY=KEY)
    os.environ["TIKTOKEN_CACHE_DIR"] = str(tokenizers)
    from bespokelabs.curator import LLM
    from bespokelabs.curator.request_processor.online import openai_online_request_processor as processor
    from pydantic import BaseModel

    # It would ask for a user's name and age first, to which the stub has but its one answer.
    processor.OpenAIOnlineRequestProcessor.check_structured_output_support = lambda _self: True

    class Output(BaseModel):
        output: str

    class Answerer(LLM):  # type: ignore[misc]
        response_format = Output

        def prompt(self, row: dict[str, Any]) -> Any:
            return json.loads(row["messages"])

        def parse(self, _row: dict[str, Any], response: Output) -> dict[str, Any]:
            return {"output": response.output}

    model = Answerer(
        model_name="stub",
        backend="openai",
        generation_params={"temperature": TEMPERATURE, "max_tokens": MAX_TOKENS},
        backend_params={
            "base_url": url,
            "max_concurrent_requests": concurrency,
            "max_requests_per_minute": _NO_LIMIT,
            "max_tokens_per_minute": _NO_LIMIT,
        },
    )

    def ask(bodies: list[Body]) -> list[Any]:
        found = model([{"messages": json.dumps(body["messages"])} for body in bodies])
        return [{"output": row["output"]} for row in getattr(found, "dataset", found)]

    return ask


PEERS: dict[str, Make] = {"litellm": litellm, "langchain": langchain, "curator": curator}
