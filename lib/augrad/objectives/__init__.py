"""Objectives: each turns a batch into one scalar per image, as a function of what the policy drew for that image."""
