"""Claims on the setting: moments, statistics, time courses and the limits behind them."""
