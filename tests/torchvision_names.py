"""What torchvision calls operations."""

NAMES = {
    "Identity": "identity",
    "ShearX": "shear_x",
    "ShearY": "shear_y",
    "TranslateX": "translate_x",
    "TranslateY": "translate_y",
    "AutoContrast": "auto_contrast",
}
"""Torchvision's names of operations, where they are not ours in capitals."""
