"""Start-up: wall time of commands that answer at once, median of several runs.

python scripts/benchmarks/start_up.py [--repeats 5]
"""

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = (["detectors"], ["--version"], ["optimise", "--cfg", "job"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print("| command | seconds (median) | slowest |\n|---|---|---|")
    for words in COMMANDS:
        seconds = []
        for _ in range(repeats):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-m", "mode_opt.cli", *words], check=True, capture_output=True)
            seconds.append(time.perf_counter() - begin)
        print(f"| mode-opt {' '.join(words)} | {statistics.median(seconds):.2f} | {max(seconds):.2f} |")


if __name__ == "__main__":
    main()
