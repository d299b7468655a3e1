"""Softmax attention over every context length, as public training code runs it: its recorded losses, replayed.

That code divides the softmax output by the number of tokens once more. The recording holds the prompts, the initial
weights and the loss of every step in single precision.
"""

from pathlib import Path

from attndyn.compare import replay

result = replay(Path(__file__).with_name("softmax_all_lengths.npz"))
print(result)
print(f"largest relative deviation of the loss: {result.max_relative_deviation:.1e}")
