"""Tests of `evals.checks`."""
