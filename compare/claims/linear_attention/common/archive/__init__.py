"""Thinned losses of runs that are made once, written by `archived_runs.archive_run`."""
