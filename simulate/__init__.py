"""What gradient descent does."""
