"""The models: which weights exist, and how they make attention heads."""
