"""Counts of traffic by the hour, kept by the workers so that no page has to scan requests."""
