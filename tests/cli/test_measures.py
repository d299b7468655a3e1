"""attndyn measure: tables, files and mistakes."""

import csv
import json
import re

import numpy as np
import pytest

from attndyn.cli import main
from attndyn.cli.measures import ranks_of
from attndyn.compare import TensorNames, measure_files, reference_checkpoints

GROKKING = next(path for path in reference_checkpoints() if path.stem == "grokking")
NAMES = ["--query", "Q", "--key", "K", "--value", "V", "--output", "O"]
EMBEDDING = ["--embedding", "E", "--symbols", "31"]


def run(capsys, *arguments, status=0):
    assert main(["measure", *map(str, arguments)]) == status
    return capsys.readouterr()


def test_the_table_has_a_row_a_checkpoint(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    out, err = run(capsys, GROKKING, *NAMES, *EMBEDDING, "--rank", "qk=1,ov=6")
    assert err == ""
    assert re.search(r"^OV: head 0, head 1; subspaces of rank 6, 6$", out, re.MULTILINE)
    # The end of training: OV has effective rank 6.9, the embedding 16.8, and a Fourier share of .937.
    assert re.search(
        r"^2400 +6\.888, 6\.853 +5\.953, 5\.962 +0\.000", out, re.MULTILINE
    )
    assert re.search(r"^2400 +16\.801 .* 0\.937 *$", out, re.MULTILINE)
    assert len(re.findall(r"^\d+ ", out, re.MULTILINE)) == 33


def test_many_heads_are_summarised(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    matrices = np.stack([np.diag([1.0] * k + [0.0] * (6 - k)) for k in range(1, 7)])
    np.savez(tmp_path / "a.npz", qk=matrices, ov=0 * matrices)
    out, _ = run(
        capsys, tmp_path / "a.npz", "--query-key", "qk", "--output-value", "ov"
    )
    assert "QK: 6 heads, head 0 to head 5" in out
    assert "3.50 (1.00–6.00)" in out
    assert "note: OV is 0 at step 0 (head 0, and 5 more)" in out


def test_json_and_files_have_all_digits(capsys, tmp_path):
    wanted = measure_files(
        GROKKING, TensorNames(query="Q", key="K", embedding="E"), symbols=31
    ).to_dict()
    names = [GROKKING, *NAMES[:4], *EMBEDDING]
    out, _ = run(capsys, *names, "--json", "--out", tmp_path / "m.json")
    assert json.loads(out) == wanted
    assert json.loads((tmp_path / "m.json").read_text("utf-8")) == wanted
    run(capsys, *names, "--out", tmp_path / "m.csv")
    with open(tmp_path / "m.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["fourier_share embedding"]) for row in rows] == wanted[
        "fourier_share"
    ]
    column = [float(row["effective_rank QK head 1"]) for row in rows]
    assert column == [ranks[1] for ranks in wanted["query_key"]["effective_rank"]]
    assert rows[-1]["overlap QK head 0"] == ""
    for ending in ("npz", "png"):
        out, _ = run(capsys, *names, "--out", tmp_path / f"m.{ending}")
        assert f"m.{ending}" in out
        assert (tmp_path / f"m.{ending}").stat().st_size > 1000


def test_every_option_arrives(capsys, tmp_path):
    rng = np.random.default_rng(6)
    arrays = {"attn": rng.normal(size=(10, 32)), "W_E": rng.normal(size=(12, 10))}
    paths = [tmp_path / f"s{step}_of_9.npz" for step in (3, 1)]
    for path in paths:
        np.savez(path, **arrays)
    options = "--qkv attn --heads 4 --key-value-heads 2 --inputs-first --embedding W_E"
    options += (
        " --symbols 11 --frequencies 2 --without 2 --rank 2 --steps s{step}_ --json"
    )
    out, _ = run(capsys, *paths, *options.split())
    found = json.loads(out)
    assert found["steps"] == [1, 3]
    assert len(found["query_key"]["heads"]) == 4
    assert found["query_key"]["rank"] == [2] * 4
    assert len(found["embedding"]["effective_rank"]) == 2
    assert found["fourier_share"][0] < 1
    options = "--qkv attn --heads 2 --inputs-first --interleaved --json"
    with pytest.raises(AssertionError):
        run(capsys, paths[0], *options.split())
    assert "32 outputs, which are not those of 2 heads" in capsys.readouterr().err


def test_ranks_are_read():
    assert ranks_of("1e1") == 10
    assert ranks_of("embedding=4, OV=2") == {"embedding": 4, "output_value": 2}
    for text in ("6.5", "q=1", "qk=1,qk=2", "qk=", "six"):
        with pytest.raises(ValueError, match="--rank must be a whole number, or qk=1"):
            ranks_of(text)


MISTAKES = {
    "no names": ((GROKKING,), "say what the tensors are called"),
    "unknown": (
        (GROKKING, "--query", "W_Q", "--key", "K"),
        "no tensor is called 'W_Q': there are Q, W1, W2",
    ),
    "rank": ((GROKKING, *NAMES, "--rank", 25), "choose a rank of at most 24"),
    "symbols": ((GROKKING, "--embedding", "E", "--symbols", 40), "40 symbols are more"),
    "heads": ((GROKKING, *NAMES, "--heads", 2), "leave --heads out"),
    "unused rank": (
        (GROKKING, *NAMES, "--rank", "embedding=3"),
        "there is a rank for embedding, and no weights of it",
    ),
    "unused frequencies": (
        (GROKKING, "--embedding", "E", "--frequencies", 4),
        "say how many symbols there are",
    ),
    "unused symbols": ((GROKKING, *NAMES, "--symbols", 31), "leave symbols out"),
    "absent": (("none_1.npz", *NAMES), "cannot read or write none_1.npz"),
    "pickle": (("model.pt", *NAMES), "safetensors.torch.save_file"),
    "no figure": ((GROKKING, *NAMES, "--out", "m.txt"), "--out must end in"),
    "itself": (
        (GROKKING, *NAMES, "--out", GROKKING, "--force"),
        "name one file: choose another name for --out",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_end_in_one_line(case, capsys):
    arguments, words = MISTAKES[case]
    out, err = run(capsys, *arguments, status=2)
    assert out == ""
    assert re.fullmatch(r"attndyn: [^\n]+\n", err), err
    assert words in err


def test_a_file_is_replaced_only_if_asked(capsys, tmp_path):
    names = [GROKKING, *NAMES, "--out", tmp_path / "m.csv"]
    (tmp_path / "m.csv").write_text("old", encoding="utf-8")
    assert "is there already" in run(capsys, *names, status=2).err
    run(capsys, *names, "--force")
    assert (tmp_path / "m.csv").read_text("utf-8").startswith("step,")
