"""The commands: `augrad search`, `train`, `compare` and `policy`. The only code that knows Hydra."""
