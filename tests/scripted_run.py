"""`trades-bob` with what the environment says: a line of metrics every LOG_EVERY_STEPS, and a SIGNAL to itself.

SIGNAL="SIGKILL 6" comes just before step 6: no test has to catch a run at work, on whatever machine. Of several
processes the second gets it. None of them gives another up for its silence.
"""

import os
import signal

import trades_bob
from train import loop, ranks


def signal_before(step: int, number: signal.Signals) -> None:
    real = loop.Trainer._step

    def signalled(self: loop.Trainer, phase: object) -> dict[str, float]:
        if self.step + 1 == step:
            os.kill(os.getpid(), number)
        return real(self, phase)

    loop.Trainer._step = signalled


if __name__ == "__main__":
    ranks.SILENCE = ranks.PATIENCE
    loop.LOG_EVERY_STEPS = int(os.environ.get("LOG_EVERY_STEPS", loop.LOG_EVERY_STEPS))
    if "SIGNAL" in os.environ and os.environ.get("RANK", "1") == "1":
        name, step = os.environ["SIGNAL"].split()
        signal_before(int(step), signal.Signals[name])
    trades_bob.main()
