"""The operations as machine code for a CPU: each pixel read once and written once, in one call a stage."""
