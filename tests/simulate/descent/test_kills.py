"""Runs in processes of their own that are killed or told to end: what they end on is bit for bit the same.

python tests/simulate/descent/test_kills.py KILLS repeats the first test with so many kills at random moments.
"""

import hashlib
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from attndyn.simulate import load

PROGRAM = """
import sys
import numpy as np
import attndyn.simulate.descent.recorder as recorder
from attndyn import Separate, Task
from attndyn.simulate import (
    Adam, GradientDescent, Schedule, initial_weights, sample, statistics, train,
)

kind, path, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
recorder.CHECKPOINT_SECONDS = 0.0  # after every step
task, model = Task([2, 1], trace=1.0, context_length=5), Separate(heads=2)
data = sample(task, 40)


class Momentum:
    def init(self, params):
        return [{name: np.zeros_like(value) for name, value in params.items()}]

    def update(self, gradients, state, params):
        for name, value in state[0].items():
            value *= 0.9
            value += gradients[name]
        return {name: -0.003 * value for name, value in state[0].items()}, state


KINDS = {
    "adam": (data, dict(optimizer=Adam(0.01, weight_decay=0.1), batch=7, seed=1)),
    "momentum": (
        statistics(data, model),
        dict(optimizer=GradientDescent(
            Schedule({0: 0.0, 50: 0.003, 400: 0.0}, "cosine"), momentum=0.9, clip_norm=0.5
        )),
    ),
    "own": (data, dict(optimizer=Momentum())),
    "fresh": (task, dict(optimizer=Adam(0.01), batch=8)),
}
source, options = KINDS[kind]
start = initial_weights(model, task, 0.5, seed=1, scheme="gaussian")
print("begins", flush=True)
run = train(model, source, start, steps=steps, record=10, checkpoint=path or None, **options)
print("ends", flush=True)
"""


def process(kind, path, steps=400, **options):
    """The training process, once it has begun."""
    command = [sys.executable, "-c", PROGRAM, kind, str(path), str(steps)]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    assert started.stdout.readline() == "begins\n"
    return started


def contents(path):
    """A digest of everything that a run's file holds."""
    run = load(path)
    digest = hashlib.sha256()
    for array in (run.loss, run.gradient_norm, run.weight_time, *run.weights.values()):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr((run.state, run.settings, run.optimizer)).encode())
    return digest.hexdigest()


def ended_by_itself(kind, path, steps=400):
    with process(kind, path, steps) as whole:
        assert whole.communicate()[0] == "ends\n"
    return contents(path)


def killed_until_it_ends(kind, path, kills, seed, steps=400):
    """How many steps the checkpoint had after each of the kills; after them the run ends by itself."""
    moments = np.random.default_rng(seed)
    found = []
    for _ in range(kills):
        with process(kind, path, steps) as running:
            time.sleep(float(moments.uniform(0.0, 0.25)))
            running.kill()
            running.wait()
        found.append(len(load(path).loss) if path.exists() else 0)
    return found, ended_by_itself(kind, path, steps)


@pytest.mark.parametrize("kind", ["momentum", "own"])
def test_a_run_that_is_killed_at_any_moment_ends_on_the_same_bits(tmp_path, kind):
    whole = ended_by_itself(kind, tmp_path / "whole.npz")
    found, killed = killed_until_it_ends(kind, tmp_path / "killed.npz", 2, seed=1)
    assert killed == whole
    assert found == sorted(found)


def test_sigterm_ends_a_run_with_its_checkpoint_and_one_line(tmp_path):
    path = tmp_path / "run.npz"
    with process("momentum", path, 10**5, stderr=subprocess.PIPE) as running:
        while not path.exists():
            time.sleep(0.01)
        running.send_signal(signal.SIGTERM)
        shown, errors = running.communicate(timeout=600)
    assert running.returncode == 128 + signal.SIGTERM
    assert shown == ""
    assert errors == (
        f"the run was terminated: what it has is in {path}, from which it goes on\n"
    )
    assert len(load(path).loss) > 0


HANDLERS = """
import signal, threading
import numpy as np
from attndyn import Merged, Task
from attndyn.simulate import Adam, initial_weights, sample, train
from attndyn.simulate.descent import gradient_descent

task, model = Task([2, 1], context_length=5), Merged(2)
data, start = sample(task, 40), initial_weights(Merged(2), task, 0.1)
seen = []
make = gradient_descent.objective


def noting(*arguments):
    seen.append(signal.getsignal(signal.SIGTERM))
    evaluate = make(*arguments)

    def wrapped(weights):
        seen.append(signal.getsignal(signal.SIGTERM))
        return evaluate(weights)

    return wrapped


gradient_descent.objective = noting
rule = dict(optimizer=Adam(), steps=3)


def mine(number, frame):
    raise AssertionError


def handlers(**options):
    seen.clear()
    train(model, data, start, **rule, **options)
    return {seen[-1], signal.getsignal(signal.SIGTERM)}


# Its own handler only where there is none, and only with a file; afterwards what there was before.
assert handlers() == {signal.SIG_DFL}
during = handlers(checkpoint="first.npz")
assert signal.SIG_DFL in during and len(during) == 2, during
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
for handler in (mine, signal.SIG_IGN):
    signal.signal(signal.SIGTERM, handler)
    assert handlers(checkpoint=f"{len(seen)}{handler is mine}.npz") == {handler}
signal.signal(signal.SIGTERM, signal.SIG_DFL)
results = []
thread = threading.Thread(target=lambda: results.append(handlers(checkpoint="t.npz")))
thread.start()
thread.join()
assert results == [{signal.SIG_DFL}], results
"""


def test_the_handlers_of_the_users_program_are_left_alone(tmp_path):
    command = [sys.executable, "-W", "error", "-c", HANDLERS]
    subprocess.run(command, cwd=tmp_path, check=True)


if __name__ == "__main__":
    kills = int(sys.argv[1])
    for name in ("adam", "momentum", "own", "fresh"):
        with tempfile.TemporaryDirectory() as folder:
            # So many that each of the kills comes before the end.
            steps = 250 * kills
            expected = ended_by_itself(name, Path(folder) / "whole.npz", steps)
            found, after = killed_until_it_ends(
                name, Path(folder) / "killed.npz", kills, kills, steps
            )
            print(name, "same" if after == expected else "OTHER", found)
