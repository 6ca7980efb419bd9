"""People's labels, as the proxy serves and takes them: what an item is, and what a verdict means."""
