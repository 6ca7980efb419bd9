"""Slices: a task's traffic parted into kinds of query, and what is known of each."""
