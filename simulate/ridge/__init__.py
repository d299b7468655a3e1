"""The linear read-out of context summaries: its ridge solution, its gradient flow and its exact risk."""
