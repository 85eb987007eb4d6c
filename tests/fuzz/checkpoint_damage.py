"""Damages checkpoints: their archive, their entries, and what unpickling would call."""

import io
import math
import pickle
import sys
import types
import zipfile
from collections.abc import Callable
from importlib import import_module

import torch
from fuzz.damage import Damaged
from fuzz.example import CANARY
from fuzz.json_damage import JsonDamage


class CheckpointDamage(JsonDamage):
    """Of checkpoints, the plans in them too."""

    def _by_format(self, content: bytes, kind: str, name: str) -> Damaged:
        return self._pick(
            {
                "pickle": lambda: self._hostile_pickle(),
                "hostile object": lambda: self._saved_with(content, self._put_object),
                "archive": lambda: self._archive(content),
                "plans within": lambda: self._saved_with(content, self._change_plans_within),
                "plans within, changed": lambda: self._saved_with(content, self._change_within),
                "weights": lambda: self._saved_with(content, self._change_weights),
                "entries": lambda: self._saved_with(content, self._change_entries),
            }
        )

    def _saved_with(self, content: bytes, change: Callable[[dict], str]) -> Damaged:
        checkpoint = torch.load(io.BytesIO(content), weights_only=False)
        how = change(checkpoint)
        saved = io.BytesIO()
        torch.save(checkpoint, saved, _use_new_zipfile_serialization=self.chance.random() < 0.8)
        return Damaged(saved.getvalue(), how)

    def _hostile_object(self):
        marker = str(self.example.marker)
        return self.chance.choice(
            (
                HostileObject("os", "system", (f"touch {marker}",)),
                HostileObject("posix", "system", (f"touch {marker}",)),
                HostileObject("builtins", "exec", (f"open({marker!r}, 'w').close()",)),
                HostileObject("subprocess", "Popen", (["touch", marker],)),
                HostileObject("importlib", "import_module", (CANARY,)),
                HostileObject(CANARY, "Layer", ()),
                HostileObject("torch.serialization", "load", (marker,)),
                HostileObject("numpy", "load", (marker, None, True)),
                HostileObject("pathlib", "PosixPath", (marker,)),
            )
        )

    def _hostile_pickle(self) -> Damaged:
        hostile = self._hostile_object()
        plain = pickle.dumps(hostile, protocol=self.chance.choice((2, 4)))
        return Damaged(plain, f"a pickle of {hostile.module}.{hostile.name}")

    def _put_object(self, checkpoint: dict) -> str:
        hostile = self._hostile_object()
        place = self.chance.choice(("network_weights", "init_args", "logging", "new"))
        if place == "new":
            checkpoint["new"] = hostile
        else:
            checkpoint[place]["new"] = hostile
        return f"{hostile.module}.{hostile.name} in {place}"

    def _change_plans_within(self, checkpoint: dict) -> str:
        arguments = checkpoint["init_args"]
        arguments["plans"], how = self._hostile_plans(arguments["plans"])
        return f"plans: {how}"

    def _change_within(self, checkpoint: dict) -> str:
        arguments = checkpoint["init_args"]
        part = self.chance.choice(("plans", "dataset_json"))
        arguments[part], how = self._changed(arguments[part])
        return f"{part}: {how}"

    def _change_weights(self, checkpoint: dict) -> str:
        chance, weights = self.chance, checkpoint["network_weights"]
        name = chance.choice(list(weights))
        way = chance.choice(
            ("lost", "renamed", "shape", "type", "nan", "number", "sparse", "all lost", "complex",
             "huge", "meta", "empty")
        )  # fmt: skip
        value = weights[name]
        if way == "all lost":
            weights.clear()
        elif way in ("lost", "renamed"):
            del weights[name]
            if way == "renamed":
                weights[chance.choice((f"module.{name}", 3, "", None))] = value
        else:
            weights[name] = {
                "shape": lambda: value.flatten()[:1],
                "type": lambda: value.to(torch.int64),
                "nan": lambda: torch.full_like(value, math.nan),
                "number": lambda: 1.0,
                "sparse": lambda: value.to_sparse(),
                "complex": lambda: value.to(torch.complex64),
                # One number, which claims to be very many.
                "huge": lambda: torch.zeros(1).expand(10**12),
                "meta": lambda: value.to("meta"),
                "empty": lambda: torch.empty(0),
            }[way]()
        return f"weight {name}: {way}"

    def _change_entries(self, checkpoint: dict) -> str:
        chance = self.chance
        places = [checkpoint, checkpoint["init_args"]]
        # nnssl's, with all that is in it.
        places += _dictionaries(checkpoint.get("nnssl_adaptation_plan", {}))
        place = chance.choice(places)
        key = chance.choice(list(place))
        way = chance.choice(("lost", "odd", "hostile"))
        if way == "lost":
            del place[key]
        else:
            place[key] = self._odd_value() if way == "odd" else self._hostile_text()
        return f"{key}: {way} {self._told(place.get(key))}"

    def _archive(self, content: bytes) -> Damaged:
        """The parts of torch's archive, one of them gone, damaged or exchanged."""
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {one: archive.read(one) for one in archive.namelist()}
        name = self.chance.choice(list(parts))
        if self.chance.random() < 0.4:
            name = next(one for one in parts if one.endswith("data.pkl"))
        way = self.chance.choice(("lost", "damaged", "renamed", "hostile", "compressed"))
        value = parts.pop(name)
        if way == "damaged":
            parts[name] = self._bytes(value).content if value else b"x"
        elif way == "renamed":
            parts[self.chance.choice((f"../{CANARY}", f"{name}x", "data.pkl"))] = value
        elif way == "hostile":
            parts[name] = pickle.dumps(self._hostile_object(), protocol=2)
        elif way == "compressed":
            parts[name] = value
        written = io.BytesIO()
        method = zipfile.ZIP_DEFLATED if way == "compressed" else zipfile.ZIP_STORED
        with zipfile.ZipFile(written, "w", method) as archive:
            for one, part in parts.items():
                archive.writestr(one, part)
        return Damaged(written.getvalue(), f"archive, {name.rpartition('/')[2]}: {way}")


class HostileObject:
    """An object whose pickle is a call, made when it is unpickled."""

    def __init__(self, module: str, name: str, arguments: tuple):
        self.module = module
        self.name = name
        self.arguments = arguments

    def __reduce__(self):
        return _global(self.module, self.name), self.arguments


def _dictionaries(content: dict) -> list[dict]:
    """A dictionary that is not empty, and those in it."""
    if not isinstance(content, dict) or not content:
        return []
    return [content, *(found for value in content.values() for found in _dictionaries(value))]


def _global(module: str, name: str):
    """What pickle writes by this name."""
    if module == CANARY:
        # The true one would say that it was imported; whoever runs a command removes this one.
        sys.modules[CANARY] = made_up = types.ModuleType(CANARY)
        made_up.Layer = type("Layer", (), {"__module__": CANARY, "__qualname__": "Layer"})
    return getattr(import_module(module), name)
