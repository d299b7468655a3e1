"""Runs, fixtures and controls that several claims on linear attention share."""
