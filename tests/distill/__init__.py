"""Tests of `distill`."""
