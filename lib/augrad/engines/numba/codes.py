"""The numbers by which compiled code knows operations."""

COPY = 0
SHEAR_X = 1
SHEAR_Y = 2
TRANSLATE_X = 3
TRANSLATE_Y = 4
ROTATE = 5
HORIZONTAL_FLIP = 6
VERTICAL_FLIP = 7
BRIGHTNESS = 8
COLOR = 9
CONTRAST = 10
GRAYSCALE = 11
INVERT = 12
AUTO_CONTRAST = 13
EQUALIZE = 14
SOLARIZE = 15
SOLARIZE_ADD = 16
POSTERIZE = 17
SHARPNESS = 18
CUTOUT = 19
HUE = 20
GAUSSIAN_BLUR = 21
SAMPLE_PAIRING = 22

CODES = {name.lower(): number for name, number in list(globals().items()) if name.isupper() and name != "COPY"}
"""By the operation's name."""

WITHOUT_MAGNITUDE = (COPY, HORIZONTAL_FLIP, VERTICAL_FLIP, GRAYSCALE, INVERT, AUTO_CONTRAST, EQUALIZE)

SEPARATE = HUE
"""From here on operations have kernels of their own, which take no time to compile where nobody draws them."""
