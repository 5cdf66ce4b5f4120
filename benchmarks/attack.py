"""Attack every bound: what an adversary reaches of it, as a table. The long form of a test.

    python benchmarks/attack.py [--generations 400] [--seeds 3]

For each row of the table of formulas, every way of computing it that was met in a framework is run in an arithmetic
that errs as far as the hypotheses of docs/mathematics.md allow, and inputs and roundings are searched for the largest
error/bound, with ordinary inputs and with some among the subnormal numbers. Above 1 a bound would be wrong; far below
1, too loose. Exits with 1 where one is exceeded.
"""

from __future__ import annotations

import argparse
import sys

from gradparity.parity_tests.adversary import Outcome, attacks, nearest


def main() -> int:
    """Print one line for each row, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generations", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    outcomes = [outcome for seed in range(chosen.seeds) for outcome in attacks(chosen.generations, seed)]
    found = nearest(outcomes)
    kinds = [(dtype, subnormal) for dtype in ("float32", "float64") for subnormal in (False, True)]
    print(f"{'row':27}" + "".join(f"{dtype + (' sub' if sub else ''):>13}" for dtype, sub in kinds) + "  by (float32)")
    for row in dict.fromkeys(outcome.row for outcome in outcomes):
        ratios = "".join(f"{found[row, *kind].ratio:13.3f}" for kind in kinds)
        print(f"{row:27}{ratios}  {found[row, 'float32', False].program}")
    return report([outcome for outcome in outcomes if not outcome.ratio <= 1.0])


def report(exceeded: list[Outcome]) -> int:
    """Print the outcomes beyond their bound, and return the exit status."""
    for outcome in exceeded:
        print(f"EXCEEDED: {outcome}")
    return int(bool(exceeded))


if __name__ == "__main__":
    sys.exit(main())
