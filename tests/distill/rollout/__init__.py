"""Tests of `distill.rollout`."""
