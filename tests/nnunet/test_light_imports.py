import pkgutil
import subprocess
import sys

import nnunet_attention.nnunet

MODULES = [
    module.name
    for module in pkgutil.iter_modules(nnunet_attention.nnunet.__path__, "nnunet_attention.nnunet.")
]


def test_what_is_known_of_nnunets_files_and_the_doctor_need_neither_torch_nor_nnunetv2():
    modules = ", ".join([*MODULES, "nnunet_attention.doctor"])
    code = (
        f"import sys, {modules}; "
        "print(sorted({'torch', 'nnunetv2', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert len(MODULES) > 10
