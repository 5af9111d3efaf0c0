"""What the answers so far say about the boundary's normal: a Gaussian belief over its low-frequency coefficients.

A probe at distance r from a point of the boundary, in the unit direction u, is answered wrongly if theta . u + b > 0,
theta the unit normal and b the point's own offset / r. Averaging the answers, as HopSkipJump does, throws away what is
known already; this is Bayesian probit regression over all probes (Opper 1998, assumed density filtering), which needs
several times fewer. The next probes are drawn where the belief is wide (S g, g normal) and at right angles to its
mean, where an answer is most open.

N probes of a block, d coefficients; the last coordinate of the belief is the offset b.
"""

import math

import numpy as np
import numpy.typing as npt

from attack.decision.problem import Hits, Vector

Matrix = npt.NDArray[np.float64]


class NormalPosterior:
    """N(mean, covariance) over (theta, b)."""

    def __init__(self, prior: Vector, offset: float = 0.05, noise: float = 0.01) -> None:
        """`prior` (d,) variances, `offset` and `noise` standard deviations; |theta| is about 1."""
        self.prior = np.append(prior / prior.sum(), np.float32(offset**2)).astype(np.float32)
        self.noise = noise
        self.mean: Vector = np.zeros(len(self.prior), np.float32)
        self.covariance: Vector = np.diag(self.prior)

    def guess(self, direction: Vector, length: float) -> None:
        """Begin with a mean along a (d,) direction, weighted by the prior."""
        weighted = direction * self.prior[:-1]
        self.mean[:-1] = weighted * np.float32(length / max(float(np.linalg.norm(weighted)), 1e-12))

    def normal(self) -> Vector:
        """(d,) the mean direction, a unit vector."""
        theta: Vector = self.mean[:-1] / max(float(np.linalg.norm(self.mean[:-1])), 1e-12)
        return theta

    def draw(self, rng: np.random.Generator, n: int) -> Vector:
        """(n, d) unit directions to probe next."""
        shape = (n, len(self.prior) - 1)
        directions: Vector = rng.standard_normal(shape, dtype=np.float32) @ self.covariance[:-1, :-1]
        normal = self.normal()
        directions -= np.outer(directions @ normal, normal)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return directions

    def update(self, directions: Vector, hits: Hits) -> None:
        """Take the answers to a block of (N, d) unit directions. N is small: the cost is N d^2 + N^3."""
        u = np.column_stack([directions, np.ones(len(directions), np.float32)])
        us = u @ self.covariance
        prior_covariance = (us @ u.T).astype(np.float64)
        shift, root = self._filter(prior_covariance, (u @ self.mean).astype(np.float64), hits)
        self.mean += us.T @ shift.astype(np.float32)
        removed = root.astype(np.float32) @ us
        self.covariance -= removed.T @ removed

    def move(self, forget: float) -> None:
        """The point moved: its offset is new, and the normal there differs a little."""
        self.mean[-1] = 0
        self.covariance *= np.float32(1 - forget)
        self.covariance[-1, :] = self.covariance[:, -1] = 0
        places = np.arange(len(self.prior))
        self.covariance[places, places] += np.float32(forget) * self.prior
        self.covariance[-1, -1] = self.prior[-1]

    def _filter(self, c: Matrix, mean: Matrix, hits: Hits) -> tuple[Matrix, Matrix]:
        """Belief over the block's N values theta . u + b, prior N(mean, c), one answer after the other.

        The mean moves by c @ shift, the covariance loses (root c)^T (root c): returns shift (N,) and root (N, N).
        """
        n = len(mean)
        # The noise grows with the width of the belief: curvature and rounding make the model wrong by a share of it.
        noise = self.noise**2 + 1e-3 * float(np.trace(c)) / n
        m, shift = mean.copy(), np.zeros(n)
        roots, lost = np.zeros((n, n)), np.zeros((n, n))  # row i: what answer i adds to root, and the same times c
        for i, hit in enumerate(hits.tolist()):
            gain = -(lost[:i, i] @ roots[:i])
            gain[i] += 1
            column = c @ gain  # of the covariance that answers 0 ... i - 1 left
            variance = float(column[i]) + noise
            sign = 1.0 if hit else -1.0
            z = sign * float(m[i]) / math.sqrt(variance)
            ratio = _inverse_mills(z)
            step = sign * ratio / math.sqrt(variance)
            m += step * column
            shift += step * gain
            weight = math.sqrt(max(ratio * (ratio + z), 0.0) / variance)
            roots[i], lost[i] = weight * gain, weight * column
        return shift, roots


def _inverse_mills(z: float) -> float:
    """phi(z) / Phi(z), also where Phi(z) is next to nothing."""
    if z < -8:
        return -z
    return math.exp(-z * z / 2) / (math.sqrt(math.pi / 2) * math.erfc(-z / math.sqrt(2)))
