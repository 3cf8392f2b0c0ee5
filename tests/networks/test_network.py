"""Encoders, decoders and heads: shapes, gradients and options."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bcdseg import Network, NetworkConfig, Output, create, errors
from bcdseg.networks.config import DECODERS
from bcdseg.networks.folding import fold_batch_norm
from bcdseg.networks.network import build_network, gated

ENCODERS = [
    "plain_cnn",
    "resnet50",
    "vgg16",
    "vgg16_bn",
    "mobilenet_v2",
    "densenet121",
    "efficientnet-b0",
    "tu-tf_efficientnet_lite0",
    "tu-convnext_tiny",
]
CLASSES = ("normal", "benign", "malignant")


def _build(encoder: str = "plain_cnn", **options: object) -> Network:
    torch.manual_seed(0)
    return build_network(NetworkConfig(**{"encoder": encoder, "classes": CLASSES, **options}))  # type: ignore[arg-type]


def _lived_in(network: Network) -> Network:
    """Return a network as after some training, with statistics of data in its batch norms."""
    network.train()
    with torch.no_grad():
        network(torch.randn(4, network.config.in_channels, 64, 64))
    return network.eval()


def _run(network: Network, image: Tensor) -> Output:
    with torch.inference_mode():
        return network(image)  # type: ignore[no-any-return]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_first_class_encoder_and_its_folded_copy(encoder: str) -> None:
    network = _lived_in(_build(encoder))
    image = torch.randn(2, 1, 64, 96)
    output = _run(network, image)
    assert output.mask is not None
    assert output.classes is not None
    assert output.mask.shape == (2, 1, 64, 96)
    assert output.classes.shape == (2, 3)
    folded = _run(fold_batch_norm(network), image)
    torch.testing.assert_close(folded.mask, output.mask, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(folded.classes, output.classes, atol=2e-4, rtol=1e-3)


def test_folding_leaves_no_batch_norm_and_does_not_touch_the_original() -> None:
    network = _lived_in(_build("mobilenet_v2"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold_batch_norm(network)
    assert not [module for module in folded.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_an_activation_in_place_between_convolution_and_norm_is_not_folded_over() -> None:
    network = _build()
    network.mask_head = torch.nn.Sequential(
        torch.nn.Conv2d(16, 4, 3, padding=1), torch.nn.ReLU(inplace=True), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 1, 1)
    )
    network = _lived_in(network)
    image = torch.randn(1, 1, 64, 64)
    torch.testing.assert_close(_run(fold_batch_norm(network), image).mask, _run(network, image).mask, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_by_name(decoder: str) -> None:
    network = _build("mobilenet_v2", decoder=decoder).eval()
    output = _run(network, torch.randn(1, 1, 128, 128))
    assert output.mask is not None
    assert output.mask.shape == (1, 1, 128, 128)


def test_one_head_off() -> None:
    image = torch.randn(1, 1, 64, 64)
    classes_only = _run(_build(decoder=None, head="global").eval(), image)
    assert classes_only.mask is None
    assert classes_only.classes is not None
    mask_only = _run(_build(head=None, classes=()).eval(), image)
    assert mask_only.classes is None
    assert mask_only.mask is not None


@pytest.mark.parametrize("head", ["guided", "global"])
def test_a_dense_layer_before_the_last_of_the_head(head: str) -> None:
    with_layer, without = (_build(decoder=None if head == "global" else "unet", head=head, hidden=hidden) for hidden in (512, None))
    assert with_layer.class_head.linear.in_features == 512
    image = torch.randn(2, 1, 64, 64)
    assert with_layer(image).classes.shape == without(image).classes.shape == (2, 3)
    classes = with_layer.eval()(image).classes
    torch.testing.assert_close(_run(fold_batch_norm(with_layer), image).classes, classes, atol=2e-4, rtol=1e-3)


def test_a_config_written_before_there_were_dense_layers_still_builds() -> None:
    old = {"encoder": "plain_cnn", "classes": ["a", "b"], "no_lesion": None, "decoder": None, "head": "global", "in_channels": 1}
    assert NetworkConfig.from_dict(old).hidden is None


@pytest.mark.parametrize("head", ["guided", "global"])
def test_all_parts_learn(head: str) -> None:
    network = _build(head=head)
    output = network(torch.randn(2, 1, 64, 64))
    (output.mask.mean() + output.classes.square().mean()).backward()
    parts = {name.split(".")[0] for name, value in network.named_parameters() if value.grad is not None and value.grad.any()}
    assert parts == {"encoder", "decoder", "mask_head", "class_head"}


def test_the_guided_head_reads_the_mask_and_does_not_bend_it() -> None:
    network = _build()
    classes = network(torch.randn(2, 1, 64, 64)).classes
    classes.square().sum().backward()
    assert network.mask_head[0].weight.grad is None  # type: ignore[index]
    network.eval()
    image = torch.randn(1, 1, 64, 64)
    before = _run(network, image).classes
    with torch.no_grad():
        network.mask_head[0].bias += 5  # type: ignore[index, operator]
    assert not torch.allclose(_run(network, image).classes, before)


def test_a_gated_mask_is_the_free_one_times_the_probability_of_a_lesion() -> None:
    free, joint = (_build(no_lesion="normal", gated=gated).eval() for gated in (False, True))
    image = 3 * torch.randn(4, 1, 64, 64)
    apart, together = _run(free, image), _run(joint, image)
    torch.testing.assert_close(together.classes, apart.classes)
    lesion = 1 - torch.softmax(apart.classes, dim=1)[:, 0]  # type: ignore[arg-type]
    expected = torch.sigmoid(apart.mask) * lesion[:, None, None, None]  # type: ignore[arg-type]
    torch.testing.assert_close(torch.sigmoid(together.mask), expected)  # type: ignore[arg-type]


def test_a_gate_neither_opens_nor_shuts_so_far_that_its_logits_end() -> None:
    mask = torch.tensor([-200.0, 0.0, 200.0]).view(1, 1, 1, 3).expand(2, -1, -1, -1)
    logits = gated(mask, torch.tensor([[150.0, 0.0, 0.0], [-150.0, 0.0, 0.0]]), 0)
    assert logits.isfinite().all()
    assert (torch.sigmoid(logits[0]) == 0).all()
    torch.testing.assert_close(torch.sigmoid(logits[1]).flatten(), torch.tensor([0.0, 0.5, 1.0]))


def test_input_sizes_that_do_not_fit_are_refused_with_the_size_that_does() -> None:
    with pytest.raises(errors.OptionError, match="160x192"):
        _build()(torch.randn(1, 1, 150, 180))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"encoder": "resnet5"}, "'resnet5' is unknown.*mobilenet_v2"),
        ({"encoder": "tu-nothing"}, "'tu-nothing' is unknown"),
        ({"decoder": "yolo"}, "unet, unetplusplus"),
        ({"head": "big"}, "guided, global"),
        ({"classes": ("one",)}, "two or more"),
        ({"classes": ("a", "a")}, "twice"),
        ({"classes": "benign"}, "list of names"),
        ({"head": None}, r"classes=\[\]"),
        ({"decoder": None, "head": None, "classes": ()}, "no output"),
        ({"decoder": None}, "needs a decoder"),
        ({"no_lesion": "healthy"}, "'healthy' is not one"),
        ({"in_channels": 2}, "choose 1"),
        ({"dropout": 1.0}, "dropout"),
        ({"hidden": 0}, "hidden"),
        ({"gated": True}, "gated=True needs .* 'no lesion'"),
        ({"gated": True, "no_lesion": "normal", "decoder": None, "head": "global"}, "needs a decoder"),
        ({"gated": "yes"}, "True or False"),
        ({"decoder": "deeplabv3"}, "do not go together"),
        ({"decoder": "fpn", "decoder_channels": (8,)}, "decoder_channels"),
    ],
    ids=str,
)
def test_what_can_not_be_built_is_refused_with_the_choices(options: dict[str, object], reason: str) -> None:
    with pytest.raises(errors.OptionError, match=reason):
        _build(**options)


@pytest.mark.parametrize("classes", [None, 3])
def test_classes_that_are_not_a_list_are_refused(classes: object) -> None:
    with pytest.raises(errors.OptionError, match=f"classes={classes}: give a list of names"):
        create("plain_cnn", classes=classes)  # type: ignore[arg-type]


def test_a_seed_is_a_whole_number() -> None:
    with pytest.raises(errors.OptionError, match="seed=-1: give a whole number of 0 or more"):
        create("tu-tf_efficientnet_lite0", classes=("benign", "malignant"), weights=None, size=64, seed=-1)
