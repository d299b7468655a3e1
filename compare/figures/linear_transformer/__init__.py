"""Figures of Mainali and Teixeira 2025."""
