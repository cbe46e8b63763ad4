"""Arrays and files of maps that nobody trained: sound ones, and those that are no map."""

import io
import zipfile

import numpy as np

from qwerties.maps.spec import STATES, Axis, MapSpec, to_bytes

RATE = Axis("learning_rate", 0.01, 1.0, "log", 2)
DISTANCE = Axis("distance", 0.0, 6.0, "linear", 3)


def made(spec, seed=0):
    """Arrays such as a training might leave."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(len(STATES)), spec.shape).astype(np.float32)
    return {
        "gain": rng.uniform(-1, 1, spec.shape).astype(np.float32),
        **{state: np.ascontiguousarray(shares[..., i]) for i, state in enumerate(STATES)},
    }


def archive(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return out.getvalue()


def npy(array, **header):
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape, **header}
    )
    return out.getvalue() + array.tobytes()


def hostile():
    """Contents that are no arrays of the map, and what is said of them."""
    spec = MapSpec(RATE, DISTANCE)
    arrays = made(spec)
    good = {f"{name}.npy": npy(value) for name, value in arrays.items()}
    huge, endless, odd = (npy(np.zeros(4, np.float32), shape=(n,)) for n in (10**12, 10**30, True))
    shares = {f"{name}.npy": npy(np.full_like(arrays["gain"], 0.5)) for name in STATES}
    objects = io.BytesIO()
    np.save(objects, np.array([{}], object), allow_pickle=True)
    return {
        "nothing": (b"", "cannot be read"),
        "text": (b"<script>", "cannot be read"),
        "half": (to_bytes(spec, arrays)[:-200], "cannot be read"),
        "lacking": (archive({k: v for k, v in good.items() if k != "dead.npy"}), "cannot be read"),
        "huge": (archive({**good, "gain.npy": huge}), "cannot be read"),
        "endless": (archive({**good, "gain.npy": endless}), "cannot be read"),
        "odd": (archive({**good, "gain.npy": odd}), "cannot be read"),
        "short": (archive({**good, "gain.npy": good["gain.npy"][:-1]}), "cannot be read"),
        "objects": (archive({**good, "gain.npy": objects.getvalue()}), "cannot be read"),
        "doubles": (archive({**good, "gain.npy": npy(arrays["gain"].astype(float))}), "gain must be float32"),
        "infinite": (
            archive({**good, "gain.npy": npy(arrays["gain"] * np.float32(np.inf))}),
            "its gain must",
        ),
        "above 1": (archive({**good, "gain.npy": npy(arrays["gain"] * 0 + 2)}), "its gain must be at most 1"),
        "too many": (archive({**good, **shares}), "its shares must add up to 1"),
        "negative": (archive({**good, "dead.npy": npy(-arrays["dead"])}), "its shares must be from 0 to 1"),
        "undefined": (archive({**good, "dead.npy": npy(arrays["dead"] * np.float32(np.nan))}), "its shares"),
    }


HOSTILE = hostile()
