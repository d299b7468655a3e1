"""Tensors become arrays without their library: stand-ins offer what those of PyTorch and others do."""

import numpy as np
import pytest

from attndyn.runtime.arrays import numbers_as_doubles, plain_array


class Tensor:
    """What a tensor of PyTorch offers; it refuses to be an array until it is detached, on the CPU and of doubles."""

    def __init__(self, values, needs=("detach", "cpu", "double"), is_complex=False):
        self.values, self.needs, self.complex = values, needs, is_complex

    def _without(self, need):
        needs = tuple(other for other in self.needs if other != need)
        return Tensor(self.values, needs, self.complex)

    def detach(self):
        return self._without("detach")

    def cpu(self):
        return self._without("cpu")

    def double(self):
        return self._without("double")

    def is_complex(self):
        return self.complex

    def numpy(self):
        if self.needs:
            raise TypeError(f"Got unsupported ScalarType: {self.needs}")
        return np.asarray(self.values)

    def __array__(self, dtype=None, copy=None):
        return self.numpy()


class OnlyDLPack:
    """An array of a library that offers DLPack and nothing else."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


def test_a_tensor_is_detached_moved_and_made_double():
    tensor = Tensor([1.0, 2.0])
    with pytest.raises(TypeError):
        np.asarray(tensor)  # control: not as it is
    assert plain_array(tensor, "w").tolist() == [1.0, 2.0]


def test_tensors_in_lists_and_through_dlpack():
    assert np.array_equal(plain_array([Tensor(1.0), 2.0], "loss"), [1.0, 2.0])
    assert plain_array(OnlyDLPack([3.0, 4.0]), "w").tolist() == [3.0, 4.0]
    array = np.arange(3)
    assert plain_array(array, "w") is array
    assert plain_array("text", "w") == "text"


def test_a_tensor_that_cannot_be_read_is_named():
    sparse = Tensor([1.0], needs=("detach", "cpu", "double", "to_dense"))
    with pytest.raises(ValueError, match=r"value cannot be read as an array \(Got uns"):
        plain_array(sparse, "value")


def test_a_complex_tensor_keeps_its_imaginary_part():
    tensor = Tensor([1 + 2j], needs=("detach", "cpu"), is_complex=True)
    assert plain_array(tensor, "w").tolist() == [1 + 2j]


def test_doubles_stand_for_exact_numbers():
    sympy = pytest.importorskip("sympy")
    exact = np.array([sympy.sqrt(2), sympy.Integer(1)], dtype=object)
    assert numbers_as_doubles(exact).tolist() == [2**0.5, 1.0]
