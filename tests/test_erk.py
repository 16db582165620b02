"""Densities by Erdős-Rényi-Kernel, on paper: what is capped, what is held, and what the rest share."""

from __future__ import annotations

import math

import pytest

from snnprune.pruning.erk import erk, scaled

SHAPES = {"conv1": (15, 1, 3, 3), "conv2": (40, 15, 3, 3), "fc1": (300, 1960), "fc2": (10, 300)}


def test_two_layers_on_paper() -> None:
    # a: (4 + 6) / 24, b: (8 + 2 + 3 + 3) / 144. A tenth of 168: 16.8 = eps (10 + 16).
    found = erk({"a": (4, 6), "b": (8, 2, 3, 3)}, 0.1)
    assert found == pytest.approx({"a": 16.8 / 26 * 10 / 24, "b": 16.8 / 26 * 16 / 144}, abs=1e-15)


def test_a_layer_that_would_be_more_than_full_is_full_and_the_others_share_the_rest() -> None:
    # a third of 10 100: eps (20 + 200) = 3366.7 asks for 306 of 100 places in a; so b has 3266.7 of 10 000.
    found = erk({"a": (10, 10), "b": (100, 100)}, 1 / 3)
    assert found == pytest.approx({"a": 1.0, "b": (10_100 / 3 - 100) / 10_000}, abs=1e-15)


def test_capping_one_layer_may_cap_the_next() -> None:
    # 2 x 2 asks for the most: 4 of its places; then 4 x 4: 0.5 * 420 - 4 = 206 = eps (8 + 40), 34 of 16.
    found = erk({"a": (2, 2), "b": (4, 4), "c": (20, 20)}, 0.5)
    assert found == pytest.approx({"a": 1.0, "b": 1.0, "c": (210 - 20) / 400}, abs=1e-15)


def test_no_layer_falls_below_its_least() -> None:
    found = erk({"a": (10, 10), "b": (100, 100)}, 0.05, {"b": 0.048})
    assert found == pytest.approx({"a": (505 - 480) / 100, "b": 0.048}, abs=1e-15)
    assert erk({"a": (10, 10)}, 0.05, {"a": 0.2}) == {"a": 0.2}


@pytest.mark.parametrize("density", [0.0, 0.001, 0.02, 0.1, 0.5, 0.9, 1.0])
def test_the_total_is_what_was_asked_for(density: float) -> None:
    found = erk(SHAPES, density)
    sizes = {name: math.prod(shape) for name, shape in SHAPES.items()}
    assert sum(found[n] * sizes[n] for n in SHAPES) == pytest.approx(density * sum(sizes.values()))
    assert all(0.0 <= share <= 1.0 for share in found.values())
    assert list(found) == list(SHAPES)


def test_one_rule_for_all_is_uniform() -> None:
    sizes = {name: math.prod(shape) for name, shape in SHAPES.items()}
    assert scaled(dict.fromkeys(sizes, 1.0), sizes, 0.3) == pytest.approx(dict.fromkeys(sizes, 0.3))


def test_a_density_that_is_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"share in \[0, 1\], came 1.5"):
        erk(SHAPES, 1.5)
    assert scaled({}, {}, 0.5) == {}
