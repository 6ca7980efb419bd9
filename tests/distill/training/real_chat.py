"""A script for the trainer's Python: what a model's chat makes of some messages, as JSON.

`real_chat.py MODEL TEMPLATES` renders a few conversations with the tokenizer of MODEL under each template of
the JSON file TEMPLATES, and prints the prompt and the answer that `distill.training.chat` splits each into,
and how the template was understood.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CALL = {"id": "1", "type": "function", "function": {"name": "sum", "arguments": '{"a": 1, "b": 2}'}}
TOOL = {"type": "function", "function": {"name": "sum", "parameters": {"type": "object", "properties": {}}}}
CHATS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there."}]},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": "again"}],
            },
            {"role": "assistant", "content": "An earlier answer"},
            {"role": "user", "content": "And now?"},
            {"role": "assistant", "content": "The last one"},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "1 + 2?"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
        ],
        "tools": [TOOL],
    },
]


def main(model: str, templates: str) -> None:
    """The script."""
    sys.path.append(str(Path(__file__).parents[3]))
    from transformers import AutoTokenizer

    named = json.loads(Path(templates).read_text())
    tokenizer = AutoTokenizer.from_pretrained(model)
    print(json.dumps({name: of_template(tokenizer, template) for name, template in named.items()}))


def of_template(tokenizer: Any, template: str) -> list[dict[str, Any]]:
    """What each conversation is split into under a template."""
    from distill.training.chat import Chat

    tokenizer.chat_template = template
    chat = Chat(tokenizer)
    return [_split(tokenizer, chat, one) for one in CHATS]


def _split(tokenizer: Any, chat: Any, one: dict[str, Any]) -> dict[str, Any]:
    from distill.training.chat import Refused

    messages, tools = one["messages"], one.get("tools")
    try:
        encoded = chat.encode(messages, tools)
    except Refused as refusal:
        return {"refused": str(refusal)}
    return {
        "prompt": tokenizer.decode(encoded.prompt),
        "answer": tokenizer.decode(encoded.answer),
        "labels": [label for label in encoded.labels if label != -100] == encoded.answer,
        "length": chat.length(messages, tools),
        "tokens": len(encoded.ids),
        "marked": chat._marked is not None,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
