"""Tests of `distill.dataset`."""
