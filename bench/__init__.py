"""Benchmarks and recordings that anyone can run again; nothing in the product imports this."""
