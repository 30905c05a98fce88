"""Safetensors files are read exactly, and believed in nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from handmade import floats, raw_file, tensors_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load, load_file, save_file
from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights.format import MAX_HEADER, SafeFile, write


def written(folder: Path, data: bytes) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(data)
    return path


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_float_tensors_are_read_as_the_library_reads_them(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    arrays = {
        "f32": generator.standard_normal((3, 5)).astype(np.float32),
        "f64": generator.standard_normal((2, 2, 2)),
        "f16": generator.standard_normal(7).astype(np.float16),
        "scalar": np.array(3.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
    }
    save_file(arrays, tmp_path / "a.safetensors", metadata={"format": "np"})
    with SafeFile(tmp_path / "a.safetensors") as file:
        assert file.metadata == {"format": "np"}
        assert set(file.entries) == set(arrays)
        for name, wanted in arrays.items():
            found = file.read(name)
            assert found.shape == wanted.shape
            assert found.dtype == (np.float64 if name == "f64" else np.float32)
            assert found.tobytes() == wanted.astype(found.dtype).tobytes()


def test_bfloat16_is_widened_without_loss(tmp_path: Path) -> None:
    bits = np.arange(1 << 16, dtype="<u2")  # every value there is
    path = written(tmp_path, tensors_file({"w": ("BF16", (256, 256), bits.tobytes())}))
    with SafeFile(path) as file:
        values = file.read("w")
    assert values.dtype == np.float32
    assert ((values.view(np.uint32) >> 16).astype(np.uint16) == bits.reshape(256, 256)).all()
    assert not (values.view(np.uint32) & 0xFFFF).any()


@pytest.mark.parametrize("dtype", ["I64", "I32", "U8", "BOOL", "F8_E4M3"])
def test_a_dtype_without_real_numbers_is_refused_by_name(tmp_path: Path, dtype: str) -> None:
    size = {"I64": 8, "I32": 4}.get(dtype, 1)
    path = written(tmp_path, tensors_file({"ids": (dtype, (3,), bytes(3 * size))}))
    with SafeFile(path) as file, pytest.raises(WeightsError, match=f"'ids' is {dtype}"):
        file.read("ids")


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "no header"),
    "seven bytes": (b"\1" * 7, "no header"),
    "header longer than the file": (b"\xff\0\0\0\0\0\0\0{}", "header would have 255 bytes"),
    "header of 2**64 - 1 bytes": (b"\xff" * 8 + b"{}", "header would have 18446744073709551615 bytes"),
    "no JSON": (raw_file(b"{not json}"), "no JSON"),
    "no text": (raw_file(b"\xff\xfe{}"), "no JSON"),
    "an array": (raw_file([]), "no JSON object"),
    "nested too deep": (raw_file(b"[" * 100_000 + b"]" * 100_000), "corrupt"),
    "a name twice": (
        raw_file(b'{"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},'
                 b'"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'),
        "'w' occurs twice",
    ),
    "a field twice": (
        raw_file(b'{"w":{"dtype":"F32","dtype":"F16","shape":[0],"data_offsets":[0,0]}}'),
        "'dtype' occurs twice",
    ),
    "metadata of numbers": (raw_file({"__metadata__": {"a": 1}}), "__metadata__"),
    "metadata as a list": (raw_file({"__metadata__": []}), "__metadata__"),
    "an entry that is a number": (raw_file({"w": 3}), "'w' is malformed"),
    "an entry without a shape": (raw_file({"w": {"dtype": "F32", "data_offsets": [0, 0]}}), "'w' is malformed"),
    "an entry with more": (raw_file({"w": {**entry(), "hook": "x"}}, bytes(8)), "'w' is malformed"),
    "a dtype that is a list": (raw_file({"w": entry(dtype=["F32"])}, bytes(8)), "'w' is malformed"),
    "an unknown dtype": (raw_file({"w": entry(dtype="F31")}, bytes(8)), "'F31', which is not known"),
    "a negative size": (raw_file({"w": entry(shape=(-2,))}, bytes(8)), "'w' is malformed"),
    "a size that is true": (raw_file({"w": entry(shape=(True, 2))}, bytes(8)), "'w' is malformed"),
    "a size that is no whole number": (raw_file({"w": entry(shape=(2.0,))}, bytes(8)), "'w' is malformed"),
    "a huge size": (raw_file({"w": entry(shape=(1 << 60, 1 << 60))}, bytes(8)), "'w' is malformed"),
    "sizes whose product overflows": (raw_file({"w": entry(shape=[1 << 40] * 30)}, bytes(8)), "does not fit 8 bytes"),
    "hundreds of dimensions": (raw_file({"w": entry(shape=[1] * 500)}, bytes(8)), "'w' is malformed"),
    "three offsets": (raw_file({"w": entry(offsets=(0, 4, 8))}, bytes(8)), "'w' is malformed"),
    "offsets the wrong way round": (raw_file({"w": entry(offsets=(8, 0))}, bytes(8)), "bytes 8 to 0 of 8"),
    "an end beyond the file": (raw_file({"w": entry(offsets=(0, 16), shape=(4,))}, bytes(8)), "bytes 0 to 16 of 8"),
    "a shape that does not fit": (raw_file({"w": entry(shape=(3,))}, bytes(8)), r"F32 \[3\], does not fit 8 bytes"),
    "tensors that overlap": (
        raw_file({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)), "tensors 'a' and 'b' overlap",
    ),
    "a gap": (raw_file({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)), "4 bytes between 'a' and tensor 'b'"),
    "bytes left over": (raw_file({"a": entry()}, bytes(9)), "1 bytes behind the last tensor"),
    "a number of 5000 digits": (
        raw_file(b'{"w":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,0]}}'), "corrupt",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_with_its_name(tmp_path: Path, case: str) -> None:
    data, words = HOSTILE[case]
    path = written(tmp_path, data)
    with pytest.raises(WeightsError, match=words) as caught:
        SafeFile(path)
    assert str(path) in str(caught.value)


def test_a_huge_header_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:  # sparse: takes no room
        file.write((MAX_HEADER + 1).to_bytes(8, "little"))
        file.truncate(MAX_HEADER + 100)
    with pytest.raises(WeightsError, match="header would have"):
        SafeFile(path)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    whole = floats({"a": np.ones((2, 3)), "b": np.zeros(4)})
    for length in range(len(whole)):
        with pytest.raises(WeightsError):
            SafeFile(written(tmp_path, whole[:length]))


SOUND = floats({"a": np.ones((2, 3)), "b": np.zeros(4)})


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, len(SOUND) - 41), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_a_damaged_header_is_refused_or_harmless(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(SOUND)
    for at, value in changes:
        data[at] = value
    path = written(tmp_path, bytes(data))
    try:
        with SafeFile(path) as file:
            arrays = {name: file.read(name) for name, e in file.entries.items() if e.dtype == "F32"}
    except WeightsError:
        return
    try:
        reference = load(bytes(data))  # where ours reads it, so does the reference reader, and sees the same
    except (SafetensorError, KeyError):
        pytest.fail(f"the reference reader refuses what ours takes: {bytes(data)!r}")
    assert {name: a.tobytes() for name, a in arrays.items()} == {
        name: a.tobytes() for name, a in reference.items() if name in arrays
    }


def test_a_file_that_shrinks_while_open_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, floats({"a": np.ones(1000)}))
    with SafeFile(path) as file:
        os.truncate(path, 200)
        with pytest.raises(WeightsError, match="'a': it is truncated"):
            file.read("a")


def test_names_of_any_letters_are_read(tmp_path: Path) -> None:
    name = "ключ\u202e\n\ud800"
    data = json.dumps({name: entry()}).encode() + b" "
    with SafeFile(written(tmp_path, raw_file(data, bytes(8)))) as file:
        assert file.read(name).tolist() == [0, 0]


@pytest.mark.parametrize(("dtype", "kind"), [("F32", np.float32), ("F64", np.float64)])
def test_what_is_written_the_library_reads(tmp_path: Path, dtype: str, kind: type) -> None:
    generator = np.random.default_rng(0)
    arrays = {
        "a": generator.standard_normal((3, 2)).astype(kind),
        "b.c": np.zeros(0, kind),
        "d": np.array(2, kind),
    }
    path = tmp_path / "out.safetensors"
    write(path, {name: a.shape for name, a in arrays.items()}, dtype, iter(arrays.items()))
    found = load_file(path)
    assert {n: (a.shape, a.tobytes()) for n, a in found.items()} == {
        n: (a.shape, a.tobytes()) for n, a in arrays.items()
    }
    with SafeFile(path) as file:
        assert file.metadata == {"format": "pt"}


def test_bfloat16_is_written_rounded_to_nearest_even(tmp_path: Path) -> None:
    # 1 + 2**-8 lies half way between two bfloat16 and goes to the even one; 1 + 3 * 2**-8 goes up.
    values = np.float32([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -2.5])
    path = tmp_path / "out.safetensors"
    write(path, {"w": (4,)}, "BF16", iter([("w", values)]))
    with SafeFile(path) as file:
        assert file.entries["w"].dtype == "BF16"
        assert file.read("w").tolist() == [1.0, 1.0, 1 + 2**-6, -2.5]


def test_writing_something_else_than_announced_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="was announced"):
        write(tmp_path / "a", {"w": (4,)}, "F32", iter([("w", np.zeros(5, np.float32))]))
    with pytest.raises(ValueError, match="longer"):
        write(tmp_path / "b", {"w": (4,)}, "F32", iter([]))
