"""Plain PyTorch: operations that share one pass over the pixels are computed together, each image with its own."""
