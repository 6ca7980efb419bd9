"""Students on the servers of small models: each server has what the registry says, whoever was restarted.

Invariant: what traffic points at is taken from no server, and nothing is sent to a server unverified.
"""

from distill.serving.reconcile import reconcile, serve
from distill.serving.sleeping import put_to_sleep, wake

__all__ = ["put_to_sleep", "reconcile", "serve", "wake"]
