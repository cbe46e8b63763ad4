"""Arrays of an artifact that anybody may have written."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 2**30  # of one array; the largest that a run writes is a hundredth of that


def read_arrays(content: bytes, names: Collection[str] | None = None) -> dict[str, NDArray[np.generic]]:
    """Read the arrays of an ``npz`` file; what the file says of itself is not trusted.

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
        If the content is no ``npz`` file, or an array is pickled, exceeds `MAX_BYTES`, or declares more than it holds.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if names is not None and name not in names:
                    continue
                if member.file_size > MAX_BYTES:  # zipfile reads no more than this size says
                    raise ValueError(f"{name} must be at most {MAX_BYTES:,} bytes, got {member.file_size:,}")
                with archive.open(member) as file:  # memory for a false shape is reserved, but never used
                    arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"it is no npz file: {error}") from error
    # odd packing, encryption, a false shape
    except (NotImplementedError, RuntimeError, MemoryError, OverflowError, TypeError) as error:
        raise ValueError(f"it cannot be unpacked: {error}") from error
    return arrays
