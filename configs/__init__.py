"""The configuration of the commands: Hydra reads it as `pkg://augrad.configs`, from a clone and from a wheel alike."""
