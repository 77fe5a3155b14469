"""Names of the metrics of a decoded picture, as columns of tables; without torch."""

METRIC_NAMES = ("psnr", "ms_ssim", "lpips_published", "lpips")
