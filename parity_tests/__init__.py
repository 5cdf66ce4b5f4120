"""What ``pytest`` runs: gradients, weights after SGD, training, conventions, and the machinery itself."""
