"""What is learnt of a conversation, by real tokenizers and templates of several forms."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.distill.training.test_template import PLAIN
from tests.distill.training.worlds import texts
from tests.tiny_model import CHATML, MARKED_CHATML, tiny_model_in

SCRIPT = Path(__file__).with_name("real_chat.py")
QWEN = """{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- for call in message.tool_calls %}
            {{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- call.function.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
UNKNOWN = (
    "{% for m in messages %}{% if m.role == 'assistant' %}[A]{{ m.content }}<|im_end|> "
    "{% else %}[Q]{{ m.content }}[/Q]{% endif %}{% endfor %}{% if add_generation_prompt %}[A]{% endif %}"
)
FORGETFUL = (
    "{% if add_generation_prompt %}to be answered: {% endif %}"
    "{% for m in messages %}{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"
)


TEMPLATES = {
    "chatml": CHATML,
    "marked": MARKED_CHATML,
    "plain": PLAIN,
    "qwen": QWEN,
    "unknown": UNKNOWN,
    "forgetful": FORGETFUL,
}
Split = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def split(trainer_python: str, tmp_path_factory: pytest.TempPathFactory) -> Split:
    """What each conversation is split into, by the name of the template."""
    folder = tmp_path_factory.mktemp("models")
    base, file = tiny_model_in(folder / "tiny", texts(), trainer_python), folder / "templates.json"
    file.write_text(json.dumps(TEMPLATES))
    argv = [trainer_python, str(SCRIPT), str(base), str(file)]
    run = subprocess.run(argv, capture_output=True, text=True, check=True)
    found: Split = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("name", "is_marked"),
    [("chatml", True), ("marked", True), ("plain", True), ("qwen", True), ("unknown", False)],
)
def test_only_the_last_answer_is_learnt(split: Split, name: str, is_marked: bool) -> None:
    short, long, _ = split[name]
    assert short["answer"] == "Hi there.<|im_end|>"
    assert short["prompt"].endswith("[A]" if name == "unknown" else "assistant\n")
    assert long["answer"] == "The last one<|im_end|>"
    assert "An earlier answer" in long["prompt"]
    assert "Hello\nagain" in long["prompt"]
    assert short["marked"] is long["marked"] is is_marked
    assert short["labels"] is long["labels"] is True
    assert abs(short["length"] - short["tokens"]) <= 2


def test_a_call_of_a_tool_is_learnt_with_its_arguments_as_values(split: Split) -> None:
    call = split["qwen"][2]
    assert '{"name": "sum", "arguments": {"a": 1, "b": 2}}' in call["answer"]
    assert call["answer"].endswith("</tool_call><|im_end|>")
    assert "1 + 2?" in call["prompt"]


def test_a_template_that_cannot_say_what_the_answer_is_is_refused(split: Split) -> None:
    assert all("put {% generation %}" in one["refused"] for one in split["forgetful"])
