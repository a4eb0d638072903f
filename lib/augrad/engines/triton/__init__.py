"""One kernel for a stage, whatever the images drew: the operations of `augrad.ops` as Triton kernels.

kinds: which operations have a kernel. pixels: pieces that the kernels share. statistics: what must be known of a whole
image first. blur: a pass that only one operation needs. forward, backward: the two kernels of a stage. launch: what
calls them. stage: all of it as one differentiable function.
Only `kinds` and `stage` can be imported where Triton is missing.
"""
