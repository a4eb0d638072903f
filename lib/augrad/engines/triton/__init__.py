"""One kernel for a stage, whatever the images drew: the operations of `augrad.ops` as Triton kernels.

kinds: which operations have a kernel. pixels: pieces that the kernels share. resampling, sharpness, hue, blur: single
operations, the last with a pass of its own. statistics: what must be known of a whole image first. forward, backward:
the two kernels of a stage. matrices: those of maps that no kernel knows. launch: what calls the kernels. stage: all of
it as one differentiable function.
Only `kinds` and `stage` can be imported where Triton is missing.
"""
