"""The joint loss: unknown ground truth adds nothing, and a normal scan is an empty mask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bcdseg import Output, errors
from bcdseg.registry import CLASS_LOSSES, MASK_LOSSES
from bcdseg.training.losses import NO_LABEL, JointLoss, Truth


def _batch() -> tuple[Output, Truth]:
    torch.manual_seed(0)
    mask = torch.zeros(3, 1, 16, 16)
    mask[1, :, 4:9, 3:12] = 1
    mask[2, :, :8] = 1
    output = Output(torch.randn(3, 1, 16, 16, requires_grad=True), torch.randn(3, 3, requires_grad=True))
    return output, Truth(mask, torch.tensor([True, True, True]), torch.tensor([0, 1, 2]))


def _grads(output: Output, loss: Tensor) -> tuple[Tensor, Tensor]:
    assert output.mask is not None
    assert output.classes is not None
    zero = (torch.zeros_like(output.mask), torch.zeros_like(output.classes))
    found = torch.autograd.grad(loss, [output.mask, output.classes], allow_unused=True)
    return tuple(z if g is None else g for g, z in zip(found, zero, strict=True))  # type: ignore[return-value]


def test_it_is_the_sum_that_one_would_write_down() -> None:
    output, truth = _batch()
    assert output.mask is not None
    assert output.classes is not None
    probability = torch.sigmoid(output.mask)
    pixels = F.binary_cross_entropy(probability, truth.mask)
    overlap = (probability * truth.mask).sum(dim=(1, 2, 3))
    dice = 1 - (2 * overlap + 1) / (probability.sum(dim=(1, 2, 3)) + truth.mask.sum(dim=(1, 2, 3)) + 1)
    expected = pixels + dice[1:].sum() / 3 + 0.5 * F.cross_entropy(output.classes, truth.label, label_smoothing=0.05)
    torch.testing.assert_close(JointLoss()(output, truth).total, expected)


CHOICES = [{"mask_loss": name} for name in MASK_LOSSES] + [{"class_loss": name} for name in CLASS_LOSSES]
CHOICES += [{"task_weights": "learned"}, {"class_weights": torch.tensor([2.0, 1.0, 0.5])}]


@pytest.mark.parametrize("options", CHOICES, ids=str)
def test_a_missing_mask_or_label_adds_nothing(options: dict[str, Any]) -> None:
    output, truth = _batch()
    partial = Truth(truth.mask, torch.tensor([True, False, True]), torch.tensor([NO_LABEL, 1, NO_LABEL]))
    mask_grad, class_grad = _grads(output, JointLoss(**options)(output, partial).total)
    assert not mask_grad[1].any()
    assert mask_grad[0].any()
    assert mask_grad[2].any()
    assert not class_grad[0].any()
    assert class_grad[1].any()


@pytest.mark.parametrize("mask_loss", MASK_LOSSES)
def test_an_empty_mask_is_trained_by_the_pixel_term_alone(mask_loss: str) -> None:
    """Check that the gradient of a normal scan is that without an overlap term."""
    output, truth = _batch()
    logits = output.mask
    assert logits is not None
    empty = replace(truth, mask=torch.zeros_like(truth.mask))
    (found,) = torch.autograd.grad(JointLoss(mask_loss=mask_loss)(Output(logits, None), empty).total, logits)
    probability = torch.sigmoid(logits)
    gamma = 2 if mask_loss == "dice_focal" else 0
    (expected,) = torch.autograd.grad(-(probability**gamma * torch.log1p(-probability)).mean(), logits)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mask_loss", MASK_LOSSES)
def test_a_better_outline_costs_less(mask_loss: str) -> None:
    truth = torch.zeros(1, 1, 32, 32)
    truth[..., 8:20, 10:24] = 1
    loss, costs = JointLoss(mask_loss=mask_loss), []
    for shift in (0, 1, 3, 8):
        logits = torch.roll(truth, shift, dims=3) * 8 - 4
        costs.append(loss(Output(logits, None), Truth(truth, torch.tensor([True]), torch.tensor([NO_LABEL]))).total.item())
    assert costs == sorted(costs)
    assert len(set(costs)) == 4


def test_focal_loss_is_as_published() -> None:
    output, truth = _batch()
    assert output.classes is not None
    probability = output.classes.softmax(dim=1)[range(3), truth.label]
    expected = (-((1 - probability) ** 2) * probability.log()).mean()
    found = JointLoss(class_loss="focal", label_smoothing=0.0)(Output(None, output.classes), truth).classes
    torch.testing.assert_close(found, expected)


def test_class_weights_and_smoothing_are_those_of_torch() -> None:
    output, truth = _batch()
    weights = torch.tensor([2.0, 1.0, 0.5])
    found = JointLoss(class_weights=weights, label_smoothing=0.1)(output, truth).classes
    torch.testing.assert_close(found, F.cross_entropy(output.classes, truth.label, weight=weights, label_smoothing=0.1))


def test_soft_truth_is_the_mean_of_its_parts_where_the_loss_is_linear_in_it() -> None:
    output, truth = _batch()
    soft = torch.tensor([[0.3, 0.7, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    found = JointLoss(label_smoothing=0.0)(Output(None, output.classes), replace(truth, label=soft)).classes
    log_probability = F.log_softmax(output.classes, dim=1)
    expected = -(0.3 * log_probability[0, 0] + 0.7 * log_probability[0, 1] + log_probability[1, 1]) / 2
    torch.testing.assert_close(found, expected)
    hard = torch.eye(3)[truth.label]
    whole, same = (JointLoss()(output, one).total for one in (truth, replace(truth, label=hard)))
    torch.testing.assert_close(whole, same)


@pytest.mark.parametrize("mask_loss", ["dice_ce", "tversky"])
def test_a_soft_mask_is_matched_best_by_itself(mask_loss: str) -> None:
    """Check that no probability is pushed beyond MixUp's label."""
    mask = torch.full((1, 1, 16, 16), 0.02)
    mask[..., 4:12, 4:12] = 0.6
    truth = Truth(mask, torch.tensor([True]), torch.tensor([NO_LABEL]))
    loss = JointLoss(mask_loss=mask_loss)
    at_truth, surer = (loss(Output(torch.logit(value), None), truth).total for value in (mask, (mask > 0.5) * 0.9 + 0.01))
    assert at_truth < surer


def test_learned_weights_start_as_the_fixed_ones_and_turn_to_the_surer_task() -> None:
    output, truth = _batch()
    fixed = JointLoss(mask_weight=0.8, class_weight=0.4)
    learned = JointLoss(mask_weight=0.8, class_weight=0.4, task_weights="learned")
    torch.testing.assert_close(_grads(output, fixed(output, truth).total), _grads(output, learned(output, truth).total))
    (parameter,) = learned.parameters()
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    for _ in range(500):
        optimizer.zero_grad()
        losses = learned(Output(output.mask.detach() * 0 - 3, output.classes.detach()), truth)
        losses.total.backward()
        optimizer.step()
    # the least of exp(-s) L + s / 2 is at s = log(2 L)
    torch.testing.assert_close(parameter.detach(), torch.log(2 * torch.stack([losses.mask, losses.classes])), atol=1e-2, rtol=0)


def test_a_task_without_ground_truth_does_not_move_its_learned_weight() -> None:
    output, truth = _batch()
    loss = JointLoss(task_weights="learned")
    loss(output, replace(truth, label=torch.full((3,), NO_LABEL))).total.backward()
    (parameter,) = loss.parameters()
    assert parameter.grad is not None
    assert parameter.grad[0] != 0
    assert parameter.grad[1] == 0


@pytest.mark.parametrize("options", CHOICES, ids=str)
def test_the_mean_over_processes_is_the_loss_of_one(options: dict[str, Any]) -> None:
    """Compare with two halves of differently many known scans, each divided by the mean count, as under DDP."""
    torch.manual_seed(1)
    output = Output(torch.randn(4, 1, 16, 16, requires_grad=True), torch.randn(4, 3, requires_grad=True))
    mask = (torch.rand(4, 1, 16, 16) > 0.7).float()
    truth = Truth(mask, torch.tensor([True, False, False, True]), torch.tensor([0, 1, 2, NO_LABEL]))
    whole = JointLoss(**options)(output, truth).total
    counts: list[torch.Tensor] = []
    halves = [slice(0, 2), slice(2, 4)]

    def part(half: slice, share: Any) -> torch.Tensor:
        piece = Truth(truth.mask[half], truth.has_mask[half], truth.label[half])
        total: torch.Tensor = JointLoss(**options, share=share)(Output(output.mask[half], output.classes[half]), piece).total
        return total

    for half in halves:
        part(half, lambda count: counts.append(count) or count)
    mean = torch.stack(counts).mean(dim=0)
    together = torch.stack([part(half, lambda _: mean) for half in halves]).mean()
    torch.testing.assert_close(together, whole)
    torch.testing.assert_close(_grads(output, together), _grads(output, whole))


def test_wrong_choices_are_named() -> None:
    with pytest.raises(errors.OptionError, match=r"mask_loss='jaccard' is unknown.*dice_ce"):
        JointLoss(mask_loss="jaccard")
    with pytest.raises(errors.OptionError, match="above 0"):
        JointLoss(task_weights="learned", class_weight=0.0)


def test_the_values_of_a_missing_mask_do_not_matter() -> None:
    output, truth = _batch()
    known = torch.tensor([True, False, True])
    other = truth.mask.clone()
    other[1] = torch.nan
    one, two = (JointLoss()(output, Truth(mask, known, truth.label)).total for mask in (truth.mask, other))
    torch.testing.assert_close(one, two)


def test_nothing_known_is_zero_and_still_has_a_gradient() -> None:
    output, truth = _batch()
    loss = JointLoss()(output, Truth(truth.mask, torch.zeros(3, dtype=torch.bool), torch.full((3,), NO_LABEL))).total
    assert loss.item() == 0
    assert not any(grad.any() for grad in _grads(output, loss))


def test_one_head_off() -> None:
    output, truth = _batch()
    both = JointLoss()(output, truth).total
    masks, classes = (JointLoss()(one, truth) for one in (Output(output.mask, None), Output(None, output.classes)))
    assert masks.classes is None
    assert classes.mask is None
    torch.testing.assert_close(both, masks.total + classes.total)


def test_a_loss_of_ones_own_gets_the_scans_whose_truth_is_known() -> None:
    output, truth = _batch()
    assert output.mask is not None
    assert output.classes is not None
    partial = Truth(truth.mask, torch.tensor([True, False, True]), torch.tensor([NO_LABEL, 1, 2]))
    expected = F.binary_cross_entropy_with_logits(output.mask[[0, 2]], truth.mask[[0, 2]])
    expected_class = F.cross_entropy(output.classes[1:], truth.label[1:])

    def per_scan(logits: Tensor, mask: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, mask, reduction="none").flatten(1).mean(dim=1)

    for mask_loss in (per_scan, torch.nn.BCEWithLogitsLoss()):
        loss = JointLoss(mask_loss=mask_loss, class_loss=torch.nn.CrossEntropyLoss(), label_smoothing=0.0)
        found = loss(output, partial)
        torch.testing.assert_close(found.mask, expected)
        torch.testing.assert_close(found.classes, expected_class)
    nothing = loss(output, Truth(truth.mask, torch.zeros(3, dtype=torch.bool), torch.full((3,), NO_LABEL)))
    assert nothing.total == 0
    with pytest.raises(errors.OptionError, match=r"mask_loss: returns a tensor of 1x16x16"):
        JointLoss(mask_loss=lambda logits, mask: (logits - mask)[0])(output, truth)
