"""Prints, for pip's --constraint, the lowest version of each package that pyproject.toml allows."""

from importlib.metadata import requires

from packaging.requirements import Requirement


def lowest(requirements: list[str]) -> list[str]:
    """Pin what has a lower bound to it.

    Args:
        requirements: such as "nnunetv2<3,>=2.8".
    """
    bounds = [
        (requirement.name, bound.version)
        for requirement in map(Requirement, requirements)
        for bound in requirement.specifier
        # Tools that build and test may be new.
        if bound.operator == ">=" and not _is_of_a_tool(requirement)
    ]
    return [f"{name}=={version}" for name, version in bounds]


def _is_of_a_tool(requirement: Requirement) -> bool:
    marker = str(requirement.marker)
    return any(f'extra == "{extra}"' in marker for extra in ("docs", "test"))


if __name__ == "__main__":
    print(*lowest(requires("nnunet-attention") or []), sep="\n")
