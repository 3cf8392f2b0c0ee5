"""Distillation: zero for equal outputs, and a pull towards the teacher for different ones."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bcdseg
from bcdseg import Model, Output, Rules, errors
from bcdseg.training.finetune import Teacher, distil


def _output(seed: int, *, scale: float = 3.0) -> Output:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randn(2, 1, 8, 8, generator=generator) * scale
    return Output(mask, torch.randn(2, 3, generator=generator) * scale)


@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 20), temperature=st.floats(0.5, 8))
def test_it_is_zero_for_equal_outputs_and_positive_otherwise(seed: int, scale: float, temperature: float) -> None:
    one, other = _output(seed, scale=scale), _output(seed + 1, scale=scale)
    assert float(distil(one, one, temperature=temperature)) == pytest.approx(0, abs=1e-5)
    assert float(distil(one, other, temperature=temperature)) > 1e-6


@given(seed=st.integers(0, 10**6))
def test_a_step_down_brings_each_head_nearer_to_the_teacher(seed: int) -> None:
    teacher = _output(seed + 1, scale=1)
    mask, classes = (part.clone().requires_grad_() for part in _output(seed, scale=1))
    before = distil(Output(mask, classes), teacher)
    before.backward()
    with torch.no_grad():
        for part, of_teacher in ((mask, teacher.mask), (classes, teacher.classes)):
            assert float((part.grad * (part - of_teacher)).sum()) > 0
        stepped = Output(mask - 0.1 * mask.grad, classes - 0.1 * classes.grad)
        assert float(distil(stepped, teacher)) < float(before)


def test_the_class_term_is_the_divergence_at_the_temperature() -> None:
    student, teacher = _output(1), _output(2)
    p, q = (torch.softmax(one.classes / 4, dim=1) for one in (teacher, student))
    by_hand = 16 * (p * (p / q).log()).sum(dim=1).mean()
    classes = distil(student._replace(mask=None), teacher, temperature=4, class_weight=1)
    torch.testing.assert_close(classes, by_hand)


@pytest.mark.parametrize("head", ["mask", "classes"])
def test_a_head_that_one_of_them_lacks_adds_nothing(head: str) -> None:
    student, teacher = _output(1), _output(2)
    assert distil(student._replace(**{head: None}), teacher) == distil(student, teacher._replace(**{head: None}))
    assert float(distil(Output(student.mask, None), Output(None, teacher.classes))) == 0


def test_no_gradient_goes_to_the_teacher() -> None:
    student, teacher = _output(1), _output(2)
    for part in (*student, *teacher):
        part.requires_grad_()
    distil(student, teacher).backward()
    assert student.mask.grad is not None
    assert teacher.mask.grad is None
    assert teacher.classes.grad is None


def _model(**options: object) -> Model:
    torch.manual_seed(0)
    chosen = {"classes": ["a", "b"], "size": 32, "decoder_channels": (16, 8, 8, 8, 8), **options}
    return bcdseg.create("plain_cnn", **chosen)  # type: ignore[arg-type]


def test_a_teacher_uses_its_own_preprocessing_and_calibration() -> None:
    student = _model()
    teacher = bcdseg.ensemble([_model(), _model()])  # takes intensities as they are, where the student's are normalised
    teacher.rules = Rules(temperature=2.0, class_offsets=(0.5, -1.0))
    pixels = torch.rand(2, 1, 32, 32)
    mean, std = student.preprocessing.mean[0], student.preprocessing.std[0]
    output = Teacher(teacher, student)((pixels - mean) / std)
    with torch.no_grad():
        directly = teacher.network(pixels)
    torch.testing.assert_close(output.mask, directly.mask, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(output.classes, directly.classes / 2 + torch.tensor([0.5, -1.0]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"classes": ["b", "a"]}, "same order"),
        ({"size": 64}, "size"),
        ({"in_channels": 3}, "channels"),
    ],
    ids=str,
)
def test_a_teacher_that_means_something_else_is_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(errors.OptionError, match=reason):
        Teacher(_model(**options), _model())


def test_a_teacher_whose_classes_differ_in_case_is_one_of_the_same_classes() -> None:
    with pytest.warns(errors.DataWarning, match="'A' is 'a', 'B' is 'b'"):
        Teacher(_model(classes=["A", "B"]), _model())


def test_a_teacher_without_a_head_in_common_is_refused() -> None:
    outlines, classes = _model(classes=[], head=None), _model(decoder=None, decoder_channels=None)
    with pytest.raises(errors.OptionError, match="no head in common"):
        Teacher(outlines, classes)
