"""A whole night with real models: recorded traffic in, a trained and gated student out."""
