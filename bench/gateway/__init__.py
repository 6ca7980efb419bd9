"""What the proxy costs: requests per second and added latency, next to a direct call, in one run."""
