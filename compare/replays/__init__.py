"""Recorded runs of other code, repeated with ours."""
