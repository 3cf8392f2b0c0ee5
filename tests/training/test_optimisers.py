"""Learning rates and weight decay of parameter groups, and schedules."""

from __future__ import annotations

import pytest
from torch import nn

import bcdseg
from bcdseg import FitConfig
from bcdseg.networks.network import Network
from bcdseg.training.loop.task import PLATEAU_PATIENCE, build_optimizer, build_schedule, parameter_groups, plateau_factor
from bcdseg.training.losses import JointLoss

STEPS = 10


@pytest.fixture(scope="module")
def network() -> Network:
    made = bcdseg.create("plain_cnn", classes=["a", "b"], size=32, decoder_channels=(8, 8, 8, 8, 8)).network
    assert isinstance(made, Network)
    return made


def _rates(network: Network, config: FitConfig, scores: list[float] | None = None) -> list[float]:
    """Return the heads' rate at each step of a run."""
    optimizer = build_optimizer(network, JointLoss(), config)
    schedule = build_schedule(optimizer, config, STEPS, lambda: scores or [])
    rates = []
    for _ in range(config.epochs * STEPS):
        rates.append(optimizer.param_groups[-1]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_every_parameter_learns_once_norms_and_biases_without_decay(network: Network) -> None:
    loss = JointLoss(task_weights="learned")
    groups = parameter_groups(network, loss, FitConfig(lr=0.1, encoder_lr=0.5, weight_decay=0.01))
    ids = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(parameter) for module in (network, loss) for parameter in module.parameters()}
    encoder = {id(parameter) for parameter in network.encoder.parameters()}
    plain = {id(value) for module in network.modules() if isinstance(module, nn.BatchNorm2d) for value in module.parameters()}
    for group in groups:
        ids = {id(parameter) for parameter in group["params"]}
        assert group["lr"] == (0.05 if ids <= encoder else 0.1)
        assert not (group["weight_decay"] and ids & plain)


def test_cosine_warms_up_and_comes_down_to_nothing(network: Network) -> None:
    rates = _rates(network, FitConfig(epochs=5, warmup_epochs=2, schedule="cosine", lr=1.0))
    assert rates[0] == pytest.approx(1 / 20)
    assert max(rates) == rates[20] == 1.0
    assert rates[35] == pytest.approx(0.5)
    assert rates[-1] < 0.01


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_one_cycle_rises_and_falls_with_each_optimiser(network: Network, optimizer: str) -> None:
    rates = _rates(network, FitConfig(epochs=5, schedule="one_cycle", lr=1.0, optimizer=optimizer))
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[top] == pytest.approx(1.0, abs=1e-3)


def test_plateau_takes_a_tenth_each_time_the_score_stays(network: Network) -> None:
    better = [0.1, 0.2, 0.3]
    assert plateau_factor(better) == 1
    assert plateau_factor([*better, *[0.3] * (PLATEAU_PATIENCE - 1)]) == 1
    assert plateau_factor([*better, *[0.3] * PLATEAU_PATIENCE]) == pytest.approx(0.1)
    assert plateau_factor([*better, *[0.3] * 2 * PLATEAU_PATIENCE, 0.4]) == pytest.approx(0.01)
    scores = [0.5, *[0.4] * PLATEAU_PATIENCE]
    rates = _rates(network, FitConfig(epochs=2, warmup_epochs=1, schedule="plateau", lr=1.0), scores)
    assert (rates[0], rates[-1]) == (pytest.approx(0.1), pytest.approx(0.1))
