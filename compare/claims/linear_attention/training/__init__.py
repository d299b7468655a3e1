"""Training by other rules than plain descent: momentum, weight decay, and AdamW, which is neither."""
