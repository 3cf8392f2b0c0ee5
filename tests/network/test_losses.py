"""The joint loss: what is unknown adds nothing, what is normal is an empty mask."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bcdseg import Output
from bcdseg.network.losses import NO_LABEL, JointLoss, Truth


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


def test_a_missing_mask_or_label_adds_nothing() -> None:
    output, truth = _batch()
    partial = Truth(truth.mask, torch.tensor([True, False, True]), torch.tensor([NO_LABEL, 1, NO_LABEL]))
    mask_grad, class_grad = _grads(output, JointLoss()(output, partial).total)
    assert not mask_grad[1].any()
    assert mask_grad[0].any()
    assert not class_grad[0].any()
    assert class_grad[1].any()


def test_what_a_missing_mask_holds_does_not_matter() -> None:
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
