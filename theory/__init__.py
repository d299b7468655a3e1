"""What mathematics predicts."""
