"""The harness: models, policies and prompts tried on a suite of cases, and compared pair by pair."""
