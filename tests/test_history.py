"""`Pruner.history` and `Pruner.report`: what there is to look at in a loop of one's own."""

import copy
import re

import lightning
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import snnprune
from snnprune.pruning import Pruner

EPOCHS = 8


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(12, 20),
        neuron.LIFNode(step_mode="m", v_threshold=0.3),
        nn.Linear(20, 16),
        neuron.LIFNode(step_mode="m", v_threshold=0.3),
        nn.Linear(16, 3),
    )


def trained(method: str = "dpap", epochs: int = EPOCHS, every: int | None = None) -> Pruner:
    model = network()
    x = torch.rand(5, 16, 12)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    pruner = Pruner(model, x[:, :2], method, epochs=EPOCHS, compact_every=every, **options(method))
    for epoch in range(epochs):
        for _ in range(2):
            functional.reset_net(model)
            model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            pruner.step(optimizer)
        functional.reset_net(model)
        pruner.end_epoch({"accuracy": epoch / 10})
    return pruner


def options(method: str) -> dict[str, float]:
    return {} if method == "dense" else {"target": 0.5}


@pytest.mark.parametrize("method", ["dpap", "magnitude", "dense"])
def test_a_row_for_each_epoch_with_the_network_that_was_trained_in_it(method: str) -> None:
    pruner = trained(method)
    history = pruner.history
    assert [row.epoch for row in history] == [*range(1, EPOCHS + 1)]
    assert [row.metrics["accuracy"] for row in history] == [epoch / 10 for epoch in range(EPOCHS)]
    assert history[0].weights == {"0": 240, "2": 320, "4": 48} == history.dense
    assert history[0].units == {"0": 20, "2": 16, "4": 3}
    assert history[0].macs == 5 * (240 + 320 + 48)
    assert all(0 < row.firing["1"] < 1 for row in history)
    totals = [sum(row.weights.values()) for row in history]
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] >= pruner.rates().weights_left  # which is after the last decision
    assert ("survival/neurons/0" in history.series) == (method == "dpap")


def test_a_history_is_the_same_with_cuts_and_without() -> None:
    masked, cut = trained().history, trained(every=1).history
    assert [row.weights for row in masked] == [row.weights for row in cut]
    for name, tensor in masked.tensors().items():
        if not name.startswith(("first", "last", "survival", "firing")):  # sums in another order
            assert torch.equal(tensor, cut.tensors()[name]), name


def test_firing_is_that_of_the_first_batch_of_the_epoch_in_training() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.zero_()
    on, off = torch.ones(4, 2), -torch.ones(4, 2)
    with Pruner(model, on, "magnitude", epochs=4, target=0.2) as pruner:
        model.eval()(off)
        for batch in (torch.cat([on, off, off, off]), on):
            model.train()(batch).sum().backward()
            pruner.step()
        pruner.end_epoch()
        assert pruner.history[0].firing == {"1": 0.25}
        assert not model[1]._forward_hooks or pruner._firing._handles  # the next epoch counts anew


def test_a_history_travels_without_pickle_and_goes_on(tmp_path) -> None:
    pruner = trained(epochs=4)
    torch.save(pruner.state_dict(), tmp_path / "state.pt")
    again = Pruner(network(), torch.rand(5, 2, 12), "dpap", epochs=EPOCHS, target=0.5)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert again.history.rows == pruner.history.rows
    assert again.history.series.keys() == pruner.history.series.keys()
    twin = copy.deepcopy(pruner)
    assert twin.history.rows == pruner.history.rows
    twin.end_epoch()
    assert (len(twin.history), len(pruner.history)) == (5, 4)


def test_it_is_printed_as_a_table() -> None:
    lines = str(trained().history).splitlines()
    assert len(lines) == EPOCHS + 1
    assert re.split(r"  +", lines[0].strip()) == [
        "epoch", "weights left", "0", "2", "4", "1 fires", "3 fires", "accuracy",
    ]  # fmt: skip
    assert lines[1].split()[:2] == ["1", "100.0%"]


def test_the_callback_records_every_epoch_also_the_last() -> None:
    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = network()

        def training_step(self, batch, _):
            return self.model(batch[0].transpose(0, 1)).square().mean()

        def validation_step(self, batch, _):
            self.log("seen", 1.0)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    data = DataLoader(TensorDataset(torch.rand(32, 5, 12)), 16)
    example = torch.rand(5, 2, 12)
    pruning = snnprune.PruningCallback("dpap", target=0.5, example_input=example, reset_states=True)
    trainer = lightning.Trainer(
        max_epochs=6, callbacks=[pruning], accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(), data, data)
    assert [row.epoch for row in pruning.pruner.history] == [1, 2, 3, 4, 5, 6]
    assert [row.metrics["seen"] for row in pruning.pruner.history] == [1.0] * 6
    assert sum(pruning.pruner.history[-1].weights.values()) == pruning.pruner.rates().weights_left


@pytest.mark.parametrize("method", ["dpap", "magnitude", "dense"])
def test_the_page_of_a_pruner(method: str, tmp_path) -> None:
    pruner = trained(method)
    page = pruner.report(tmp_path / "of" / "mine.html")
    text = page.read_text()
    assert page == tmp_path / "of" / "mine.html"
    assert "not shown" not in text
    assert f"{pruner.rates().weights_left:,} of 608" in text
    assert ("survival" in text.lower()) == (method == "dpap")
    assert (page.parent / "figures" / "metrics.svg").is_file()
    assert pruner.report(tmp_path / "folder") == tmp_path / "folder" / "report.html"


def test_the_page_needs_an_epoch_and_a_place(tmp_path) -> None:
    pruner = Pruner(network(), torch.rand(5, 2, 12), "dpap", epochs=8)
    with pytest.raises(snnprune.UserError, match="no epoch"):
        pruner.report(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(snnprune.UserError, match="cannot be written"):
        trained(epochs=2).report(tmp_path / "file" / "page.html")


def test_measuring_changes_no_bit_of_training_and_counts_alike_where_layers_are_fused() -> None:
    def losses(watch: bool, fuse: bool) -> tuple[list[float], dict[str, float]]:
        torch.manual_seed(0)
        lif = {"step_mode": "m", "v_threshold": 0.2}
        model = nn.Sequential(
            layer.Conv2d(2, 5, 3, padding=1, step_mode="m"), neuron.LIFNode(**lif),
            layer.AvgPool2d(2, step_mode="m"), layer.Flatten(step_mode="m"),
            layer.Linear(5 * 16, 3, step_mode="m"),
        )  # fmt: skip
        if fuse:
            snnprune.accelerate(model)
        x = torch.rand(4, 6, 2, 8, 8)
        pruner = Pruner(model, x[:, :2], "dense", epochs=2) if watch else None
        optimizer, found = torch.optim.SGD(model.parameters(), 0.5), []
        for _ in range(4):
            functional.reset_net(model)
            loss = model(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(float(loss))
            if pruner is not None:
                pruner.step(optimizer)
        if pruner is None:
            return found, {}
        pruner.end_epoch()
        pruner.close()
        return found, pruner.history[0].firing

    assert losses(watch=True, fuse=True)[0] == losses(watch=False, fuse=True)[0]
    fused, plain = losses(watch=True, fuse=True)[1], losses(watch=True, fuse=False)[1]
    assert fused.keys() == plain.keys()
    assert fused == pytest.approx(plain, abs=0.002)
