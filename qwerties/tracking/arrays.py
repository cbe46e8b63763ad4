"""Arrays of an artifact that anybody may have written."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Collection

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

MAX_BYTES = 2**30  # of one array; the largest that a run writes is a hundredth of that


def read_arrays(content: bytes, names: Collection[str] | None = None) -> dict[str, NDArray[np.generic]]:
    """Read the arrays of an ``npz`` file without trusting what the file says of their sizes.

    Parameters
    ----------
    content : bytes
    names : collection of str, optional
        Arrays to read, where the file holds them; all of them by default.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    ValueError
        If the file is no ``npz`` file, or an array is pickled, is larger than `MAX_BYTES`, or declares another size
        than it has.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if names is None or name in names:
                    with archive.open(member) as file:
                        arrays[name] = _read_array(name, file.read(MAX_BYTES + 1))
    except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"it is no npz file: {error}") from error
    except (
        NotImplementedError,
        RuntimeError,
        MemoryError,
    ) as error:  # packed oddly, encrypted, far too large
        raise ValueError(f"it cannot be unpacked: {error}") from error
    return arrays


def _read_array(name: str, content: bytes) -> NDArray[np.generic]:
    if len(content) > MAX_BYTES:
        raise ValueError(f"{name} must be at most {MAX_BYTES:,} bytes")
    file = io.BytesIO(content)
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} must be of npy format 1.0 or 2.0, got {version}")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran_order, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError(f"{name} must hold numbers or text, got pickled objects")
    size, declared = len(content) - file.tell(), math.prod(shape) * dtype.itemsize
    if size != declared:
        raise ValueError(f"{name} declares {declared:,} bytes and holds {size:,}")
    if not size:
        return np.empty(shape, dtype)
    flat = np.frombuffer(content, dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if fortran_order else "C").copy()
