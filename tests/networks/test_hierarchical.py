"""The hierarchical head: two decisions in sequence, one row of class probabilities."""

import numpy as np
import pytest
import torch
from made import scan

import bcdseg
from bcdseg.errors import OptionError

CLASSES = ("benign", "normal", "malignant")
SCAN = scan(0)[0]


def _model(**options):
    return bcdseg.create("plain_cnn", classes=CLASSES, head="hierarchical", size=64, device="cpu", **options)


def test_its_probabilities_are_those_of_the_two_decisions():
    network = _model().network.eval()
    image = torch.randn(3, 1, 64, 64)
    features = network.encoder(image)
    decoded = network.decoder(features)
    mask = network.mask_head(decoded)
    decisions = network.class_head.decide(features, decoded, mask)
    presence = torch.sigmoid(network.class_head.presence(torch.cat([decisions.evidence, decisions.context], dim=1)))[:, 0]
    given = torch.softmax(decisions.lesion_classes, dim=1)
    found = torch.softmax(network(image).classes, dim=1)
    torch.testing.assert_close(found[:, 1], 1 - presence)
    torch.testing.assert_close(found[:, [0, 2]], presence[:, None] * given)


def test_needs_a_negative_class_and_two_others():
    with pytest.raises(OptionError, match="hierarchical"):
        bcdseg.create("plain_cnn", classes=["benign", "malignant"], head="hierarchical", size=64)


def test_is_saved_and_loaded(tmp_path):
    model = _model()
    again = bcdseg.load(model.save(tmp_path / "model"), runtime="torch", device="cpu")
    first, second = model.run_on("torch").predict(SCAN), again.predict(SCAN)
    assert first.probabilities == second.probabilities
    np.testing.assert_array_equal(first.mask, second.mask)


@pytest.mark.parametrize(
    ("classes", "head"), [(("normal", "benign", "suspicious"), "hierarchical"), (("benign", "malignant", "cyst"), "guided")]
)
def test_takes_other_classes(classes, head):
    from bcdseg.training.finetune import adapt

    model = _model()
    adapted, changed = adapt(model, classes)
    assert adapted.network.config.head == head
    assert adapted.classes == classes
    assert changed is not None
    assert set(adapted.run_on("torch").predict(SCAN).probabilities) == set(classes)
    assert model.classes == CLASSES


def test_an_outline_below_the_presence_threshold_is_a_candidate():
    model = _model().run_on("torch")
    model.rules = bcdseg.Rules(threshold=0.01, min_lesion_share=0, presence_threshold=0)
    finding = model.predict(SCAN)
    assert finding.lesions
    assert finding.mask.any()
    assert not finding.candidates
    assert finding.candidate_mask is None
    model.rules = bcdseg.Rules(threshold=0.01, min_lesion_share=0, presence_threshold=0.999)
    candidate = model.predict(SCAN)
    assert not candidate.lesions
    assert not candidate.mask.any()
    assert candidate.candidates == finding.lesions
    np.testing.assert_array_equal(candidate.candidate_mask, finding.mask)
    assert "candidate" in [flag.code for flag in candidate.flags]
    assert len(candidate.to_dict()["candidates"]) == len(finding.lesions)
    assert candidate.probabilities == finding.probabilities
    assert np.any(np.asarray(candidate.overlay()) != np.asarray(finding.overlay()))
