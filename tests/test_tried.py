"""What docs/custom-snn.md says was tried is exact, or refused in a sentence of ours: nothing else comes."""

import pytest

from support.outside import wrapped_layers
from support.outside.fits import FITS
from support.outside.verdicts import answered, verdict
from support.outside.ways import LOOPS

pytestmark = pytest.mark.filterwarnings("ignore")

REFUSED = {
    "WeightAveraging with compact_every": "keeps its own",
    "StochasticWeightAveraging with compact_every": "keeps its own",
    "EarlyStopping": "training ended with epoch 2 of 6",
    "max_time, max_steps and others that end early": "training ended with epoch 2 of 6",
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_the_plain_one(name: str) -> None:
    assert answered(LOOPS[name]) == "exact"


@pytest.mark.parametrize("name", FITS)
def test_a_fit_is_the_plain_loop_or_says_what_is_not(name: str) -> None:
    said = answered(FITS[name])
    if name in REFUSED:
        assert REFUSED[name] in said
        assert "WRONG" not in said
    else:
        assert said == "exact"


@pytest.mark.parametrize("name", wrapped_layers.TRIALS)
def test_a_layer_is_cut_exactly_or_kept_whole_with_a_reason(name: str) -> None:
    said = verdict(wrapped_layers.TRIALS[name])
    assert said.startswith(("exact", "not pruned: "))
    assert "WRONG" not in said
