"""How far labels can be trusted: a check beside published marks, and intervals under a wrong judge."""
