"""Arrays of a stranger's file: what is sound comes back, and what lies about itself is refused in bounded memory."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy

from qwerties.tracking.arrays import read_arrays


def packed(**members):
    """An archive of the given bytes by name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return out.getvalue()


def header(shape, dtype="<f8", content=b""):
    out = io.BytesIO()
    npy.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    return out.getvalue() + content


def test_arrays_come_back_as_they_were_saved():
    saved = {
        "floats": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "text": np.array(["a", "bc"]),
        "empty": np.empty((0, 3), np.float32),
        "scalar": np.array(7),
    }
    out = io.BytesIO()
    np.savez_compressed(out, **saved)
    found = read_arrays(out.getvalue())
    assert found.keys() == saved.keys()
    for name, array in saved.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert read_arrays(out.getvalue(), ("text", "other")).keys() == {"text"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "it is no npz file"),
        (packed(x=header((2**31, 2**20))), "x declares 18,014,398,509,481,984 bytes and holds 0"),
        (packed(x=header((2,), content=b"0" * 17)), "x declares 16 bytes and holds 17"),
        (packed(x=header((1,), "|O", b"cos\nsystem\n")), "got pickled objects"),
        (packed(x=b"\x93NUMPY\x09\x00"), "must be of npy format 1.0 or 2.0"),
        (packed(x=b""), "EOF"),
    ],
)
def test_what_lies_about_itself_is_refused_without_memory_for_it(content, message):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            read_arrays(content)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
