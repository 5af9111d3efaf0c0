"""Shares of the photos, and their verdict: by the count on all photos given, beyond chance on a draw of them."""

from dataclasses import dataclass

from attack.check.findings import Unfit
from attack.evaluation.scoring import Interval, wilson


@dataclass(frozen=True)
class Share:
    """`count` of `n` photos."""

    count: int
    n: int
    drawn: bool = False
    """Whether the photos are a draw of those given (--limit)."""

    @property
    def value(self) -> float:
        """From 0 to 1; n is not 0."""
        return self.count / self.n

    @property
    def interval(self) -> Interval:
        """What the share may be on all photos of this kind, with 95 % confidence (Wilson)."""
        return wilson(self.count, self.n)

    def figures(self, counted: str, of: str) -> dict[str, float]:
        """For the report, under these names."""
        return {counted: self.count, of: self.n, "low": self.interval.low, "high": self.interval.high}


def judge(share: Share, what: str, bound: float, upper: bool) -> str:
    """The reason of a pass; raises Unfit with that of a failure. The bound is the most allowed (upper) or the least.

    The contest's bounds are on its own clean photos, so on all photos given the count decides. A draw of them fails
    only where the whole interval lies beyond the bound: a classifier at the bound breaks it in every second draw.
    """
    sign, nearest = (1, share.interval.low) if upper else (-1, share.interval.high)
    beyond, surely = sign * (share.value - bound) > 0, sign * (nearest - bound) > 0
    low, high = share.interval
    said = (
        f"{share.count} of {share.n} {what} ({share.value:.1%}, 95% interval {low:.1%} to {high:.1%}; "
        f"{'at most' if upper else 'at least'} {bound:.0%})"
    )
    if beyond and not surely:
        told = "by chance perhaps, all photos would tell" if share.drawn else "by the count, though perhaps by chance"
        said += f": beyond the bound {told}"
    if surely if share.drawn else beyond:
        raise Unfit(said)
    return said
