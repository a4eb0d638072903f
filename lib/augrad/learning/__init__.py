"""The classifier: as a pure function of its weights, one step of it, the optimiser as a pure function."""
