"""Record what two models answer to the generated prompts, so that the loop can be replayed anywhere.

Usage: ``python -m bench.record --url http://localhost:8000/v1 --model NAME --out small.jsonl``
once for each tier, then ``python -m bench.record --join strong.jsonl small.jsonl --out FILE.jsonl.gz``.
An interrupted run goes on where it stopped. The form of the joined file is in `docs/recordings.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp

from bench.traffic import GENERATORS, Prompt, generate

SEED = 20
MIX = {
    "arithmetic": 70,
    "discount": 90,
    "unit_conversion": 100,
    "largest_number": 70,
    "date_arithmetic": 20,
    "order_json": 120,
    "event_json": 90,
    "csv_json": 110,
    "json_value": 110,
    "table_lookup": 120,
    "sql": 110,
    "python_expression": 100,
    "python_output": 20,
    "ticket_class": 100,
    "sentiment": 110,
    "multiple_choice": 90,
    "iso_date": 90,
    "email_address": 100,
    "order_number": 90,
    "list_transform": 80,
    "letter_count": 20,
}
MAX_TOKENS = 220


async def ask(session: aiohttp.ClientSession, url: str, model: str, text: str) -> dict[str, Any]:
    """One greedy chat completion with the log-probabilities of its tokens."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
        "logprobs": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    started = time.perf_counter()
    first: float | None = None
    finish: str | None = None
    parts: list[str] = []
    logprobs: list[float] = []
    usage: dict[str, int] = {}
    async with session.post(f"{url}/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                if choice["delta"].get("content"):
                    first = first or time.perf_counter()
                    parts.append(choice["delta"]["content"])
                logprobs += [
                    round(t["logprob"], 4) for t in (choice.get("logprobs") or {}).get("content") or ()
                ]
                finish = choice.get("finish_reason") or finish
    ended = time.perf_counter()
    return {
        "model": model,
        "text": "".join(parts),
        "finish_reason": finish,
        "prompt_tokens": usage["prompt_tokens"],
        "completion_tokens": usage["completion_tokens"],
        "ttft_ms": round(1000 * ((first or ended) - started)),
        "latency_ms": round(1000 * (ended - started)),
        "logprobs": logprobs,
    }


def _unrecorded(prompts: list[Prompt], out: Path) -> list[Prompt]:
    done = {json.loads(line)["prompt"] for line in out.read_text().splitlines()} if out.exists() else set()
    return [p for p in prompts if p.text not in done]


async def record(url: str, model: str, prompts: list[Prompt], out: Path, concurrency: int) -> None:
    """Append one line for each prompt that `out` does not yet hold."""
    todo = _unrecorded(prompts, out)
    slots, finished = asyncio.Semaphore(concurrency), 0
    timeout = aiohttp.ClientTimeout(total=900)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def one(prompt: Prompt) -> None:
            nonlocal finished
            async with slots:
                answer = await ask(session, url, model, prompt.text)
            with out.open("a") as file:
                file.write(json.dumps({"prompt": prompt.text, "answer": answer}) + "\n")
            finished += 1
            print(f"\r{finished}/{len(todo)}", end="", file=sys.stderr)

        await asyncio.gather(*(one(p) for p in todo))


def join(strong: Path, small: Path, prompts: list[Prompt], out: Path) -> None:
    """Write the pairs, in the order of the prompts, with a fixed gzip time stamp."""
    answers = [
        {row["prompt"]: row["answer"] for row in map(json.loads, path.read_text().splitlines())}
        for path in (strong, small)
    ]
    with out.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as file:
        for prompt in prompts:
            row = {k: v for k, v in asdict(prompt).items() if k != "text"}
            pair = {
                tier: answer[prompt.text] for tier, answer in zip(("strong", "small"), answers, strict=True)
            }
            line = {"slice": row.pop("kind"), "prompt": prompt.text, **row, **pair}
            file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


def main() -> None:
    """Parse the command line and record or join."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url")
    parser.add_argument("--model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--join", type=Path, nargs=2, metavar=("STRONG", "SMALL"))
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--each", type=int, help="prompts of each kind, instead of the published mix")
    options = parser.parse_args()
    counts = dict.fromkeys(GENERATORS, options.each) if options.each else MIX
    prompts = list(generate(SEED, counts))
    if options.join:
        strong, small = options.join
        join(strong, small, prompts, options.out)
    else:
        asyncio.run(record(options.url, options.model, prompts, options.out, options.concurrency))


if __name__ == "__main__":
    main()
