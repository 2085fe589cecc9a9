"""How right the labels of a committee are, and how often it needs an arbiter, where the truth is known.

    .venv/bin/python -m benchmarks.committee [--rows 1000] [--seeds 3] [--runs 200]

Members err by chance, each as often as is told, and when wrong in what matters; right answers differ in wording, key
order and defaults. The last accuracy is that of the recorded answers, which vote too. Real members err together more
often than these: of labels that all get wrong no vote can tell.

Then the base model's unfiltered score: how often its 95 % interval holds the truth, over runs whose recorded labels are
wrong more often in hard conversations and whose references come from a committee that errs as well.
"""

import argparse
from collections.abc import Sequence

from benchmarks.simulated_committees import FORMS, Outcome, baseline, simulate

COMMITTEES = (
    (0.95, 0.6, 0.6, 0.6),
    (0.9, 0.8, 0.7, 0.6),
    (0.8, 0.8, 0.8, 0.6),
    (0.6, 0.65, 0.7, 0.6),
    (0.6, 0.6, 0.6, 0.6),
    (0.9, 0.8, 0.7, 0.6, 0.7),
    (0.95, 0.9, 0.85, 0.8, 0.7, 0.6),
)
ARBITER = 0.9
SAMPLES = (20, 50, 100)


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000, help="rows of each committee")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each committee")
    parser.add_argument("--runs", type=int, default=200, help="runs of each sample size")
    given = parser.parse_args()
    print("| answers | members, recorded last | best member | voted | best on these | arbiter asked | all labels |")
    print("|---|---|---|---|---|---|---|")
    for kind in FORMS:
        for accuracies in COMMITTEES:
            print(line([simulate(kind, accuracies, rows=given.rows, seed=seed) for seed in range(given.seeds)]))
    print(f"\nAll labels: with an arbiter that is right in {ARBITER:.0%}.\n")
    print("| conversations in the sample | runs | truth held | mean width |")
    print("|---|---|---|---|")
    for sample in SAMPLES:
        found = [baseline(seed, sample=sample) for seed in range(given.runs)]
        widths = [(one.interval.high or 0) - (one.interval.low or 0) for one in found]
        held = sum(one.holds for one in found) / len(found)
        print(f"| {sample} | {len(found)} | {held:.1%} | {sum(widths) / len(widths):.3f} |")


def line(found: Sequence[Outcome]) -> str:
    """One committee's row of the table, over all its runs."""
    rows, voted = sum(one.rows for one in found), sum(one.voted for one in found)
    best = max(map(sum, zip(*(one.members_right_of_all for one in found), strict=True))) / rows
    best_of_voted = max(map(sum, zip(*(one.members_right for one in found), strict=True))) / voted
    right = sum(one.voted_right for one in found) / voted
    arbitrated = sum(one.arbitrated for one in found) / rows
    everything = sum(one.with_arbiter(ARBITER) * one.rows for one in found) / rows
    members = " ".join(f"{accuracy:g}" for accuracy in found[0].accuracies)
    return (
        f"| {found[0].kind} | {members} | {best:.1%} | {right:.1%} | {best_of_voted:.1%} "
        f"| {arbitrated:.1%} | {everything:.1%} |"
    )


if __name__ == "__main__":
    main()
