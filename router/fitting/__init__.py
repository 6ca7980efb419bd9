"""Fitting a router from labelled prompts; imported by workers, never by the serving process."""
