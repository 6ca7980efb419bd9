"""The room of evidence: checks that label answers, metrics, and the reports made of them."""
