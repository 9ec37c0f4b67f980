"""Each rule of the protocol that looks odd is needed: something fails where it is taken out, and nothing with it."""

import pytest

from .__main__ import run
from .drills import DRILLS
from .rules import RULES, without
from .violation import Violation

SEEDS_MAX = 80
BY_SEEDS = (
    "carries_from_tip", "rejoin_before_cut", "exclusion_bars_join", "revised_shards", "carries_input_again",
    "unpublished_offset")


def test_every_rule_has_a_drill_or_seeds() -> None:
    """No rule is left out."""
    assert set(DRILLS) | set(BY_SEEDS) == set(RULES)


@pytest.mark.parametrize("name", DRILLS)
def test_a_drill_passes_with_all_rules(name: str) -> None:
    """The schedule is harmless."""
    DRILLS[name]()


@pytest.mark.parametrize("name", DRILLS)
def test_a_drill_fails_without_its_rule(name: str) -> None:
    """The same schedule breaks an invariant."""
    with without([name]), pytest.raises(Violation):
        DRILLS[name]()


@pytest.mark.parametrize("name", BY_SEEDS)
def test_some_seed_fails_without_a_rule(name: str) -> None:
    """Among a few worlds there is one that needs the rule, and it passes with it."""
    for seed in range(SEEDS_MAX):
        if run(seed, (name,))[1]:
            assert run(seed)[1:3] == ("", "")
            return
    pytest.fail(f"none of {SEEDS_MAX} seeds needs {name}")
