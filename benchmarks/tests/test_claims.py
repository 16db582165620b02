"""The claims of the DPAP paper: what is said of each follows from its intervals, on small numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks.papers import claims
from benchmarks.papers.claims import FAILS, HOLDS, OPEN, verdict
from snnprune.common.statistics import Interval
from snnprune.runs.summary import Counts
from snnprune.training import run
from support import records, tiny_run
from support.reported import REPORTED

if TYPE_CHECKING:
    from snnprune.runs.reading import Run

SAMPLES = 200


def made(seed: int, right: int, curve: list[float], pruned: list[float] | None = None) -> Run:
    """A run that answers the first ``right`` of 200 samples rightly, and spends 60 of 100 pJ if it prunes."""
    pruned = pruned or [0.0] * len(curve)
    energy = Counts(100.0, 60.0 if pruned[-1] else 100.0, 100.0)
    return records.run(
        "dpap", 0.6, seed, curve, right=right, samples=SAMPLES, pruned=pruned, pruning_rate=pruned[-1],
        synops=replace(records.summary().synops, energy_pj=energy),
    )  # fmt: skip


def runs(*rights: int, curve: list[float] | None = None) -> dict[int, Run]:
    return {seed: made(seed, right, curve or [0.5, 0.9]) for seed, right in enumerate(rights)}


# --- words


@pytest.mark.parametrize(
    ("ends", "line", "said"),
    [
        ([(0.1, 0.5)], 0.0, HOLDS),
        ([(-0.5, -0.1)], 0.0, FAILS),
        ([(-0.1, 0.5)], 0.0, OPEN),
        ([(0.1, 0.5), (-0.1, 0.5)], 0.0, OPEN),  # both have to say so
        ([(0.1, 0.5), (-0.5, -0.1)], 0.0, OPEN),
        ([(-0.2, 0.1)], -0.3, HOLDS),  # no more than 0.3 lost
        ([(None, None)], 0.0, OPEN),  # one seed
        ([], 0.0, OPEN),
    ],
)
def test_a_claim_needs_every_interval_on_its_side(ends, line, said):
    intervals = [Interval(0.0, low, high, 3) for low, high in ends]
    assert verdict(*intervals, line=line) == said
    opposite = {HOLDS: FAILS, FAILS: HOLDS, OPEN: OPEN}
    assert verdict(*intervals, line=line, above=False) == opposite[said]


def test_the_papers_entry_nearest_to_a_target():
    assert [REPORTED["mnist", "conv-snn"].nearest(t)[0] for t in (0.4, 0.6, 0.8)] == [48.42, 61.25, 84.22]
    share, gain = REPORTED["nmnist", "conv-snn"].nearest(0.6)
    assert share == 63.95
    assert gain == pytest.approx(0.06)


# --- figures


def test_a_gain_is_paired_and_needs_seeds_and_samples():
    dense = runs(150, 160, 155)
    found = claims.gain_over_dense(runs(170, 181, 176), dense, 0.6, REPORTED["mnist", "conv-snn"])
    assert found.figure == "+10.33 points"  # 20, 21 and 21 of 200
    assert found.paper == "+0.13 points at 61.2 %"
    # s = 1/3, t(2) = 4.303: half = 4.303 x 0.2887 / sqrt(3) = 0.717
    assert found.seeds == "[+9.62, +11.05]"
    assert found.verdict == HOLDS
    assert claims.gain_over_dense(dense, runs(170, 181, 176), 0.6, None).verdict == FAILS
    few = claims.gain_over_dense(runs(151, 161, 156), dense, 0.6, None)  # one sample more, with every seed
    assert few.seeds == "[+0.50, +0.50]"
    assert few.verdict == OPEN  # it is the same for other seeds, not for other samples


def test_a_loss_that_the_paper_reports_is_what_ours_is_held_against():
    alike, reported = runs(160, 160, 160), REPORTED["cifar10", "vgg-snn"]
    found = claims.gain_over_dense(alike, alike, 0.4, reported)
    assert "no more than 0.40 points below" in found.claim  # 94.14 at 39.91 %, of 94.54
    assert found.verdict == HOLDS


def test_the_peak_needs_a_target_on_either_side():
    dpap = {0.4: runs(150, 150), 0.6: runs(190, 190)}
    below, above = claims.highest_at(dpap, 0.6)
    assert below.verdict == HOLDS
    assert (above.figure, above.verdict) == ("-", OPEN)


def test_a_speedup_is_a_geometric_mean():
    dense = runs(1, 1, curve=[0.1, 0.2, 0.3, 0.9])
    ours = {0: made(0, 1, [0.1, 0.9, 0.9, 0.9]), 1: made(1, 1, [0.9, 0.9, 0.9, 0.9])}
    found = claims.convergence_speed(ours, dense, 0.6, 1.0, None)
    assert found.figure == "2.83 times"  # 4/2 and 4/1: sqrt(8)
    assert found.verdict == OPEN  # two seeds


def test_a_run_that_never_arrives_can_only_speak_against_a_speedup():
    dense = {s: made(s, 1, [0.1] * s + [0.9] * (3 - s)) for s in range(3)}
    late = {seed: made(seed, 1, [0.1] * 8 + [0.8]) for seed in range(3)}
    found = claims.convergence_speed(late, dense, 0.6, 1.0, None)
    assert found.figure == "at most 0.18 times: 3 of 3 never"  # 1, 2 and 3 of 9 + 1: the cube root of 0.006
    assert found.verdict == FAILS
    alike = claims.convergence_speed(late, dict.fromkeys(range(3), dense[1]), 0.6, 1.0, None)
    assert (alike.figure, alike.seeds) == ("at most 0.20 times: 3 of 3 never", "-")
    assert alike.verdict == OPEN
    dense = runs(1, 1, 1, curve=[0.1] * 9 + [0.9])
    mixed = {s: made(s, 1, [0.1, 0.9] + [0.9] * 8) for s in (0, 1)} | {2: made(2, 1, [0.1, 0.8])}
    found = claims.convergence_speed(mixed, dense, 0.6, 1.0, None)
    assert "1 of 3 never" in found.figure
    assert found.verdict == OPEN


def test_how_much_goes_in_the_first_half_of_the_pruning():
    assert claims.gone_early([0.0, 0.3, 0.5, 0.6, 0.6, 0.6]) is not None
    # from 0 after epoch 1 to 0.6 after epoch 5; the middle is epoch 3
    assert claims.gone_early([0.0, 0.3, 0.5, 0.55, 0.6, 0.6]) == pytest.approx(0.5 / 0.6)
    assert claims.gone_early([0.0, 0.6, 0.6]) is None
    assert claims.gone_early([0.0, 0.0]) is None


def test_the_epoch_in_which_half_is_dead():
    # 0.3 lies a quarter between 0.2 and 0.6
    assert claims.epoch_of_half([0.0, 0.2, 0.6, 0.6]) == pytest.approx(2.25)
    assert claims.epoch_of_half([0.6]) == 0.5
    assert claims.epoch_of_half([0.0, 0.0]) is None


def test_the_gain_after_twenty_epochs_is_the_mean_of_those():
    dense = runs(1, 1, curve=[0.5] * 22)
    ours = {0: made(0, 1, [0.9] * 19 + [0.6, 0.6, 0.6]), 1: made(1, 1, [0.0] * 19 + [0.6, 0.6, 0.9])}
    assert claims.lasting_gain(ours, dense, 0.6).figure == "+15.00 points"  # 10 and 20
    assert claims.lasting_gain(runs(1, 1), runs(1, 1), 0.6).seeds == "runs end before epoch 20"


def test_energy_is_no_share_of_weights():
    dense, ours = runs(1, 1, 1), {s: made(s, 1, [0.5, 0.9], [0.0, 0.6]) for s in range(3)}
    found = claims.energy_beside_weights(ours, dense, 0.6)
    assert found.figure == "+20.0 points"  # 60 % of the energy, 40 % of the weights
    assert found.verdict == FAILS
    same = {s: replace(r, summary=replace(r.summary, pruning_rate=0.4)) for s, r in ours.items()}
    assert claims.energy_beside_weights(same, dense, 0.6).verdict == OPEN


def test_what_was_not_trained_is_not_judged():
    found = claims.ablated(runs(1, 1), {}, "hebb", 0.6)
    assert (found.figure, found.seeds, found.verdict) == ("-", "not in the bench: --methods dpap,hebb", OPEN)


# --- a bench


def test_every_claim_is_held_against_the_runs_of_a_bench(tmp_path, capsys):
    for seed in (0, 1):
        for method in ("dense", "dpap"):
            config = tiny_run.config(method, epochs=6, seed=seed)
            name = method if method == "dense" else "dpap-0.5"
            run.train(config, tmp_path / f"{name}-seed{seed}", page=False)
    capsys.readouterr()
    assert claims.main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"conv-snn on {tiny_run.DATA}, 6 epochs, seeds 0, 1, 21 test samples:")
    table = [line.strip("| ").split(" | ") for line in said.splitlines() if line.startswith("| ")][2:]
    assert len(table) == 13
    assert all(row[-1].strip("*| ") in (HOLDS, FAILS, OPEN) for row in table)
    figures = {row[0].removeprefix("50% pruned: ").partition(" (")[0]: row[2] for row in table}
    assert figures["pruned neurons had fewer synapses than kept ones"].endswith("%")
    assert figures["synapses go before neurons"].endswith("later")


def test_a_bench_without_dense_or_dpap_is_one_sentence(tmp_path, capsys):
    run.train(tiny_run.config("dense", epochs=1), tmp_path / "dense-seed0", page=False)
    assert claims.main([str(tmp_path)]) == 2
    assert "holds no finished runs of both dense and dpap" in capsys.readouterr().err
