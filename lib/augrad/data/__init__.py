"""Data sets as uint8 tensors in four disjoint splits, and the stateless order in which a run goes through them."""
