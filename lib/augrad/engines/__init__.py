"""Ways to the same pixels, each behind one contract.

contract: what an engine is, and what it is given. choice: which one runs. apply: what a policy calls. reference,
grouped, numba, triton: the engines. What an operation does stands in `augrad.ops` alone.
"""
