"""The night: from a day's traffic to a student on trial, stage by stage, and never twice."""
