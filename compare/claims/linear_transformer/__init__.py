"""Claims of Mainali and Teixeira 2025 (arXiv 2504.12916) on one layer of linear attention with several outputs."""
