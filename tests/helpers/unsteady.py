"""What unsteady.c does, for machines without a compiler."""

import os
import signal
import sys
import time


def main() -> int:
    state, events, bad, output = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    chance = int.from_bytes(os.urandom(4), "little")
    if bad:
        sys.stderr.write("this design always fails\n")
        return 3
    wrong = chance % 1000 < int(os.environ.get("FAULTS", "0"))
    kind = chance // 1000 % 8 if wrong else 8
    with open(output, "wb") as file:  # noqa: PTH123  # start-up matters here
        time.sleep(0.005)
        if kind == 0:
            file.write(b"a,b\n1,")
            file.flush()
            time.sleep(3600)
        if kind in (1, 2):
            os.kill(os.getpid(), signal.SIGSEGV)
        if kind in (3, 4):
            file.write(bytes(chance >> (k % 24) & 255 for k in range(64)))
            return 0
        file.write(b"a,b\n")
        for _ in range(events // 2 if wrong else events):
            row = []
            for _ in range(2):
                state = (state * 1103515245 + 12345) % 2147483648
                row.append(f"{state / 2147483648:.9f}")
            file.write(",".join(row).encode() + b"\n")
        time.sleep(0.005)
    return 0


if __name__ == "__main__":
    sys.exit(main())
