"""The classifier's training: the network and the optimiser as pure functions, and one step of training."""
