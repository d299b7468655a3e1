"""Recorded trajectories of an independent implementation, as data files."""
