"""Tests of `distill.training`."""
