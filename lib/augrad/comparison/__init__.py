"""Judging policies: the same classifier is trained with each of them, and what the trainings say is put in words."""
