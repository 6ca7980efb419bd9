"""The room of pages over read-only queries. Nothing lives here yet; `stepdown report` is the view so far."""
