"""Applies the rules of `design` to what the study found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf, isnan, nan

from benchmarks.texts import ends_text, four_places
from benchmarks.where_gates_help.comparing import NUMBER_OF_INTERACTIONS, Finding, Interaction
from benchmarks.where_gates_help.design import (
    AFTER_WARM_START,
    CONTROL,
    CROWDED,
    DOMAINS,
    GROUPS,
    IN_DOMAIN,
    NETWORKS,
    OUT_OF_DOMAIN,
    PARTS,
    PRIMARY,
    SARCOMA,
)

_DIFFERS = ("better", "worse")
_GATED = ("attention", "supervised")
# How they are named where they are compared with.
_CONTROLS = {"stock": "nnU-Net", "wide": "the wide U-Net"}
_QUESTIONS_OF_CONTROL = sum(len(group.comparisons) for group in GROUPS if group.family == CONTROL)


def null_control(found: Iterable[Finding]) -> tuple[int, float]:
    """Return how many findings of the null control differ, and by how much the largest (rule 5).

    If the control does not count, no difference is larger. Until it is finished, it is NaN, and no
    difference is larger either.
    """
    found = [one for one in found if one.family == CONTROL]
    if len(found) < _QUESTIONS_OF_CONTROL:
        return 0, nan
    if any(one.estimate is None for one in found):
        return 0, inf
    sizes = [
        abs(one.estimate.mean)
        for one in found
        if one.verdict in _DIFFERS and one.estimate is not None
    ]
    return len(sizes), max(sizes, default=0.0)


def is_claimed(finding: Finding, chance: float) -> bool:
    """Tell whether a network is said to be better or worse.

    By rules 1 and 6 its verdict must be so, and by rule 5 the difference must be larger than the
    largest of the null control.
    """
    return (
        finding.verdict in _DIFFERS
        and finding.estimate is not None
        and abs(finding.estimate.mean) > chance
    )


def rules(found: Sequence[Finding], interactions: Sequence[Interaction]) -> str:
    """Return the outcome of the rules, a line each."""
    control, chance = null_control(found)
    lines = []
    for network in _GATED:
        rows = _rows(found, network, "stock", PRIMARY)
        lines += _outcomes(rows, chance)
        helped = [row.group.title for row in rows if outcome(row, chance) == "better"]
        by_gates = [title for title in helped if title in _helped(found, network, chance)]
        if helped:
            lines.append(
                f"- Of these, it is also better than the wide U-Net on {len(by_gates)} of "
                f"{len(helped)}."
            )
        lines += _outcomes(_rows(found, network, "wide", PRIMARY), chance)
    effects = [one for one in interactions if one.family is not None]
    if effects:
        mattering = [_interaction_told(one) for one in effects if is_mattering(one, chance)]
        lines.append(
            f"- Distractors and size, {len(effects)} of {NUMBER_OF_INTERACTIONS} questions "
            "finished: "
            + ("; ".join(mattering) if mattering else "none is decided")
            + f"; {sum(one.estimate is None for one in effects)} do not count."
        )
    if found:
        lines.append(f"- Null control: {_control_told(found, control, chance)}.")
    lines += [
        f"- Warm start, {NETWORKS[one.first].name} against {NETWORKS[one.second].name}: "
        f"{outcome(one, chance)}."
        for one in found
        if one.family == AFTER_WARM_START
    ]
    return "\n".join(lines) + "\n" if lines else ""


def _outcomes(rows: Sequence[Finding], chance: float) -> list[str]:
    """Count the verdicts on one pair of networks, if any is finished."""
    if not rows:
        return []
    network, other = NETWORKS[rows[0].first].name, _CONTROLS[rows[0].second]
    outcomes = ", ".join(_told(rows, kind, chance) for kind in (*_DIFFERS, "equivalent"))
    return [
        f"- {network} against {other}, {len(rows)} of {_number_of_groups()} groups "
        f"finished: {outcomes}; "
        f"{_told(rows, 'undecided', chance)}; {_told(rows, 'does not count', chance)}; "
        f"{_told(rows, not_claimed(chance), chance)}."
    ]


def is_mattering(interaction: Interaction, chance: float) -> bool:
    """Tell whether it is said that distractors or size matter (rules 3 and 5)."""
    estimate = interaction.estimate
    return interaction.matters and estimate is not None and abs(estimate.mean) > chance


def _control_told(found: Sequence[Finding], differing: int, chance: float) -> str:
    rows = [one for one in found if one.family == CONTROL]
    if isnan(chance):
        return "not finished; until then nothing here is final"
    estimates = [one.estimate for one in rows if one.estimate is not None]
    if len(estimates) < len(rows):
        return "it does not count, having a ceiling or a floor, so that nothing is claimed"
    if differing:
        return (
            f"{differing} of its questions show a difference, of up to {chance:.4f}; nothing is "
            "claimed from differences that are not larger"
        )
    ends = max(abs(end) for one in estimates for end in one.interval())
    return (
        "no gated network is shown to differ from nnU-Net or the wide U-Net; differences of up to "
        f"{ends:.4f} lie within the intervals"
    )


def recommendation(found: Sequence[Finding]) -> str:
    """Apply rule 8, and say for which data either network should be used.

    What forbids a recommendation is told as soon as it is known, all else when the study is
    finished.
    """
    outside = [
        one
        for one in found
        if one.domain == OUT_OF_DOMAIN and one.second == "stock" and one.first in _GATED
    ]
    missing = _wanted() - sum(one.family is not None for one in found) - len(outside)
    _, chance = null_control(found)
    forbidding = _forbidding(found, outside)
    if missing:
        unfinished = (
            f"{_wanted()} comparisons are needed (primary, null control, warm start, and out of "
            f"domain against nnU-Net); unfinished: {missing}.\n"
        )
        if not forbidding:
            return f"Not decided yet: {unfinished}"
        return (
            "- Whatever the other comparisons show, rule 8 does not recommend the supervised "
            f"trainer: {'; '.join(forbidding)}.\n- All else is not decided yet: {unfinished}"
        )
    lines = []
    for network in _GATED:
        of_network = [one for one in outside if one.first == network]
        helped = _helped(found, network, chance)
        if network == "supervised":
            deciding = {SARCOMA.title, *CROWDED.values()} & set(helped)
            is_recommended = bool(deciding) and not forbidding
        else:
            is_recommended = bool(helped)
        lines += _use(found, network, helped, is_recommended, chance)
        lines += _out_of_domain(of_network)
        if network == "supervised":
            decision = "is" if is_recommended else "is not"
            reasons = f": {'; '.join(forbidding)}" if forbidding and deciding else ""
            lines.append(f"- By rule 8, the supervised trainer {decision} recommended{reasons}.")
    return "\n".join(lines) + "\n"


def _forbidding(found: Sequence[Finding], outside: Iterable[Finding]) -> list[str]:
    """Return why rule 8 cannot recommend the supervised trainer, whatever else is found."""
    reasons = [
        f"it is worse than nnU-Net on {one.group.title}"
        for one in found
        if (one.first, one.second, one.verdict) == ("supervised", "stock", "worse")
    ]
    for one in outside:
        if one.first != "supervised":
            continue
        if one.estimate is None:
            reasons.append(f"out of domain, {one.group.title} do not count")
        elif one.lies_below_0:
            reasons.append(
                f"out of domain, its interval on {one.group.title} lies below 0 "
                f"({four_places(one.estimate.mean)} {ends_text(one.estimate.interval())})"
            )
    return reasons


def _use(
    found: Sequence[Finding],
    network: str,
    helped: Sequence[str],
    is_recommended: bool,
    chance: float,
) -> list[str]:
    """Say for which data a network should be used, and for which not."""
    name = NETWORKS[network].name
    if not helped:
        lines = [
            f"- {name}: on nothing that was measured is it shown to be better than both nnU-Net "
            "and the wide U-Net, so that there is no reason here to use it for its Dice."
        ]
    elif is_recommended:
        lines = [
            f"- {name}: use it for data such as {_listed(helped)}, where it is better than both "
            "nnU-Net and the wide U-Net."
        ]
    else:
        lines = [f"- {name}: it is better than both nnU-Net and the wide U-Net on "
                 f"{_listed(helped)}."]  # fmt: skip
    lost = (network, "stock", "worse")
    worse = [one for one in found if (one.first, one.second, one.verdict) == lost]
    harmed = [one.group.title for one in worse if is_claimed(one, chance)]
    if harmed:
        lines.append(
            f"- {name}: do not use it for data such as {_listed(harmed)}, where it is worse "
            "than nnU-Net."
        )
    return lines


def _out_of_domain(of_network: Sequence[Finding]) -> list[str]:
    """Warn of data out of domain on which a network may do harm, or on which nothing is known."""
    name = NETWORKS[of_network[0].first].name
    unknown = [one.group.title for one in of_network if one.estimate is None]
    below = [one.group.title for one in of_network if one.lies_below_0]
    lines = []
    if below:
        lines.append(
            f"- {name}: be careful where new images differ from the training images: out of "
            f"domain its interval, which is not corrected, lies below 0 on {_listed(below)}."
        )
    if unknown:
        lines.append(
            f"- {name}: out of domain nothing is known of {_listed(unknown)}, where nnU-Net "
            "has a ceiling or a floor."
        )
    return lines


def _wanted() -> int:
    """Return the number of findings that rule 8 needs."""
    decided = sum(len(group.comparisons) for group in GROUPS)
    phantoms = [group for group in GROUPS if PARTS[group.part].has_shifted_images]
    return decided + len(_GATED) * len(phantoms)


def _number_of_groups() -> int:
    return sum(group.family == PRIMARY for group in GROUPS)


def _rows(found: Iterable[Finding], first: str, second: str, family: str) -> list[Finding]:
    return [
        one
        for one in found
        if (one.first, one.second, one.domain, one.family) == (first, second, IN_DOMAIN, family)
    ]


def _helped(found: Sequence[Finding], network: str, chance: float) -> list[str]:
    """Return the titles of the groups on which a network is better than both stock and wide."""
    of_both = [
        [
            one.group.title
            for one in _rows(found, network, other, PRIMARY)
            if outcome(one, chance) == "better"
        ]
        for other in ("stock", "wide")
    ]
    return [title for title in of_both[0] if title in of_both[1]]


def outcome(finding: Finding, chance: float) -> str:
    """Return the verdict, or that nothing is claimed from it by rule 5."""
    is_control = finding.family == CONTROL
    if finding.verdict in _DIFFERS and not is_control and not is_claimed(finding, chance):
        return not_claimed(chance)
    return finding.verdict


def not_claimed(chance: float) -> str:
    """Say why nothing is claimed from a difference that is not larger than the null control's."""
    return "waits for the null control" if isnan(chance) else "not claimed"


def _told(rows: Sequence[Finding], kind: str, chance: float) -> str:
    titles = [one.group.title for one in rows if outcome(one, chance) == kind]
    return f"{kind} {len(titles)}" + (f" ({_listed(titles)})" if titles else "")


def _interaction_told(one: Interaction) -> str:
    assert one.estimate is not None
    return (
        f"{NETWORKS[one.network].name} minus nnU-Net, {PARTS[one.part].planned}"
        f"{DOMAINS[one.domain]}, {one.question}: {four_places(one.estimate.mean)} "
        f"{ends_text(one.estimate.interval())}"
    )


def _listed(titles: Iterable[str]) -> str:
    return "; ".join(titles)
