"""On-policy distillation of logits (GKD, Agarwal et al. 2024, arXiv 2306.13649), by TRL's trainer.

Invariant: the teacher has the student's vocabulary, token by token; else its probabilities are of other
words. Runs in the trainer's Python.
"""

from __future__ import annotations

from typing import Any

from distill.training.chat import Refused

ON_POLICY_SHARE = 0.5  # of the steps that learn from the student's own answers (lambda of the paper)
BETA = 0.5  # between the two directions of the divergence
TEMPERATURE = 0.9
NEW_TOKENS = 256
DIFFERENCES_SHOWN = 3


def trainer(
    common: dict[str, Any], arguments: dict[str, Any], teacher: Any, tokenizer: Any, longest: int
) -> Any:
    """TRL's trainer for it.

    Args:
        common: What every trainer takes.
        arguments: Of its configuration.
        teacher: The teacher's model.
        tokenizer: The student's.
        longest: Tokens of an example, at most.
    """
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    config = GKDConfig(
        **arguments,
        lmbda=ON_POLICY_SHARE,
        beta=BETA,
        temperature=TEMPERATURE,
        max_new_tokens=min(NEW_TOKENS, longest),
    )
    return GKDTrainer(
        teacher_model=teacher, args=config, data_collator=Collator(tokenizer.pad_token_id), **common
    )


class Collator:
    """Examples as a batch: whole for learning, and their prompts alone for answering.

    Args:
        pad: The token that fills up.
    """

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch, as tensors; prompts are filled up on the left, for they are continued."""
        prompts = [example["input_ids"][: example["prompt_length"]] for example in examples]
        ids, mask = self._filled([example["input_ids"] for example in examples], self._pad)
        labels, _ = self._filled([example["labels"] for example in examples], -100)
        asked, asked_mask = self._filled(prompts, self._pad, left=True)
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": labels,
            "prompts": asked,
            "prompt_attention_mask": asked_mask,
        }

    @staticmethod
    def _filled(rows: list[list[int]], fill: int, *, left: bool = False) -> tuple[Any, Any]:
        import torch

        longest = max(map(len, rows))
        filled, mask = [], []
        for row in rows:
            more = longest - len(row)
            filled.append([fill] * more + row if left else row + [fill] * more)
            mask.append([0] * more + [1] * len(row) if left else [1] * len(row) + [0] * more)
        return torch.tensor(filled), torch.tensor(mask)


def refuse_other_vocabulary(student: Any, teacher: Any) -> None:
    """Compare two tokenizers.

    Raises:
        Refused: They are not the same, and how they differ.
    """
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    if ours == theirs:
        return
    differing = sorted(token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token))
    shown = ", ".join(
        f"{token!r} is {ours.get(token)} of the student's and {theirs.get(token)} of the teacher's"
        for token in differing[:DIFFERENCES_SHOWN]
    )
    raise Refused(
        f"the teacher's tokenizer is not the student's: {len(differing)} of {len(ours)} tokens differ "
        f"({shown}); "
        'take a teacher of the same family, or objective = "sft"'
    )
