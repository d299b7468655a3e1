"""Sweeps: their settings, their folder, and their runs on any executor."""
