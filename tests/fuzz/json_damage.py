"""Damages JSON: its text, its tree, and what plans and dataset.json are to name."""

import json
import math
from copy import deepcopy

from fuzz.damage import Damage, Damaged
from fuzz.example import CANARY

_DEEP = 100_000


class JsonDamage(Damage):
    """Of plans, dataset.json, summaries and splits."""

    def _by_format(self, content: bytes, kind: str, name: str) -> Damaged:
        tree = json.loads(content)
        ways = {
            "as text": lambda: self._json_text(content.decode()),
            **{
                f"tree {number}": lambda: self._written(*self._changed(tree)) for number in range(4)
            },
        }
        if kind == "plans":
            for number in range(3):
                ways[f"hostile {number}"] = lambda: self._written(*self._hostile_plans(tree))
        if kind == "dataset":
            ways["other dataset.json"] = lambda: self._written(*self._other_dataset_json(tree))
        return self._pick(ways)

    def _written(self, tree, how: str) -> Damaged:
        return Damaged(json.dumps(tree).encode(errors="surrogatepass"), how)

    def _json_text(self, text: str) -> Damaged:
        chance = self.chance
        place = chance.randrange(len(text))
        keys = [one for one in text.split('"')[1::2] if one]
        key = chance.choice(keys)
        return self._pick(
            {
                "a key twice": lambda: text.replace("{", f'{{"{key}": null, ', 1).encode(),
                "a comma at the end": lambda: text.replace("}", ",}", 1).encode(),
                "single quotes": lambda: text.replace('"', "'").encode(),
                "a comment": lambda: f"// edited\n{text}".encode(),
                "byte order mark": lambda: text.encode("utf-8-sig"),
                "UTF-16": lambda: text.encode("utf-16"),
                "latin-1": lambda: text.replace(key, key + "\xe9\xff").encode("latin-1"),
                "surrogates": lambda: text.replace(key, key + "\\ud800").encode(),
                "NaN": lambda: text.replace(": ", ": NaN, ", 1).encode(),
                "deep": lambda: (text[:place] + "[" * _DEEP + "]" * _DEEP + text[place:]).encode(),
                "nothing but deep": lambda: ("[" * _DEEP + "]" * _DEEP).encode(),
                "deep value": lambda: (
                    '{"labels": ' + "[" * _DEEP + "]" * _DEEP + ', "x": ' + text + "}"
                ).encode(),
                "many digits": lambda: text.replace("1", "1" * 5000, 1).encode(),
                "no object": lambda: chance.choice(("[]", "null", "3", '"text"', "{}")).encode(),
                "zero characters": lambda: text.replace(key, key + "\\u0000").encode(),
                "two documents": lambda: (text + text).encode(),
            }
        )

    def _changed(self, tree) -> tuple[object, str]:
        """A tree with one to three of its nodes changed."""
        tree, done = deepcopy(tree), []
        for _ in range(self.chance.choice((1, 1, 1, 3))):
            holders = list(_holders(tree))
            if not holders:
                break
            holder, key, path = self.chance.choice(holders)
            done.append(f"{path}: {self._change(holder, key)}")
        return tree, "; ".join(done)

    def _change(self, holder, key) -> str:
        chance, value = self.chance, holder[key]
        ways = ("deleted", "replaced", "replaced", "hostile", "retyped", "nested", "renamed")
        way = chance.choice((*ways, "emptied", "repeated", "swapped"))
        if way == "deleted":
            del holder[key]
        elif way == "replaced":
            holder[key] = self._odd_value()
            return f"replaced by {self._told(holder[key])}"
        elif way == "hostile":
            holder[key] = self._hostile_text()
            return f"named {self._told(holder[key])}"
        elif way == "retyped":
            holder[key] = _retyped(value)
        elif way == "nested":
            holder[key] = chance.choice(([value], {"value": value}, [[value]]))
        elif way == "renamed" and isinstance(holder, dict):
            name = chance.choice((key.upper(), f"{key} ", "", self._hostile_text(), "\u202e"))
            holder[name] = holder.pop(key)
            return f"renamed {self._told(name)}"
        elif way == "emptied":
            holder[key] = type(value)() if isinstance(value, (dict, list, str)) else None
        elif way == "repeated":
            holder[key] = [value] * 1000 if not isinstance(value, list) else value * 100
        else:
            other = chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            holder[key], holder[other] = holder[other], value
        return way

    def _told(self, value) -> str:
        """The start of a value, without the folder, which is another one each time."""
        return repr(str(value).replace(str(self.example.marker), "MARKER")[:40])

    def _odd_value(self):
        deep = []
        for _ in range(200):
            deep = [deep]
        return self.chance.choice(
            (
                None, True, False, 0, -1, 1, 2, 3.5, 10**9, 10**30, -(10**30), math.nan, math.inf,
                "", "1", "true", "nii.gz", [], {}, [[]], [None], [0], ["a"], {"0": None},
                {"background": 0}, [1, 2, 3], [-1, 0, 1], [10**9] * 3, [math.nan] * 3, deep,
                "\U0001f9e0" * 50, "x" * 10_000, "\ud800", "\x00",
            )
        )  # fmt: skip

    def _hostile_text(self) -> str:
        return self.chance.choice(
            (
                "os.system", "subprocess.Popen", "shutil.rmtree", CANARY, f"{CANARY}.Layer",
                f"torch.{CANARY}", f"torch.nn.{CANARY}", f"../../../{CANARY}", f"/{CANARY}",
                f"nnunetv2.{CANARY}", "builtins.exec", "torch.nn.functional", "torch.nn", "..",
                "{0.__class__}", "%s%n", "[red]bold[/red", "a\nb", "a\rb", "\x1b[2J", "CON", "-rf",
                f"$(touch {self.example.marker})", f"`touch {self.example.marker}`", "a/b", "a\\b",
            )
        )  # fmt: skip

    def _hostile_call(self) -> tuple[str, dict]:
        """A callable that plans might name for a layer, and arguments with which it does harm."""
        marker, victim = str(self.example.marker), str(self.example.victim)
        source = f"open({marker!r}, 'w').close()"
        return self.chance.choice(
            (
                ("subprocess.Popen", {"args": f"touch {marker}", "shell": True}),
                ("subprocess.run", {"args": ["touch", marker]}),
                ("os.system", {"command": f"touch {marker}"}),
                ("os.makedirs", {"name": marker}),
                ("shutil.rmtree", {"path": victim}),
                ("os.rmdir", {"path": victim}),
                ("runpy.run_path", {"path_name": str(self.example.canary / f"{CANARY}.py")}),
                ("runpy.run_module", {"mod_name": CANARY}),
                ("importlib.import_module", {"name": CANARY}),
                ("timeit.timeit", {"stmt": source, "number": 1}),
                ("builtins.open", {"file": marker, "mode": "w"}),
                ("logging.FileHandler", {"filename": marker}),
                ("torch.serialization.os.system", {"command": f"touch {marker}"}),
                ("torch.nn.modules.module.warnings.sys.modules.pop", {"key": "os"}),
                ("torch.nn.parallel.data_parallel.torch.os.makedirs", {"name": marker}),
                (f"{CANARY}.Layer", {}),
                (CANARY, {}),
                (f"torch.nn.{CANARY}.Layer", {}),
            )
        )

    def _hostile_plans(self, tree: dict) -> tuple[dict, str]:
        """Plans that ask for something else than a network."""
        tree = deepcopy(tree)
        name, arguments = self._hostile_call()
        configuration = tree["configurations"]["3d_fullres"]
        architecture = configuration["architecture"]
        keywords = architecture["arch_kwargs"]
        slot = self.chance.choice(
            (
                "nonlin", "nonlin", "norm_op", "norm_op", "dropout_op", "conv_op", "network",
                "network", "new keyword", "label_manager", "image_reader_writer",
                "experiment_planner_used", "preprocessor_name", "resampling_fn_data",
                "resampling_fn_seg", "resampling_fn_probabilities", "normalization_schemes",
                "previous_stage", "inherits_from", "data_identifier", "plans_name", "dataset_name",
            )
        )  # fmt: skip
        if slot == "network":
            architecture["network_class_name"] = name
            architecture["arch_kwargs"] = arguments
            architecture["_kw_requires_import"] = []
        elif slot == "new keyword":
            keywords["new"] = name
            architecture["_kw_requires_import"].append("new")
        elif slot in architecture["_kw_requires_import"]:
            keywords[slot] = name
            keywords[f"{slot}_kwargs"] = arguments
        elif slot == "normalization_schemes":
            configuration[slot] = [name] * 2
        elif slot in ("plans_name", "dataset_name", "data_identifier"):
            (tree if slot != "data_identifier" else configuration)[slot] = self._hostile_text()
        elif slot.startswith("resampling"):
            configuration[slot], configuration[f"{slot}_kwargs"] = name, arguments
        elif slot in tree:
            tree[slot] = name
        else:
            configuration[slot] = self.chance.choice((name, "3d_fullres", "absent"))
        return tree, f"{slot} = {name}"

    def _other_dataset_json(self, tree: dict) -> tuple[dict, str]:
        """What people do write."""
        names = {number: name for name, number in tree["labels"].items()}
        changes = {
            "labels inverted": {"labels": {str(key): value for key, value in names.items()}},
            "channels inverted": {"channel_names": {"T1": 0, "T2": 1}},
            "channels as a list": {"channel_names": ["T1", "T2"]},
            "of version 1": {"modality": {"0": "T1"}, "labels": {"0": "background", "1": "a"}},
            "no dot": {"file_ending": "nii.gz"},
            "labels as texts": {"labels": {"background": "0", "organ": "1"}},
            "gaps": {"labels": {"background": 0, "organ": 7}},
            "no background": {"labels": {"organ": 1}},
            "regions without an order": {"labels": {"background": 0, "a": [1, 2], "b": 2}},
            "regions": {
                "labels": {"background": 0, "a": [1, 2], "b": [2]},
                "regions_class_order": [1],
            },
            "ignored": {"labels": {"background": 0, "organ": 1, "ignore": 2}},
            "ignored in between": {"labels": {"background": 0, "organ": 2, "ignore": 1}},
            "label negative": {"labels": {"background": 0, "organ": -1, "tumour": 2}},
            "label huge": {"labels": {"background": 0, "organ": 1, "tumour": 2**40}},
            "ten channels": {"channel_names": {str(one): "CT" for one in range(10)}},
            "reader": {"overwrite_image_reader_writer": f"{CANARY}.Layer"},
        }
        how = self.chance.choice(list(changes))
        lacking = ("file_ending", "channel_names") if how == "of version 1" else ()
        kept = {key: value for key, value in tree.items() if key not in lacking}
        return {**kept, **changes[how]}, how


def _holders(tree, path: str = ""):
    """Every place of a tree: what holds it, its key there, and its path."""
    places = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(places):
        here = f"{path}/{key}"
        yield tree, key, here
        if isinstance(value, (dict, list)):
            yield from _holders(value, here)


def _retyped(value):
    """The same in another type."""
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list):
        return {str(number): one for number, one in enumerate(value)}
    if isinstance(value, str):
        return [value]
    return str(value)
