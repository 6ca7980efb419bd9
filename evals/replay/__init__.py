"""Replay: recorded answers of two models, run through the real proxy, workers and ledger."""
