"""What every floor uses and what knows no task: files, progress, executors, threads, versions."""
