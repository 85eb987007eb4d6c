"""Damages images: their bytes, their headers, and whole ones that are not what is waited for."""

import gzip
import math
import struct
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK
from fuzz.damage import Damage, Damaged
from fuzz.example import SHAPE

# The numbers of a NIfTI header's fields: where they begin, and how they are written.
_NIFTI_FIELDS = (
    (0, "<i"), (40, "<8h"), (70, "<h"), (72, "<h"), (76, "<8f"), (108, "<f"), (112, "<f"),
    (116, "<f"), (252, "<h"), (254, "<h"), (256, "<f"), (280, "<4f"), (344, "<4s"),
)  # fmt: skip
_ODD_NUMBERS = (0, -1, 1, 2, 7, 255, 32767, -32768)
_ODD_FLOATS = (0.0, -1.0, 1e-30, 1e30, math.nan, math.inf, 0.5)


class ImageDamage(Damage):
    """Of images and segmentations."""

    def _by_format(self, content: bytes, kind: str, name: str) -> Damaged:
        ending = name[name.index(".") :]
        ways = {"other image": lambda: self._other_image(ending)}
        if ending == ".nii.gz":
            unpacked = gzip.decompress(content)
            for number in range(2):
                ways[f"header {number}"] = lambda: self._nifti(unpacked)
            ways |= {
                "unpacked damaged": lambda: _packed(self._bytes(unpacked)),
                "not packed": lambda: unpacked,
                "packed twice": lambda: gzip.compress(content),
                "another member": lambda: content + content,
                "zeros behind": lambda: gzip.compress(unpacked + bytes(10**7)),
            }
        elif ending == ".nrrd":
            for number in range(2):
                ways[f"header {number}"] = lambda: self._nrrd(content)
        else:
            ways["start"] = lambda: self._flipped(content, min(len(content), 100))
        return self._pick(ways)

    def _nifti(self, unpacked: bytes) -> Damaged:
        header = bytearray(unpacked)
        done = []
        for _ in range(self.chance.choice((1, 1, 3))):
            place, form = self.chance.choice(_NIFTI_FIELDS)
            count, code = int(form[1:-1] or 1), form[-1]
            if code == "s":
                header[place : place + 4] = self.chance.choice((b"n+2\0", b"ni1\0", b"xxxx"))
                done.append("magic")
                continue
            number = self.chance.randrange(count)
            value = self.chance.choice(_ODD_FLOATS if code == "f" else _ODD_NUMBERS)
            struct.pack_into(f"<{code}", header, place + number * struct.calcsize(code), value)
            done.append(f"byte {place}, {number}: {value}")
        return Damaged(gzip.compress(bytes(header)), f"header: {'; '.join(done)}")

    def _nrrd(self, content: bytes) -> Damaged:
        head, separator, data = content.partition(b"\n\n")
        lines = head.decode("latin-1").split("\n")
        number = self.chance.randrange(1, len(lines))
        field = lines[number].partition(":")[0]
        line = self.chance.choice(
            (
                "", f"{field}: ", f"{field}: nan nan nan", f"{field}: 0 0 0", f"{field}: -1",
                f"{field}: 99999 99999 99999", f"{field}: none", f"{field}: double",
                "data file: /etc/passwd", f"data file: {self.example.marker}", "byte skip: 1000",
                "data file: LIST", f"{field}: {'1 ' * 20}", "encoding: hex", "encoding: bzip2",
                "sizes: 2 3", "dimension: 16", "type: block", "space: scanner-xyz-time",
            )
        )  # fmt: skip
        lines[number] = line
        changed = "\n".join(lines).encode("latin-1") + separator + data
        return Damaged(changed, f"header: {field} -> {line[:40]}")

    def _other_image(self, ending: str) -> Damaged:
        """Whole, but not what a command waits for."""
        generator = np.random.default_rng(self.chance.randrange(2**32))
        flat = ending == ".png"
        shape = SHAPE[1:] if flat else SHAPE
        labels = generator.integers(0, 3, shape)
        nan = np.where(labels == 1, np.nan, labels)
        arrays = {
            "other size": labels[1:].astype(np.uint8),
            "unknown labels": (labels * 99).astype(np.uint8),
            "negative": (-labels).astype(np.int16),
            "16 bits": (labels * 1000).astype(np.uint16),
            "64 bits": labels.astype(np.uint64),
            "not a number": nan.astype(np.float32),
            "fractions": (labels + 0.5).astype(np.float64),
            "infinite": np.where(labels == 1, np.inf, labels).astype(np.float32),
            "colours": np.stack([labels.astype(np.uint8)] * 3, -1),
            "one voxel": labels[(slice(0, 1),) * labels.ndim].astype(np.uint8),
            "a dimension less": labels[0].astype(np.uint8),
            "a dimension more": np.stack([labels.astype(np.float32)] * 2),
            "all the same": np.zeros(shape, np.uint8),
            "huge values": (labels * 1e38).astype(np.float32),
        }
        if flat:
            writable = ("other size", "unknown labels", "16 bits", "colours", "one voxel")
            arrays = {name: arrays[name] for name in (*writable, "all the same")}
        name = self.chance.choice(list(arrays))
        image = SimpleITK.GetImageFromArray(arrays[name], isVector=name == "colours")
        if not flat and self.chance.random() < 0.5:
            way = self.chance.choice(("spacing", "origin", "turned"))
            name = f"{name}, {way}"
            dimensions = image.GetDimension()
            if way == "spacing":
                spacing = self.chance.choice((1e-6, 0.1, 1e6))
                image.SetSpacing((spacing,) * dimensions)
            elif way == "origin":
                image.SetOrigin((1e6,) * dimensions)
            else:
                image.SetDirection(np.eye(dimensions)[::-1].flatten().tolist())
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"image{ending}")
            try:
                SimpleITK.WriteImage(image, str(path))
            except RuntimeError:  # not every format holds everything
                return Damaged(b"", f"empty, as no {ending} holds {name}")
            return Damaged(path.read_bytes(), f"other image: {name}")


def _packed(damaged: Damaged) -> Damaged:
    return Damaged(gzip.compress(damaged.content), f"unpacked, {damaged.how}")
