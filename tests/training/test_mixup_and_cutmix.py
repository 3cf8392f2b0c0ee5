"""MixUp and CutMix blend scan, mask and label by the same fractions, and lose no ground truth."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bcdseg.training.data import sampling
from bcdseg.training.losses import NO_LABEL, Truth


def _batches() -> tuple[tuple[torch.Tensor, Truth], tuple[torch.Tensor, Truth]]:
    """Return black scans of class 0 without a lesion, and white ones of class 1 that are all lesion; the last has no label."""
    known = torch.ones(3, dtype=torch.bool)
    black = torch.zeros(3, 1, 32, 48), Truth(torch.zeros(3, 1, 32, 48), known, torch.tensor([0, 0, NO_LABEL]))
    white = torch.ones(3, 1, 32, 48), Truth(torch.ones(3, 1, 32, 48), known, torch.tensor([1, 1, NO_LABEL]))
    return black, white


@pytest.mark.parametrize("how", ["mixup", "cutmix"])
def test_scan_mask_and_label_are_blended_by_the_same_share(how: str) -> None:
    for number in range(20):
        image, truth = sampling.mixed(how, *_batches(), 2, seed=0, at=(1, number))
        assert torch.equal(image, truth.mask)
        white = image.mean(dim=(1, 2, 3))
        torch.testing.assert_close(truth.label[:2], torch.stack([1 - white[:2], white[:2]], dim=1))
        assert not truth.label[2].any()
        if how == "cutmix":
            assert set(image.unique().tolist()) <= {0.0, 1.0}


def test_steps_differ_and_one_step_is_always_the_same() -> None:
    shares = [sampling.mixed("mixup", *_batches(), 2, seed=0, at=(0, number))[0].mean().item() for number in (0, 1, 0)]
    assert shares[0] == shares[2] != shares[1]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20), st.integers(0, 5))
def test_only_scans_with_the_same_ground_truth_are_mixed(known: list[tuple[bool, bool]], epoch: int) -> None:
    indices = list(range(len(known)))
    partners = sampling.pairing(known, share=1.0, seed=0)(epoch, 0, indices)
    assert partners is not None
    assert sorted(partners) == indices
    assert all(known[one] == known[other] for one, other in enumerate(partners))


def test_the_share_of_steps_is_mixed() -> None:
    pair = sampling.pairing([(True, True)] * 4, share=0.3, seed=0)
    mixed = Counter(pair(0, number, range(4)) is not None for number in range(1000))
    assert 250 < mixed[True] < 350
    assert sampling.pairing([(True, True)] * 4, share=0.0, seed=0)(0, 0, range(4)) is None
