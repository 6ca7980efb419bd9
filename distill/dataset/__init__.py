"""Datasets: what students are trained on, from the ledger and with references to it.

`build_dataset` reads the ledger, `keep_dataset` keeps what it made as an artifact without the texts, and
`read_dataset` brings both together again.
"""

from distill.dataset.build import build_dataset, import_dataset, new_examples
from distill.dataset.example import PARTS, TEST, TRAIN, VALIDATION, Dataset, Example, Part, Source, repeated
from distill.dataset.kept import DATASET, keep_dataset, read_dataset
from distill.dataset.tokens import TokenCounter, approximate_tokens

__all__ = [
    "DATASET",
    "PARTS",
    "TEST",
    "TRAIN",
    "VALIDATION",
    "Dataset",
    "Example",
    "Part",
    "Source",
    "TokenCounter",
    "approximate_tokens",
    "build_dataset",
    "import_dataset",
    "keep_dataset",
    "new_examples",
    "read_dataset",
    "repeated",
]
