"""What pages read from the ledger: read-only queries that answer with values."""
