"""
Pi by Monte Carlo: random points of a square, and how many of them lie in the circle. From examples/map:

    PYTHONPATH=../../clients/python python3 pi.py [calls] [points per call]
"""
import random
import sys

from skep_map import Executor


def in_circle(throws):
    seed, points = throws
    chance = random.Random(seed)
    return sum(1 for _ in range(points) if chance.random() ** 2 + chance.random() ** 2 < 1)


if __name__ == '__main__':
    calls, points = [int(given) for given in sys.argv[1:3]] or [20, 100_000]
    with Executor() as run:
        inside = run.results(run.map(in_circle, [(seed, points) for seed in range(calls)]))
    print(4 * sum(inside) / (calls * points))
