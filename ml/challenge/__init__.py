"""Planted candidates: bad ones that promotion must stop and good ones that it must not, tried on a simulated market."""
