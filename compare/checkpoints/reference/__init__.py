"""Checkpoints of small trained networks: two that learn addition modulo 31, and attention of one and two layers."""
