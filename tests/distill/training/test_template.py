"""Chat templates with what the assistant says marked render the text that they rendered before."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from distill.training.template import is_marked, marked
from tests.tiny_model import CHATML, MARKED_CHATML

PLAIN = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
WITH_TOOLS = """{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + ' calls' + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
NEWLINE_INSIDE = PLAIN.replace("'<|im_end|>' + '\\n'", "'<|im_end|>\\n'")
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello\nthere"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": " again "},
    {"role": "assistant", "content": "Yes?\n"},
]


class Generation(Extension):
    """The tag of transformers, which notes what was said within it."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("note"), [], [], body).set_lineno(line)

    def note(self, caller: Any) -> str:
        said: str = caller()
        self.environment.said.append(said)  # type: ignore[attr-defined]
        return said


def render(template: str, **more: Any) -> tuple[str, list[str]]:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation])
    environment.said = []  # type: ignore[attr-defined]
    text = environment.from_string(template).render(messages=CHAT, **more)
    return text, environment.said  # type: ignore[attr-defined]


@pytest.mark.parametrize("template", [PLAIN, WITH_TOOLS, NEWLINE_INSIDE, CHATML])
@pytest.mark.parametrize("asked", [True, False])
def test_chatml_is_marked_and_renders_the_same(template: str, asked: bool) -> None:
    changed = marked(template)
    assert changed is not None
    assert is_marked(changed)
    text, said = render(changed, add_generation_prompt=asked)
    assert text == render(template, add_generation_prompt=asked)[0]
    assert said == ["Hi.<|im_end|>", "Yes?\n<|im_end|>"]


def test_a_marked_template_is_left_as_it_is() -> None:
    assert marked(MARKED_CHATML) == MARKED_CHATML


def test_an_unknown_template_is_not_guessed_at() -> None:
    assert marked("{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}") is None
