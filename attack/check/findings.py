"""What a check says: pass, fail or skip, with its reason; and the report of all of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from attack.check.rules import Rules

Outcome = Literal["pass", "fail", "skip"]
FAULTS_TOLD: Final = 3


class Unfit(Exception):  # noqa: N818  (the verdict of a check, not a fault of the program)
    """The submission breaks this rule; the message is the reason."""


class Skipped(Exception):  # noqa: N818
    """This check cannot be made here; the message is the reason."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    check: str
    outcome: Outcome
    reason: str
    figures: dict[str, float] = field(default_factory=dict)
    """What was measured, units in the names."""

    def line(self) -> str:
        """`pass  determinism: 100 times alone ...`."""
        return f"{self.outcome}  {self.check}: {' '.join(self.reason.split())}"


@dataclass
class Report:
    """All findings about one subject, in the order they were made."""

    subject: str
    rules: Rules
    findings: list[Finding] = field(default_factory=list)

    @property
    def fit(self) -> bool:
        """Whether no check failed, and at least one passed."""
        outcomes = {finding.outcome for finding in self.findings}
        return "fail" not in outcomes and "pass" in outcomes

    def verdict(self) -> str:
        """The last line for a person."""
        counts = {name: sum(f.outcome == name for f in self.findings) for name in ("pass", "fail", "skip")}
        told = f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped"
        return f"{'fit' if self.fit else 'not fit'}  {self.subject}: {told}"

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "subject": self.subject,
            "fit": self.fit,
            "rules": self.rules.model_dump(),
            "findings": [asdict(finding) for finding in self.findings],
        }


def joined(faults: Sequence[str]) -> str:
    """The first faults of a check as one reason."""
    more = f"; and {len(faults) - FAULTS_TOLD} more" if len(faults) > FAULTS_TOLD else ""
    return "; ".join(faults[:FAULTS_TOLD]) + more
