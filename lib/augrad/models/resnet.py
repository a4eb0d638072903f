"""The residual network of ImageNet recipes: He et al., Deep Residual Learning for Image Recognition, CVPR 2016."""

from torch import nn
from torchvision.models import resnet50


def resnet_50(in_channels: int, class_count: int) -> nn.Module:
    """torchvision's ResNet-50 without trained weights: images [B, in_channels, H, W] -> logits [B, class_count].

    Meant for 224 x 224 pixels; the features have a 32nd of the image's sides, so that 32 x 32 is the least that is of
    use. For other than three channels the first convolution is made anew, initialised as torchvision's.
    """
    network = resnet50(weights=None, num_classes=class_count)
    if in_channels != 3:
        network.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    return network
