"""Training: augmentation, networks, the training loop, export, and what others trained. Needs the extra `train`."""
