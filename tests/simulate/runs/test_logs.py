"""Losses out of logs: the formats of other programs, and what is refused in one sentence."""

import json
import re

import numpy as np
import pytest

from attndyn.simulate.runs.logs import logged_losses

STEPS, LOSSES = [0, 50, 100], [1.0, 0.5, 0.25]

PAIRS = list(zip(STEPS, LOSSES, strict=True))


def lines(header, separator=",", end="\n"):
    rows = [header, *(f"{s}{separator}{loss}" for s, loss in PAIRS)]
    return end.join(rows) + end


TRAINER = [
    *({"loss": l, "learning_rate": 1e-3, "epoch": s / 50, "step": s} for s, l in PAIRS),
    {"eval_loss": 9.0, "eval_runtime": 1.0, "epoch": 2.0, "step": 100},
    {"train_runtime": 3.0, "train_loss": 0.6, "epoch": 2.0, "step": 100},
]
TENSORBOARD = [[1.7e9 + s, s, loss] for s, loss in PAIRS]

FILES = {
    "csv": lines("step,loss"),
    "semicolons": lines("Step;Loss", ";"),
    "tabs": lines("step\tloss", "\t"),
    "spaces": lines("step   loss", "  "),
    "bars": lines("step|train/loss", "|"),
    "byte order mark": "\ufeff" + lines("iteration,mse"),
    "Windows": lines("global_step,train_loss", end="\r\n"),
    "savetxt": lines("# step loss", " "),
    "comments": "# run 7\n# on Monday\nstep,loss\n0,1.0\n# restarted\n50,0.5\n100,0.25\n",
    "comment without names": "# 7\nstep,loss\n0,1.0\n50,0.5\n100,0.25\n",
    "groups": "_step,loss/train,loss/test\n0,1.0,9\n50,0.5,9\n100,0.25,9\n",
    "camel case": "globalStep,trainLoss,valLoss\n0,1.0,9\n50,0.5,9\n100,0.25,9\n",
    "no header": "0,1.0\n50,0.5\n100,0.25\n",
    "decimal comma": "step;loss\n0;1,0\n50;0,5\n100;0,25\n",
    "quoted": '"step","loss"\n"0","1.0"\n"50","0.5"\n"100","0.25"\n',
    "blank lines": "step,loss\n\n0,1.0\n\n50,0.5\n100,0.25\n\n",
    "separator at the end": "step,loss,\n0,1.0,\n50,0.5,\n100,0.25,\n",
    "epochs too": "epoch,step,loss\n0,0,1.0\n1,50,0.5\n2,100,0.25\n",
    "steps as floats": "step,loss\n0.0,1.0\n5e1,0.5\n100.0,0.25\n",
    "unsorted": "step,loss\n100,0.25\n0,1.0\n50,0.5\n",
    "repeated": "step,loss\n0,1.0\n50,0.5\n50,0.5\n100,0.25\n",
    "TensorBoard": "Wall time,Step,Value\n1.7e9,0,1.0\n1.7e9,50,0.5\n1.7e9,100,0.25\n",
    "W&B": '"Step","my test run - train/loss","my test run - train/loss__MIN","my test run - train/loss__MAX"\n'
    + "".join(f'"{s}","{loss}","0","9"\n' for s, loss in PAIRS),
    "Lightning": "epoch,step,train_loss,val_loss\n0,0,1.0,\n0,50,0.5,\n0,99,,0.4\n0,100,0.25,\n",
    "nan between": "step,loss\n0,1.0\n25,nan\n50,0.5\n75,inf\n100,0.25\n",
    "JSON lines": "".join(json.dumps({"step": s, "loss": l}) + "\n" for s, l in PAIRS),
    "JSON lines, nested": "".join(
        json.dumps({"_step": s, "train": {"loss": l}, "val": {"loss": 9}}) + "\n"
        for s, l in PAIRS
    ),
    "pairs a line": "".join(json.dumps([s, l]) + "\n" for s, l in PAIRS),
    "Trainer": json.dumps({"epoch": 2, "log_history": TRAINER}, indent=1),
    "history": json.dumps(TRAINER),
    "TensorBoard JSON": json.dumps(TENSORBOARD),
    "columns": json.dumps({"step": STEPS, "loss": LOSSES}),
    "by step": json.dumps({str(s): l for s, l in PAIRS}),
    "pairs": json.dumps(PAIRS),
}


@pytest.mark.parametrize("name", FILES)
def test_a_format_is_read(name, tmp_path):
    path = tmp_path / "log.txt"
    path.write_text(FILES[name], encoding="utf-8", newline="")
    for form in (path, str(path), str(path).encode()):
        steps, loss, _ = logged_losses(form)
        assert (steps.tolist(), loss.tolist()) == (STEPS, LOSSES)


def test_a_file_of_powershell(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(lines("step,loss"), encoding="utf-16")
    assert logged_losses(path).loss.tolist() == LOSSES


class Frame:
    """What a data frame offers; a missing number is nan."""

    def __init__(self, **columns):
        self.values = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return np.asarray(self.values[name])


MEMORY = {
    "pairs": PAIRS,
    "array": np.array(PAIRS),
    "rows": [{"step": s, "loss": l} for s, l in PAIRS],
    "history": TRAINER,
    "columns": {"step": STEPS, "loss": np.array(LOSSES)},
    "by step": dict(PAIRS),
    "by step as floats": {float(s): l for s, l in PAIRS},
    "frame": Frame(
        step=[0, 50, 75, 100], loss=[1, 0.5, np.nan, 0.25], val_loss=[9] * 4
    ),
    "frame that ends with an evaluation": Frame(
        step=[0, 50, 100, 100], loss=[1, 0.5, 0.25, np.nan]
    ),
    "structured": np.array(PAIRS, dtype=[("step", int), ("loss", float)]),
}


@pytest.mark.parametrize("name", MEMORY)
def test_a_log_in_memory_is_read(name):
    steps, loss, _ = logged_losses(MEMORY[name])
    assert (steps.tolist(), loss.tolist()) == (STEPS, LOSSES)


def test_losses_alone_are_one_a_step(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("train loss\n1.0\n0.5\n0.25\n")
    for log in (LOSSES, np.array(LOSSES, np.float32), {"loss": LOSSES}, path):
        steps, loss, _ = logged_losses(log)
        assert (steps.tolist(), loss.tolist()) == ([0, 1, 2], LOSSES)


def test_steps_may_be_passed_or_named(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("lr,loss\n0.1,1.0\n0.1,0.5\n0.1,\n0.1,0.25\n")
    steps, loss, missing = logged_losses(path, step=[0, 50, 75, 100])
    assert (steps.tolist(), loss.tolist(), missing) == (STEPS, LOSSES, 1)
    assert logged_losses(LOSSES, step=STEPS).steps.tolist() == STEPS
    assert logged_losses(None, step=STEPS, loss=LOSSES).steps.tolist() == STEPS
    rows = [{"_step": s, "train/global_step": 2 * s, "a loss": l} for s, l in PAIRS]
    chosen = logged_losses(rows, step="train/global_step")
    assert chosen.steps.tolist() == [0, 100, 200]
    rows = [{"step": s, "ce_loss": l, "mse_loss": 9.0} for s, l in PAIRS]
    assert logged_losses(rows, loss="ce_loss").loss.tolist() == LOSSES


def test_a_long_log_is_read_row_by_row(tmp_path):
    path = tmp_path / "log.csv"
    count = 100_000
    path.write_text(
        "step,loss,x\n" + "".join(f"{k},{1 / (1 + k)},0\n" for k in range(count))
    )
    steps, loss, _ = logged_losses(path)
    assert len(steps) == count
    assert loss[-1] == 1 / count


WRONG_FILES = {
    "it is empty": "",
    "it is empty ": "\n \n",
    "the log holds no loss": "step,loss\n",
    "no column of training losses among 'step', 'accuracy': name it with loss=": "step,accuracy\n0,1\n",
    "no column of training losses among 'step', 'val_loss'": "step,val_loss\n0,1\n",
    "2 columns may hold the training losses, 'loss', 'mse': choose with loss=": "step,loss,mse\n0,1,1\n",
    "2 columns may hold the training losses, 'train_loss_step', 'train_loss_epoch'": (
        "step,train_loss_step,train_loss_epoch\n0,1,1\n"
    ),
    "2 columns may hold the steps, '_step', 'train/global_step': choose with step=": (
        "_step,train/global_step,loss\n0,0,1\n"
    ),
    "2 columns may hold the training losses, 'a - loss', 'b - loss'": "Step,a - loss,b - loss\n0,1,1\n",
    "the log counts epochs ('epoch') and not steps": "epoch,loss\n0,1\n1,0.5\n",
    "no column of steps among 'lr', 'loss'": "lr,loss\n0.1,1\n",
    "2 columns called loss='loss'": "step,loss,loss\n0,1,2\n",
    "step 50 has two losses, 0.5 and 0.4, as where a run was restarted": "step,loss\n0,1\n50,0.5\n50,0.4\n",
    "the loss is nan or inf from step 50 on: the run diverged": "step,loss\n0,1\n50,nan\n100,nan\n",
    "the loss is nan or inf from step 100 on": "step,loss\n0,1\n50,2\n100,inf\n",
    "that is a number": "step,loss\n0,nan\n",
    "the loss is -1 at step 50: a mean square is not negative": "step,loss\n0,1\n50,-1\n",
    "'loss' of row 2 is '50%', which is no number: a loss in units of y² has no percent": (
        "step,loss\n0,1\n50,50%\n"
    ),
    "log loss.item()": "step;loss\n0;1\n50;tensor(0.5, grad_fn=<MeanBackward0>)\n",
    "row 2 has a loss and no step": "step,loss\n0,1\n,0.5\n",
    "the step of row 2 is 0.5: steps are whole numbers": "step,loss\n0,1\n0.5,0.5\n",
    "the step of row 1 is -1": "step,loss\n-1,1\n",
    "'step' of row 2 is '1,000'": "step;loss\n0;1\n1,000;0,5\n",
    "line 3 has 3 cells under 2 columns": "step,loss\n0,1\n50,0,5\n",
    "its first line has 3 numbers and no names": "0,1,2\n1,1,2\n",
    "it is no JSON": "[" * 5000 + "]" * 5000,
    "it is no CSV": f"step,loss\n0,{'1' * 200_000}\n",
    "line 2 is no JSON": '{"step": 0, "loss": 1}\n{"step": 1, "lo',
    "it is no JSON, of one value or of one value a line": "{'loss': 0.5}\n",
    "row 2 is no JSON object, as the first one is": '{"step": 0, "loss": 1}\n[1, 2]\n',
    "an array of losses must have shape": "[[1, 2, 3, 4], [1, 2, 3, 4]]",
    "or (T, 2) of steps and losses, not (2, 3)": "[[0, 1, 2], [1, 1, 2]]",
    "the columns of the log have different lengths": '{"step": [1, 2], "loss": [1]}',
    "the step of row 2 is '1.000' beside the loss '0,5': where a comma is decimal": (
        "step;loss\n0;1,5\n1.000;0,5\n"
    ),
    "the step of row 2 is 9007199254740993": "step,loss\n0,1\n9007199254740993,1\n",
    "no column of training losses among 'step', 'log_loss'": "step,log_loss\n0,1\n",
    "no column of training losses among 'step', 'sqrt_mse'": "step,sqrt_mse\n0,1\n",
    "an object of its JSON names 'loss' twice": '[{"step": 0, "loss": 1, "loss": 2}]',
}


@pytest.mark.parametrize("message", WRONG_FILES)
def test_what_is_refused_is_named_in_one_line(message, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(WRONG_FILES[message], encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message.strip())) as error:
        logged_losses(path)
    assert "log.csv: " in str(error.value)
    assert "\n" not in str(error.value)


BINARY = {
    "events.out.tfevents.17": (b"\x18\0\0\0", "event file: export the losses as CSV"),
    "run.npz": (b"PK\x03\x04", "attndyn.simulate.load"),
    "loss.npy": (b"\x93NUMPY", "pass numpy.load of it"),
    "log.csv.gz": (b"\x1f\x8b", "unpack it first"),
    "run.wandb": (b":W&B\0\1", "it is no text: export the losses as CSV"),
    "latin.csv": ("step,loss µ\n0,1\n".encode("latin-1"), "it is no UTF-8 text"),
}


@pytest.mark.parametrize("name", BINARY)
def test_a_file_that_is_no_text_says_what_to_do(name, tmp_path):
    contents, message = BINARY[name]
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(ValueError, match=re.escape(message)):
        logged_losses(tmp_path / name)
    with pytest.raises(ValueError, match="it is a folder: export the losses"):
        logged_losses(tmp_path)
    with pytest.raises(FileNotFoundError):
        logged_losses(tmp_path / "absent.csv")


WRONG = {
    "shape (T,), or (T, 2) of steps and losses, not (2, 3)": lambda: logged_losses(
        np.ones((2, 3))
    ),
    "the step of row 1 is 0.5": lambda: logged_losses([(0.5, 1.0), (0.25, 2.0)]),
    "step must have shape (3,), not (2,)": lambda: logged_losses(LOSSES, step=[0, 1]),
    "step='step' names a column, and this log has none": lambda: logged_losses(
        LOSSES, step="step"
    ),
    "no column called loss='mse': there are 'step', 'loss'": lambda: logged_losses(
        [{"step": 0, "loss": 1}], loss="mse"
    ),
    "row 2 of the log is no mapping": lambda: logged_losses([{"loss": 1}, 3]),
    "must be an array of real numbers": lambda: logged_losses([1j, 2]),
    "loss= names the column of losses in the log": lambda: logged_losses(
        LOSSES, loss=LOSSES
    ),
    "'loss' of row 1 is 'True', which is no number": lambda: logged_losses(
        [{"step": 0, "loss": True}]
    ),
    "pass log=": lambda: logged_losses(None, loss="loss"),
    "no column of training losses among none": lambda: logged_losses({}),
    "the column 'a' is named for steps and losses both": lambda: logged_losses(
        [{"a": 0, "b": 1}], step="a", loss="a"
    ),
    "the log holds no loss": lambda: logged_losses([]),
    "log must hold losses, not truth values": lambda: logged_losses([True, False]),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_log_in_memory_is_refused(message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        WRONG[message]()
    assert "\n" not in str(error.value)
