"""Where the theory holds over a sweep: its predictions against the runs, as numbers and plots."""
