"""One function per figure; importing this package fills the registry, in the order of the report."""

from model_server.evaluation.metrics import ssim, psnr, cpbd, landmarks, lips, head, identity, sync, lse  # noqa: F401, I001
from model_server.evaluation.metrics.registry import METRICS, Metric

__all__ = ["METRICS", "Metric"]
