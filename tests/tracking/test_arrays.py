"""Arrays of a stranger's file: what is sound comes back, and what lies about itself is refused in bounded memory."""

import io
import resource
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy

from qwerties.tracking import arrays
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
        (packed(x=header((2**31, 2**20))), "it cannot be unpacked: Unable to allocate 16.0 PiB"),
        (packed(x=header((2**20,))), "EOF"),
        (packed(x=header((2,), content=b"0" * 15)), "EOF"),
        (packed(x=header((2**62, 4))), "cannot reshape array"),
        (packed(x=header((-1,), content=b"0" * 16)), "negative dimensions"),
        (packed(x=header((1,), "|O", b"cos\nsystem\n")), "Object arrays cannot be loaded"),
        (packed(x=b"\x93NUMPY\x09\x00"), "we only support format version"),
        (packed(x=b""), "EOF"),
    ],
)
def test_what_lies_about_itself_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        read_arrays(content)


def test_memory_for_a_false_shape_is_not_used():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"EOF|Unable to allocate"):
        read_arrays(packed(x=header((2**28,))))  # 2 GiB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # KiB


def test_an_array_that_grows_when_it_is_unpacked_is_refused(monkeypatch):
    monkeypatch.setattr(arrays, "MAX_BYTES", 2**20)
    with pytest.raises(ValueError, match="x must be at most 1,048,576 bytes, got 2,097,"):
        read_arrays(packed(x=header((2**18,), content=bytes(2**21))))
