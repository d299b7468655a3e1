"""Predictions against runs."""
