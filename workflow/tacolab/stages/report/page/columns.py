"""The columns of all tables: what each is called, and how its values are written for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from tacolab.stages.report.layout import DISTANCES, METRICS


@dataclass(frozen=True)
class Column:
    """A column by its name in the CSV files.

    head: as people read it; none: the name. format: of its numbers, which are flush right; none:
    they are not rounded. words: values that people read under another name.
    """

    name: str
    head: str = ""
    format: str = ""
    words: Mapping[Any, str] = field(default_factory=dict)

    def text(self, value: Any) -> str:
        """A cell for people; empty where there is no value."""
        if value is None or pd.isna(value):
            return ""
        if value in self.words:
            return self.words[value]
        if isinstance(value, bool):
            return "yes" if value else ""
        if self.format and not isinstance(value, str):
            return f"{value:{self.format}}"
        if isinstance(value, float) and value.is_integer():  # an integer column with gaps
            return str(int(value))
        return str(value)


_KNOWN = (
    Column("metric", words={metric.column: metric.axis for metric in (*METRICS, *DISTANCES)}),
    Column("dataset", "data set"),
    Column("source", "arm or codec"),
    Column("claimed_in", "claimed in"),
    Column("in_config", "in this config"),
    Column("reference", "against"),
    Column("lmbda", "λ"),
    Column("control", "captions"),
    Column("bpp_real", "bpp (file)", ".4f"),
    Column("bpp_est", "bpp (estimated)", ".4f"),
    Column("psnr", "PSNR [dB]", ".2f"),
    Column("ms_ssim", "MS-SSIM", ".4f"),
    Column("lpips_published", "LPIPS (published range)", ".4f"),
    Column("lpips", "LPIPS (standard range)", ".4f"),
    Column("fid", "FID", ".3f"),
    Column("cmmd", "CMMD", ".3f"),
    Column("best_of", "captions, of which the best (oracle, by LPIPS):"),
    Column("bpp_real_best", "bpp of the best", ".4f"),
    Column("psnr_best", "PSNR of the best [dB]", ".2f"),
    Column("lpips_published_best", "LPIPS of the best (published range)", ".4f"),
    Column("lpips_best", "LPIPS of the best (standard range)", ".4f"),
    Column("encode_seconds", "encode [s]", ".3f"),
    Column("decode_seconds", "decode [s]", ".3f"),
    Column("bd_rate", "BD-rate [%]", "+z.2f"),
    Column("bd_rate_akima", "check: akima [%]", "+z.2f"),
    Column("bd_quality", "BD-quality", "+z.4f"),
    Column("overlap", format=".2f"),
    Column("seeds_range", "single seeds [%]", "+z.2f"),
    Column("rate_change", "bpp, same λ [%]", "+z.2f"),
    Column("change", "change, same λ", "+z.4f"),
    Column("change_percent", "change [%]", "+z.2f"),
    Column("at_equal_rate", "quality at equal rate", "+z.4f"),
    Column("at_equal_rate_percent", "quality at equal rate [%]", "+z.2f"),
    Column("at_equal_quality", "rate at equal quality [%]", "+z.2f"),
    Column("bpp_real_own", "bpp, own", ".4f"),
    Column("bpp_real_control", "bpp, control", ".4f"),
    # Without heads: only the files have them.
    *(
        Column(f"{metric.column}_{side}", format=".4f")
        for metric in METRICS
        for side in ("own", "control")
    ),
    Column("bpp_first", "bpp, first", ".4f"),
    Column("bpp_second", "bpp, second", ".4f"),
    Column("bpp_change", "change of bpp [%]", "+z.2f"),
    Column("ms_ssim_change", "change of MS-SSIM", "+z.5f"),
    Column("psnr_change", "change of PSNR [dB]", "+z.3f"),
    Column("lpips_published_change", "change of LPIPS (published range)", "+z.5f"),
    Column("lpips_change", "change of LPIPS (standard range)", "+z.5f"),
    Column("rate_at_psnr", "rate at equal PSNR [%]", "+z.2f"),
    Column("rate_at_psnr_verdict", "by PSNR"),
    Column("rate_at_lpips", "rate at equal LPIPS [%]", "+z.2f"),
    Column("rate_at_lpips_verdict", "by LPIPS"),
    Column("value", format=".4f"),
    Column("of_reference", "baseline", ".4f"),
    Column("of_arm", "arm", ".4f"),
    Column("claimed_from", "claimed: baseline", ".4f"),
    Column("claimed_to", "claimed: arm", ".4f"),
    Column("bpp_published", "bpp (authors)", ".4f"),
    Column("bpp_deviation", "deviation of bpp [%]", "+z.2f"),
    Column("psnr_published", "PSNR (authors) [dB]", ".2f"),
    Column("psnr_deviation", "deviation of PSNR [dB]", "+z.3f"),
    Column("lpips_claimed", "LPIPS (authors, published range)", ".4f"),
    Column("words", "words, median", ".0f"),
    Column("words_90", "words, 9 of 10 at most", ".0f"),
    Column("positions", "positions read"),
    Column("mean_tokens", "tokens, mean", ".1f"),
    Column("captions_cut", "captions cut [%]", ".1f"),
    Column("tokens_cut", "tokens cut [%]", ".1f"),
    Column("start", "weights from"),
    Column("pairs", "image-caption pairs"),
    Column("minutes", "training [min]", ".1f"),
    Column("best_step", "best step"),
    Column("best_loss", "best validation loss", ".4f"),
    Column("adapter_parameters", "of it text adapter"),
    Column("tokens", "text [tokens]"),
    Column("side", "image side [pixels]"),
    Column("channels", "channels of the adapter"),
    Column("milliseconds", "time [ms]", ".2f"),
    Column("ratio", "time against softmax, in turns", ".3f"),
    Column("memory", "peak memory [MiB]", ".0f"),
    Column("multiply_adds", "multiply-adds", ",.0f"),
    Column("attention_products", "of it attention products", ",.0f"),
)
_BY_NAME = {column.name: column for column in _KNOWN}


def column(name: str) -> Column:
    """The column of this name; a column that nothing is said of stands under it, unrounded."""
    return _BY_NAME.get(name) or Column(name, name)
