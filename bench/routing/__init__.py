"""The router against the baselines, on recordings of which only the outcomes are needed."""
