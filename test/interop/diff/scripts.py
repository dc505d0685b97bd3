"""Scenes in which the order matters: groups whose members join together, fetch sessions, sequences of a producer."""
def run(tester, world, rng, size):
    tester.mixed(world, rng, size)
