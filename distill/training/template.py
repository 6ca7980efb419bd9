"""Chat templates: marks what the assistant says in a template that does not say it itself.

Invariant: a marked template renders the same text as the one that it was made from; whoever uses it
renders both and compares. Knows ChatML, in which an assistant's message is written with the same words as
any other. Pure, and standard library only.
"""

from __future__ import annotations

import re

_marks = re.compile(r"\{%-?\s*generation\s*-?%\}")
_role = r"(?:message\.role|message\[(?:'role'|\"role\")\])"
_content = r"(?P<content>\(?message\.content[^{}+]*|\(?message\[(?:'content'|\"content\")\][^{}+]*)"
_chatml = re.compile(
    r"\{\{(?P<trim>-?)\s*'<\|im_start\|>'\s*\+\s*(?P<role>" + _role + r")\s*\+\s*'\\n'\s*\+\s*" + _content +
    r"\s*\+\s*'<\|im_end\|>(?P<newline>\\n)?'\s*(?P<after>\+\s*'\\n')?\s*(?P<end>-?)\}\}"
)  # fmt: skip


def is_marked(template: str) -> bool:
    """Whether a template says which text is the assistant's."""
    return _marks.search(template) is not None


def marked(template: str) -> str | None:
    """A template with what the assistant says marked, or None where it is not of a known form."""
    if is_marked(template):
        return template
    changed, found = _chatml.subn(_with_marks, template)
    return changed if found else None


def _with_marks(match: re.Match[str]) -> str:
    role, content, trim = match["role"], match["content"].strip(), match["trim"]
    newline = "{{- '\\n' }}" if match["newline"] or match["after"] else ""
    said = f"{{{{- {content} + '<|im_end|>' }}}}"
    end = "{{- '' -}}" if match["end"] else ""
    return (
        f"{{{{{trim} '<|im_start|>' + {role} + '\\n' }}}}"
        f"{{%- if {role} == 'assistant' %}}{{%- generation %}}{said}{{%- endgeneration %}}"
        f"{{%- else %}}{said}{{%- endif %}}{newline}{end}"
    )
