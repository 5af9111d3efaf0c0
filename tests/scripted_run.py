"""`trades-bob` with a line of metrics for every step, so that two runs can be compared step by step."""

import trades_bob
from train import loop

if __name__ == "__main__":
    loop.LOG_EVERY_STEPS = 1
    trades_bob.main()
