"""Metrics: one pure function family a file, numbers in and numbers out.

Nothing here reads the ledger, a file or a clock; randomness comes from the seed that is passed in.
"""
