"""Circuits drawn as layered graphs, from the bottom up."""
