"""The Celery app, its thin tasks and their schedule. No logic of its own: what a task does is in evals.

Invariant: a message is a hint to look at the ledger and carries a task's name at most, so losing one
costs a little time and no work.
"""
