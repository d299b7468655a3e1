"""Checks many claims and collects their verdicts."""
