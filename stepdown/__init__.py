"""Stepdown: start every task on the strongest model, and step down where the evidence allows.

This package holds what all rooms share (settings, errors, records, ledger, registry, prices) and the
`stepdown` command. It imports no other room at import time.
"""

__version__ = "0.1.0"
