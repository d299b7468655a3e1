"""Measures of files: the stored checkpoints, and layouts of PyTorch users."""

import re
import time

import numpy as np
import pytest

from attndyn.compare import (
    HeadLayout,
    TensorNames,
    measure,
    measure_files,
    reference_checkpoints,
)

from .test_tensor_files import write_safetensors

REFERENCE = {path.stem: path for path in reference_checkpoints()}
NAMES = TensorNames(query="Q", key="K", value="V", output="O", embedding="E")
PRODUCTS = TensorNames(query_key="qk", output_value="ov")
RNG = np.random.default_rng(2)
T, L, H, R, D = 3, 2, 2, 4, 10
STEPS = (0, 50, 200)


def stored(name):
    with np.load(REFERENCE[name]) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", ["grokking", "control"])
def test_the_stored_networks_have_the_recorded_measures(name):
    found = measure_files(REFERENCE[name], NAMES, rank={"output_value": 6}, symbols=31)
    recorded = stored(name)
    ours = {
        "effective_rank_qk": found.query_key.effective_rank,
        "effective_rank_qk_without_1": found.query_key.marginalised_rank,
        "effective_rank_ov": found.output_value.effective_rank,
        "effective_rank_embedding": found.embedding.effective_rank[:, 0],
        "subspace_distance_ov_6": found.output_value.subspace_distance,
        "fourier_share_5": found.fourier_share,
    }
    for quantity, values in ours.items():
        assert np.allclose(values, recorded[quantity], rtol=0, atol=1e-9), quantity
    assert np.array_equal(found.steps, recorded["steps"])


@pytest.mark.parametrize("name", ["attention_only_1", "attention_only_2"])
def test_the_stored_attention_has_the_recorded_ranks(name):
    found = measure_files(REFERENCE[name], PRODUCTS)
    recorded = stored(name)["effective_rank"]
    for k, matrices in enumerate((found.query_key, found.output_value)):
        ranks = matrices.effective_rank
        assert np.allclose(ranks, recorded[..., k], rtol=0, atol=1e-9)


def test_all_stored_checkpoints_take_less_than_two_seconds():
    """Processor time, the least of three."""
    seconds = []
    for _ in range(3):
        begin = time.process_time()
        for name, path in REFERENCE.items():
            if name.startswith("attention"):
                measure_files(path, PRODUCTS)
            else:
                measure_files(path, NAMES, symbols=31)
        seconds.append(time.process_time() - begin)
    assert min(seconds) < 2


WEIGHTS = {
    role: RNG.normal(size=(T, L, H, *((D, R) if role == "output" else (R, D))))
    for role in ("query", "key", "value", "output")
}
WANTED = measure(WEIGHTS, STEPS, rank=2)


def in_one_matrix(role, t, layer):
    """As torch.nn.Linear holds the heads of a layer, in single precision."""
    heads = WEIGHTS[role][t, layer]
    return np.concatenate(list(heads), axis=1 if role == "output" else 0)


def same(found):
    assert np.array_equal(found.steps, STEPS)
    for kind in ("query_key", "output_value"):
        ours, wanted = getattr(found, kind), getattr(WANTED, kind)
        assert ours.names == wanted.names
        for name in ("effective_rank", "subspace_distance", "overlap"):
            values = getattr(ours, name)
            assert np.allclose(values, getattr(wanted, name), atol=1e-5), name


LLAMA = {
    "query": "model.layers.{layer}.self_attn.q_proj.weight",
    "key": "model.layers.{layer}.self_attn.k_proj.weight",
    "value": "model.layers.{layer}.self_attn.v_proj.weight",
    "output": "model.layers.{layer}.self_attn.o_proj.weight",
}


def test_safetensors_of_linear_layers(tmp_path):
    paths = []
    for t, step in enumerate(STEPS):
        tensors = {}
        for role, pattern in LLAMA.items():
            for layer in range(L):
                matrix = in_one_matrix(role, t, layer).astype("<f4")
                name = pattern.replace("{layer}", str(layer))
                tensors[name] = ("F32", matrix.shape, matrix.tobytes())
        path = tmp_path / f"checkpoint-{step}" / "model.safetensors"
        path.parent.mkdir()
        paths.append(write_safetensors(path, tensors, {"format": "pt"}))
    names, layout = TensorNames(**LLAMA), HeadLayout(heads=H)
    same(measure_files(reversed(paths), names, layout, rank=2))
    with pytest.raises(ValueError, match="--heads how many"):
        measure_files(paths, names)
    with pytest.raises(ValueError, match=r"QK of layer 0 head 0 has rank 4 at step 0"):
        measure_files(paths, names, layout, rank=5)


def test_transformerlens_with_a_fused_file_of_all_steps(tmp_path):
    arrays = {"steps": np.array(STEPS)}
    for layer in range(L):
        for role, letter in zip(WEIGHTS, "QKVO", strict=True):
            name = f"blocks.{layer}.attn.W_{letter}"
            arrays[name] = np.swapaxes(WEIGHTS[role][:, layer], -1, -2)
    np.savez(tmp_path / "run.npz", **arrays)
    names = {
        role: f"blocks.{{layer}}.attn.W_{letter}"
        for role, letter in zip(WEIGHTS, "QKVO", strict=True)
    }
    layout = HeadLayout(inputs_first=True)
    path = tmp_path / "run.npz"
    same(measure_files(path, TensorNames(**names), layout, rank=2))
    half = TensorNames(query=names["query"], key="blocks.0.attn.W_K")
    with pytest.raises(
        ValueError, match=r"different layers or heads: layers 0, 1, and no"
    ):
        measure_files(path, half, layout)


def test_gpt2_with_fused_matrices_and_steps_before_names(tmp_path):
    arrays = {}
    for t, step in enumerate(STEPS):
        for layer in range(L):
            parts = [
                in_one_matrix(role, t, layer) for role in ("query", "key", "value")
            ]
            prefix = f"{step}/h.{layer}.attn"
            arrays[f"{prefix}.c_attn.weight"] = np.concatenate(parts).T
            arrays[f"{prefix}.c_proj.weight"] = in_one_matrix("output", t, layer).T
    np.savez(tmp_path / "gpt2.npz", **arrays)
    names = TensorNames(
        fused="h.{layer}.attn.c_attn.weight", output="h.{layer}.attn.c_proj.weight"
    )
    layout = HeadLayout(heads=H, inputs_first=True)
    same(measure_files([tmp_path / "gpt2.npz"], names, layout, rank=2))
    alone = TensorNames(fused="h.{layer}.attn.c_attn.weight")
    found = measure_files(tmp_path / "gpt2.npz", alone, layout)
    assert found.output_value is None
    assert len(found.query_key.names) == L * H


def test_one_tensor_a_head(tmp_path):
    arrays = {"step": np.array(STEPS)}
    for role, array in WEIGHTS.items():
        for layer in range(L):
            for head in range(H):
                arrays[f"{role}.{layer}.{head}"] = array[:, layer, head]
    np.savez(tmp_path / "heads.npz", **arrays)
    names = TensorNames(**{role: f"{role}.{{layer}}.{{head}}" for role in WEIGHTS})
    same(measure_files(tmp_path / "heads.npz", names, rank=2))
    single = TensorNames(query="query.1.{head}", key="key.1.{head}")
    found = measure_files(tmp_path / "heads.npz", single)
    assert found.query_key.names == ("head 0", "head 1")


def test_a_layer_of_one_product(tmp_path):
    np.savez(tmp_path / "a.npz", **{"qk.3": np.eye(3), "qk.5": np.ones((3, 3))})
    found = measure_files(tmp_path / "a.npz", TensorNames(query_key="qk.{layer}"))
    assert found.query_key.names == ("layer 3", "layer 5")
    assert np.allclose(found.query_key.effective_rank, [[3, 1]])


NO_NAMES = {
    "nothing": ({}, "say what the tensors are called"),
    "half": ({"value": "V"}, "--value alone makes no product: pass --output too"),
    "fused and query": (
        {"fused": "a", "query": "Q"},
        "--query is in the fused matrix of --qkv",
    ),
    "product and factor": (
        {"query": "Q", "key": "K", "query_key": "qk"},
        "--query is a factor of --query-key",
    ),
}


@pytest.mark.parametrize("case", NO_NAMES)
def test_names_that_do_not_fit_are_refused(case):
    names, words = NO_NAMES[case]
    with pytest.raises(ValueError, match=re.escape(words)):
        TensorNames(**names)


REFUSED = {
    "unknown": (
        TensorNames(query="W_Q", key="K"),
        {},
        "no tensor is called 'W_Q': there",
    ),
    "field of an embedding": (TensorNames(embedding="{layer}"), {}, "without braces"),
    "no embedding": (TensorNames(embedding="W_E"), {}, "no tensor is called 'W_E'"),
    "too large a rank": (NAMES, {"rank": 25}, "QK of head 0 has rank 24 at step 0"),
    "symbols": (NAMES, {"symbols": 33}, "33 symbols are more than the 32 rows"),
    "not a matrix": (
        TensorNames(embedding="prime"),
        {},
        "must begin with an axis of 11",
    ),
    "another log": (TensorNames(embedding="log"), {}, "an axis of 11 checkpoints"),
    "a vector": (TensorNames(embedding="b2"), {}, "a matrix of one row a symbol"),
    "truth values": (TensorNames(embedding="train"), {}, "an axis of 11 checkpoints"),
    "a rank of nothing": (
        TensorNames(query="Q", key="K"),
        {"rank": {"output_value": 2}},
        "there is a rank for OV",
    ),
    "symbols of nothing": (
        TensorNames(query="Q", key="K"),
        {"symbols": 31},
        "name the embedding, or leave symbols out",
    ),
    "frequencies of nothing": (
        TensorNames(embedding="E"),
        {"strongest": 4},
        "say how many symbols there are",
    ),
    "heads of products": (
        PRODUCTS,
        {"layout": HeadLayout(heads=2)},
        "leave --heads out",
    ),
    "heads of an embedding": (
        TensorNames(embedding="E"),
        {"layout": HeadLayout(heads=2)},
        "leave --heads out",
    ),
    "a side of QK": (
        TensorNames(query_key="qk", embedding="E"),
        {"layout": HeadLayout(inputs_first=True)},
        "--inputs-first is for matrices that act from one side",
    ),
    "interleaved without a fused matrix": (
        NAMES,
        {"layout": HeadLayout(interleaved=True)},
        "name it with --qkv",
    ),
    "fused beside QK": (
        TensorNames(fused="QKV", query_key="qk"),
        {"layout": HeadLayout(heads=2)},
        "the values of --qkv need --output",
    ),
    "unfit": (TensorNames(query="Q", key="O"), {}, "query and key must have shapes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_measured_is_refused(case):
    names, options, words = REFUSED[case]
    with pytest.raises(ValueError, match=re.escape(words)):
        measure_files(REFERENCE["grokking"], names, **options)
