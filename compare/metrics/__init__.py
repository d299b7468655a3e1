"""How curves, loss drops and plateaus of runs are measured."""
