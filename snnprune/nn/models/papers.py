"""The networks of the papers, one function each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.nn.models.kit import Kit, analogue, spiking
from snnprune.nn.models.notation import Network, network

if TYPE_CHECKING:
    from snnprune.config.schema import ModelConfig

Shape = tuple[int, int, int]

CONV = "15C3-AvgPool2-40C3-AvgPool2-Flatten-{hidden}FC"
CIFAR = "128C3-BN-128C3-BN-MaxPool2-256C3-BN-256C3-BN-MaxPool2-512C3-BN-512C3-BN-Flatten-{hidden}FC"
VGG16 = (
    "64C3-BN-64C3-BN-MaxPool2-128C3-BN-128C3-BN-MaxPool2-256C3-BN-256C3-BN-256C3-BN-MaxPool2-"
    "512C3-BN-512C3-BN-512C3-BN-MaxPool2-512C3-BN-512C3-BN-512C3-BN-MaxPool2-Flatten-{hidden}FC-{hidden}FC"
)


def conv_snn(config: ModelConfig, shape: Shape, classes: int) -> Network:
    """15C3-AvgPool2-40C3-AvgPool2-Flatten-300FC-K: MNIST, N-MNIST and DVS-Gesture.

    **[reading]** The paper does not print the padding. With one pixel ("same") the first fully connected
    layer holds 98.6 % of the weights at 28 x 28 and 98.9 % at 2 x 34 x 34, which are the shares that follow
    from the paper; without padding it would hold 97.2 % and 98.0 %.
    """
    return network(CONV.format(hidden=config.hidden or 300), _spiking(config), shape, classes)


def vgg_snn(config: ModelConfig, shape: Shape, classes: int) -> Network:
    """The paper's CIFAR-10 network: six convolutions with batch norm, two maximum pools, 512 hidden units.

    **[reading]** Padding of one pixel, as in `conv_snn`: the first fully connected layer then holds 78.6 % of
    the weights, as follows from the paper.
    """
    return network(CIFAR.format(hidden=config.hidden or 512), _spiking(config), shape, classes)


def mlp_snn(config: ModelConfig, shape: Shape, classes: int) -> Network:
    """784-H-K, the paper's 2FC network for MNIST.

    **[reading]** The paper does not print H; 800 is the customary width of a two-layer network that reaches
    the paper's 98.8 %.
    """
    return network(f"Flatten-{config.hidden or 800}FC", _spiking(config), shape, classes)


def conv_ann(config: ModelConfig, shape: Shape, classes: int) -> Network:
    """`conv_snn` with ReLU in place of spikes, and without time."""
    return network(CONV.format(hidden=config.hidden or 300), _analogue(config), shape, classes)


def vgg_ann(config: ModelConfig, shape: Shape, classes: int) -> Network:
    """`vgg_snn` with ReLU in place of spikes, and without time."""
    return network(CIFAR.format(hidden=config.hidden or 512), _analogue(config), shape, classes)


def lenet_ann(config: ModelConfig, shape: Shape, classes: int) -> Network:
    """20C5-MaxPool2-50C5-MaxPool2-Flatten-500FC-K with ReLU: the paper's ANN for MNIST.

    **[reading]** No padding, as in the LeNet whose numbers these are.
    """
    text = f"20C5-MaxPool2-50C5-MaxPool2-Flatten-{config.hidden or 500}FC"
    return network(text, _analogue(config), shape, classes, padding="valid")


def vgg16_ann(config: ModelConfig, shape: Shape, classes: int) -> Network:
    """VGG16 with batch norm and ReLU: the paper's ANN for CIFAR-10.

    **[reading]** Thirteen convolutions and three fully connected layers, the two hidden ones of 512 units:
    at 32 x 32 they see 512 channels in one place, for which ImageNet's 4096 would be out of scale.
    """
    return network(VGG16.format(hidden=config.hidden or 512), _analogue(config), shape, classes)


def mlp_ann(config: ModelConfig, shape: Shape, classes: int) -> Network:
    """784-H-K, the twin of `mlp_snn`; with sigmoid units the network of the BSP and BDNN papers."""
    return network(f"Flatten-{config.hidden or 800}FC", _analogue(config), shape, classes)


def _spiking(config: ModelConfig) -> Kit:
    return spiking(config.detach_reset, config.dropout)


def _analogue(config: ModelConfig) -> Kit:
    return analogue(config.activation, config.dropout)
