"""Records tell the versions of what is there, and that the rest is not."""

import platform

from nnunet_attention import __version__
from nnunet_attention.versions import versions_of


def test_python_and_this_package_come_first_and_what_is_not_installed_has_none():
    assert versions_of("no-such-distribution") == {
        "python": platform.python_version(),
        "nnunet-attention": __version__,
        "no-such-distribution": None,
    }
