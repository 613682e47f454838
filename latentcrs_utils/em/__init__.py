"""Variational EM: the networks f, g and l, every loss of Equations 4 to 14, and Algorithm 1."""
