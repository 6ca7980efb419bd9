"""Tests of `evals.metrics`."""
