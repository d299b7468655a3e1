"""Checkpoints of networks that were trained elsewhere: files of tensors, their names, and the heads in them."""
