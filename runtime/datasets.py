"""Data sets for training and benchmarks: where they are, how they are fetched and checked, and as numpy arrays.

The data folder is `SPIKEC_DATA` where that is set, else `$XDG_CACHE_HOME/spikec/data` (`~/.cache/spikec/data`). Every
checksum is that of the content (pixels, samples), not of the packing, so that any mirror will do. Nothing here
unpickles, and sizes are checked before anything is allocated.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import wave
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ..ir.nodes import Array
from ..ir.npz import pack_npz, read_array, read_npz, write_atomically
from ..ir.paths import path_of
from .fetch import Progress, download

__all__ = [
    "DATASETS", "Dataset", "Part", "Recordings", "Split", "data_folder", "fetch", "is_present", "load_digits",
    "load_fsdd", "load_mnist", "load_yin_yang",
]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """`inputs` (samples, …) and `labels` (samples,) int64."""

    inputs: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Any) -> Split:
        return Split(self.inputs[rows], self.labels[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Disjoint splits of one data set. `peak`: the largest value that an input can have."""

    name: str
    classes: int
    peak: float
    train: Split
    validation: Split
    test: Split


@dataclass(frozen=True, slots=True, eq=False)
class Recordings:
    """Sounds of different lengths: recording i is `audio[offsets[i]:offsets[i + 1]]`, int16 at `rate` Hz. `index`
    counts a speaker's takes of a digit; the official test split of the Free Spoken Digit Dataset is index 0 to 4."""

    audio: Array
    offsets: Array
    labels: Array
    speakers: Array
    index: Array
    rate: int = 8000


Unpacked = tuple[bytes, dict[str, Array]]


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a data set: where it comes from, how what was downloaded becomes the file (`convert`), and how the
    file is read (`unpack`: the content that `sha256` is taken of, and the arrays). `limit`: bytes of a download."""

    file: str
    urls: tuple[str, ...]
    sha256: str
    limit: int
    unpack: Callable[[bytes], Unpacked]
    convert: Callable[[bytes], bytes] = bytes


def data_folder() -> Path:
    """Where data sets are looked for and fetched to."""
    stated = os.environ.get("SPIKEC_DATA")
    if stated:
        return Path(stated)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spikec" / "data"


def is_present(name: str) -> bool:
    """Whether all files of a data set of `DATASETS` are there; their content is checked when they are loaded."""
    return all((data_folder() / part.file).is_file() for part in DATASETS[name])


def fetch(
    parts: tuple[Part, ...], folder: str | Path | None = None, mirror: str | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Fetches what is missing or damaged of `parts` into `folder` (default: the data folder); each file appears whole
    and checked, or not at all. `mirror`: a base address that is asked instead of the known ones.

    Raises:
        BadInputError: naming every file that could not be fetched, and why (SC541, SC542, SC543, SC522); no path
            (SC525).
    """
    place = data_folder() if folder is None else path_of(folder, "a folder for data sets")
    faults = Diagnostics()
    files = []
    for part in parts:
        path = place / part.file
        files.append(path)
        if not (path.is_file() and _is_sound(part, path)):
            urls = part.urls if mirror is None else (f"{mirror.rstrip('/')}/{part.urls[0].rsplit('/', 1)[1]}",)
            faults.extend(_fetch_part(part, path, urls, progress))
    faults.raise_if_errors()
    return files


def load_mnist(validation: int = 5000) -> Dataset:
    """MNIST as (samples, 28, 28) uint8; the last `validation` of the 60,000 training images validate.

    Raises:
        BadInputError: not present (`spikec data get mnist`; SC540), or damaged (SC523, SC542, SC543).
    """
    images, labels, test_images, test_labels = (arrays["idx"] for arrays in _read("mnist"))
    everything = Split(images, labels.astype(np.int64))
    cut = len(labels) - validation
    return Dataset("mnist", 10, 255.0, everything[:cut], everything[cut:],
                   Split(test_images, test_labels.astype(np.int64)))


def load_yin_yang() -> Dataset:
    """Yin-Yang (Kriener et al. 2021) in its published split of 5000 / 1000 / 1000, as (samples, 4) float64 in 0..1:
    x, y, 1 - x, 1 - y.

    Raises:
        BadInputError: not present (`spikec data get yin-yang`; SC540), or damaged (SC523, SC542, SC543).
    """
    arrays = [one["npy"] for one in _read("yin-yang")]
    train, validation, test = (Split(arrays[i], arrays[i + 1].astype(np.int64)) for i in (0, 2, 4))
    return Dataset("yin-yang", 3, 1.0, train, validation, test)


def load_digits(seed: int = 0) -> Dataset:
    """scikit-learn's digits as (samples, 8, 8) float64, values 0..16; a seeded split of 1297 / 200 / 300.

    Raises:
        BadInputError: scikit-learn is not installed (SC532).
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise BadInputError(Diagnostic("SC532", "the data set 'digits' comes with scikit-learn, which is not installed",
                                       remedy="pip install scikit-learn")) from error
    digits = datasets.load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    everything = Split(digits.images[order], digits.target[order].astype(np.int64))
    return Dataset("digits", 10, 16.0, everything[:-500], everything[-500:-300], everything[-300:])


def load_fsdd() -> Recordings:
    """The Free Spoken Digit Dataset: 3000 recordings of ten digits by six speakers.

    Raises:
        BadInputError: not present (`spikec data get fsdd`; SC540), or damaged (SC523, SC542, SC543).
    """
    (arrays,) = _read("fsdd")
    return Recordings(arrays["audio"], arrays["offsets"], arrays["label"].astype(np.int64), arrays["speaker"],
                      arrays["index"].astype(np.int64))


def _fetch_part(part: Part, path: Path, urls: tuple[str, ...], progress: Progress | None) -> list[Diagnostic]:
    """Tries each address in turn; what went wrong where none would do."""
    met: list[Diagnostic] = []
    for url in urls:
        try:
            data = part.convert(download(url, part.limit, progress=progress))
            _unpack(part, data, url)
        except BadInputError as error:
            met.extend(error.diagnostics)
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
        except OSError as error:
            return [Diagnostic("SC522", f"'{path.parent}' cannot be made: {error.strerror or error}",
                               remedy="Set SPIKEC_DATA to a folder that can be written.")]
        except BadInputError as error:
            return list(error.diagnostics)
        return []
    return met


def _read(name: str) -> list[dict[str, Array]]:
    """The arrays of each file of a data set, in order, checked."""
    faults = Diagnostics()
    found: list[dict[str, Array]] = []
    for part in DATASETS[name]:
        path = data_folder() / part.file
        try:
            found.append(_unpack(part, path.read_bytes(), str(path)))
        except FileNotFoundError:
            faults.add("SC540", f"the data set '{name}' is not present: there is no '{path}'",
                       remedy=f"Run `spikec data get {name}`, or name its folder in SPIKEC_DATA.")
        except OSError as error:
            faults.add("SC523", f"'{path}' cannot be read: {error.strerror or error}")
        except BadInputError as error:
            faults.extend(error.diagnostics)
    faults.raise_if_errors()
    return found


def _is_sound(part: Part, path: Path) -> bool:
    try:
        _unpack(part, path.read_bytes(), str(path))
    except (OSError, BadInputError):
        return False
    return True


def _unpack(part: Part, data: bytes, label: str) -> dict[str, Array]:
    """The arrays of a file's bytes, whose content has the right checksum."""
    try:
        content, arrays = part.unpack(data)
    except (ValueError, EOFError, zlib.error) as error:
        raise BadInputError(Diagnostic("SC543", f"{label} is malformed: {error}")) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != part.sha256:
        raise BadInputError(Diagnostic("SC542", f"the content of {label} has another SHA-256 than '{part.file}'",
                                       value=digest, limit=part.sha256,
                                       remedy="Remove the file and fetch it again, or try another mirror."))
    return arrays


def _idx(size: int) -> Callable[[bytes], Unpacked]:
    """Reader of a gzipped idx file of unsigned bytes, `size` bytes long when unpacked."""

    def unpack(data: bytes) -> Unpacked:
        content = zlib.decompressobj(wbits=31).decompress(data, size + 1)
        if len(content) != size:
            raise ValueError(f"it does not unpack to {size} bytes")
        dimensions = content[3]
        shape = tuple(int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions))
        start = 4 + 4 * dimensions
        if content[:3] != b"\0\0\x08" or size != start + prod(shape):
            raise ValueError("its idx header does not fit its size")
        return content, {"idx": np.frombuffer(content, np.uint8, offset=start).reshape(shape)}

    return unpack


def _npy(data: bytes) -> Unpacked:
    array = read_array(io.BytesIO(data), len(data))
    return data, {"npy": array}


_FSDD_ARRAYS = ("audio", "offsets", "label", "speaker", "index")


def _recordings(data: bytes) -> Unpacked:
    arrays = read_npz(data, limit=1 << 26)
    missing = [name for name in _FSDD_ARRAYS if name not in arrays]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    return b"".join(arrays[name].tobytes() for name in _FSDD_ARRAYS), arrays


def _recordings_from_zip(data: bytes) -> bytes:
    """The archive of the Free Spoken Digit Dataset (wav files `<digit>_<speaker>_<take>.wav`, mono, 16 bits, 8 kHz)
    as one npz, in the order of the file names."""
    name_form = re.compile(r".*/recordings/((\d)_([a-z]+)_(\d+)\.wav)")
    sounds: dict[str, tuple[int, str, int, Array]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                match = name_form.fullmatch(member.filename)
                if match is None:
                    continue
                if member.file_size > 1 << 20:
                    raise ValueError(f"'{member.filename}' is too long for a spoken digit")
                with archive.open(member) as stream, wave.open(stream) as sound:
                    if (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) != (1, 2, 8000):
                        raise ValueError(f"'{member.filename}' is not mono, 16 bits, 8 kHz")
                    samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
                sounds[match[1]] = (int(match[2]), match[3], int(match[4]), samples)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, wave.Error, EOFError, ValueError) as error:
        raise BadInputError(Diagnostic("SC543", f"the archive of recordings is malformed: {error}")) from error
    if not sounds:
        raise BadInputError(Diagnostic("SC543", "the archive holds no recordings"))
    labels, speakers, takes, audio = zip(*(sounds[name] for name in sorted(sounds)), strict=True)
    return pack_npz({
        "audio": np.concatenate(audio),
        "offsets": np.cumsum([0, *map(len, audio)]),
        "label": np.array(labels, np.uint8),
        "speaker": np.array(speakers, "<U8"),
        "index": np.array(takes, np.uint8),
    })


def _mnist_part(name: str, size: int, sha256: str) -> Part:
    mirrors = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")
    return Part(f"mnist/{name}", tuple(f"{mirror}/{name}" for mirror in mirrors), sha256, 1 << 24, _idx(size))


def _yin_yang_part(name: str, sha256: str) -> Part:
    commit = "a99d0f83c6874600e00d2b161b4b0d6037839bf2"
    url = f"https://raw.githubusercontent.com/lkriener/yin_yang_data_set/{commit}/publication_data/{name}"
    return Part(f"yin_yang/{name}", (url,), sha256, 1 << 20, _npy)


_FSDD_ARCHIVE = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive"

DATASETS: dict[str, tuple[Part, ...]] = {
    "mnist": (
        _mnist_part("train-images-idx3-ubyte.gz", 47_040_016,
                    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        _mnist_part("train-labels-idx1-ubyte.gz", 60_008,
                    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        _mnist_part("t10k-images-idx3-ubyte.gz", 7_840_016,
                    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        _mnist_part("t10k-labels-idx1-ubyte.gz", 10_008,
                    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    ),
    "yin-yang": (
        _yin_yang_part("train_samples.npy", "88ce43d8e7620b4dcd0712a582882325e609183eb71f2368cce8e87930e122d5"),
        _yin_yang_part("train_labels.npy", "d38863599b41c3d67d5e606b21c3ea10f7956758471e946adcb120c4e5ae31c9"),
        _yin_yang_part("validation_samples.npy", "88f7e23daf578da390fe3ca10370d38fdb6060a08249ecb1be832e3e6cce75d3"),
        _yin_yang_part("validation_labels.npy", "abd956deb8e62f528a271d323c7498e6d331cd261f143b539b1219d274936008"),
        _yin_yang_part("test_samples.npy", "1559e64b45a5e28df8a9d1158d891383d5745b0af2edbbca31ca4e2faeb95b4c"),
        _yin_yang_part("test_labels.npy", "b4337aa983ea3928d1d8ee78268e8e266ede6ca3a401ade7b02eb47c9d90be93"),
    ),
    "fsdd": (
        Part("fsdd/fsdd_8khz_int16.npz",
             tuple(f"{_FSDD_ARCHIVE}/{ref}.zip" for ref in ("26eb9aaf7", "refs/tags/v1.0.10", "refs/heads/master")),
             "643e5e92e8384a2b66180c6fedd12edc2abc1962796de4387fc31b67f3c71428",
             1 << 27, _recordings, _recordings_from_zip),
    ),
}
"""The parts of every data set that `fetch` knows, by name."""
