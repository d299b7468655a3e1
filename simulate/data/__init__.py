"""Samples of prompts."""
