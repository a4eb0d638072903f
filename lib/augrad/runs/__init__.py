"""What a run leaves behind: files written atomically, the metrics log, checkpoints, experiment trackers."""
