"""Coding one picture against the way of the published code, in the same process, in turns.

    python benchmarks/codec.py --rounds 5                     Kodak's size, 768 x 512
    python benchmarks/codec.py --megapixels 0.4 1 3 6 24      how cost and memory grow (no baseline)

The published network's size with weights made from their names. The published way is written anew
here: eager fp32, attention with its weights kept, both colours of the checkerboard computed
everywhere and filled with zeros, symbols through Python's lists into CompressAI's coder. Prints
medians and, of each round's ratio to the published way, the median and the least and largest.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from compressai.ans import BufferedRansEncoder, RansDecoder
from torch import Tensor

from tacolab.codec import Taco
from tacolab.codec.network import quicken
from tacolab.codec.precision import Precision, native
from tacolab.codec.shape import pad

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from authors_file import golden

Tables = tuple[list[list[int]], list[int], list[int]]


class Published:
    """The published code's way with the same weights."""

    def __init__(self, model: Taco) -> None:
        self.model = model
        gaussian = model.gaussian_conditional
        self.tables: Tables = (
            gaussian.quantized_cdf.tolist(),
            gaussian.cdf_length.tolist(),
            gaussian.offset.tolist(),
        )

    def encode(self, x: Tensor, text: Tensor) -> tuple[bytes, list[bytes], tuple[int, int]]:
        y = self.g_a(x, text)
        return self.symbols_in(y, self.model.h_a(y))

    def decode(self, coded: tuple[bytes, list[bytes], tuple[int, int]]) -> Tensor:
        return self.g_s(self.symbols_out(coded))

    def g_a(self, x: Tensor, text: Tensor) -> Tensor:
        y: Tensor = self.model.g_a(pad(x), text)
        return y

    def g_s(self, y_hat: Tensor) -> Tensor:
        x_hat: Tensor = self.model.g_s(y_hat)
        return x_hat

    def symbols_in(self, y: Tensor, z: Tensor) -> tuple[bytes, list[bytes], tuple[int, int]]:
        model = self.model
        z_strings = model.entropy_bottleneck.compress(z)
        z_hat = model.entropy_bottleneck.decompress(z_strings, z.shape[-2:])
        symbols: list[int] = []
        indexes: list[int] = []
        groups = y.split(list(model.groups), dim=1)

        def step(group: int, scales: Tensor, means: Tensor, anchors: bool) -> Tensor:
            values, own = squeezed(groups[group], anchors), squeezed(means, anchors)
            rounded = (values - own).round()
            symbols.extend(rounded.int().flatten().tolist())
            found = model.gaussian_conditional.build_indexes(squeezed(scales, anchors))
            indexes.extend(found.flatten().tolist())
            return unsqueezed(rounded + own, anchors)

        self.passes(model.h_s(z_hat), step)
        encoder = BufferedRansEncoder()
        encoder.encode_with_indexes(symbols, indexes, *self.tables)
        return encoder.flush(), z_strings, (z.shape[-2], z.shape[-1])

    def symbols_out(self, coded: tuple[bytes, list[bytes], tuple[int, int]]) -> Tensor:
        y_string, z_strings, shape = coded
        model, decoder = self.model, RansDecoder()
        decoder.set_stream(y_string)
        z_hat = model.entropy_bottleneck.decompress(z_strings, shape)

        def step(group: int, scales: Tensor, means: Tensor, anchors: bool) -> Tensor:
            own = squeezed(means, anchors)
            indexes = model.gaussian_conditional.build_indexes(squeezed(scales, anchors))
            found = decoder.decode_stream(indexes.flatten().tolist(), *self.tables)
            return unsqueezed(torch.tensor(found).view(own.shape) + own, anchors)

        return self.passes(model.h_s(z_hat), step)

    def passes(self, hyper: Tensor, step: Callable[[int, Tensor, Tensor, bool], Tensor]) -> Tensor:
        """Every network at every place; the other colour's places are zeros."""
        model: Any = self.model
        y_hat = hyper[:, :0]
        for i in range(len(model.groups)):
            known = torch.cat([model.channel_context[i](y_hat), hyper], dim=1)
            scales, means = model.entropy_parameters_anchor[i](known).chunk(2, 1)
            anchors = step(i, scales, means, True)
            known = torch.cat([model.local_context[i](anchors), known], dim=1)
            scales, means = model.entropy_parameters_nonanchor[i](known).chunk(2, 1)
            others = step(i, scales, means, False)
            y_hat = torch.cat([y_hat, anchors + others], dim=1)
        return y_hat


def squeezed(x: Tensor, anchors: bool) -> Tensor:
    out = x.new_zeros((*x.shape[:-1], x.shape[-1] // 2))
    out[..., 0::2, :] = x[..., 0::2, int(anchors) :: 2]
    out[..., 1::2, :] = x[..., 1::2, 1 - int(anchors) :: 2]
    return out


def unsqueezed(x: Tensor, anchors: bool) -> Tensor:
    out = x.new_zeros((*x.shape[:-1], 2 * x.shape[-1]))
    out[..., 0::2, int(anchors) :: 2] = x[..., 0::2, :]
    out[..., 1::2, 1 - int(anchors) :: 2] = x[..., 1::2, :]
    return out


@torch.no_grad()
def network() -> Taco:
    """Of the published size. Its Gaussians are made as wide as its latents, so that the coder meets
    few symbols outside of its tables, as with a trained network."""
    model = Taco()
    golden(model).eval()
    nets: Any = [*model.entropy_parameters_anchor, *model.entropy_parameters_nonanchor]
    for net in nets:
        last = net.fusion[-1]
        last.bias[: len(last.bias) // 2] += 1
    model.update(force=True)
    return model


def prepared(precision: Precision) -> Taco:
    model = network()
    quicken(model, precision)
    return model


def picture(height: int, width: int) -> Tensor:
    noise = torch.rand(1, 3, height // 8, width // 8)
    image = torch.nn.functional.interpolate(noise, size=(height, width), mode="bicubic")
    return image.clamp(0, 1)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@torch.inference_mode()
def compare(rounds: int) -> None:
    height, width = 512, 768
    x, text = picture(height, width), torch.randn(1, 38, 512)
    published = Published(network())
    theirs = published.encode(x, text)
    y = published.g_a(x, text)
    z = published.model.h_a(y)
    y_hat = published.symbols_out(theirs)
    baseline: dict[str, Callable[[], object]] = {
        "encode": lambda: published.encode(x, text),
        "decode": lambda: published.decode(theirs),
        "g_a": lambda: published.g_a(x, text),
        "g_s": lambda: published.g_s(y_hat),
        "z and y to strings": lambda: published.symbols_in(y, z),
        "strings to y_hat": lambda: published.symbols_out(theirs),
        "networks of these": lambda: published.passes(
            published.model.h_s(z), lambda i, scales, means, _: means
        ),
    }
    ours: dict[str, dict[str, Callable[[], object]]] = {}
    precisions: list[Precision] = ["fp32", native(torch.device("cpu"))]
    for precision in dict.fromkeys(precisions):
        model = prepared(precision)
        codec = model.latent_codec()
        encoded = model.encode(x, text)

        def works(model: Taco = model, codec: Any = codec, encoded: Any = encoded) -> Any:
            return {
                "encode": lambda: model.encode(x, text),
                "decode": lambda: model.decode(encoded.strings, encoded.shape),
                "g_a": lambda: model.latents(model.features(x), text),
                "g_s": lambda: model.synthesise(y_hat, height, width),
                "z and y to strings": lambda: codec.encode(y, z),
                "strings to y_hat": lambda: codec.decode([encoded.strings], encoded.shape),
                "networks of these": lambda: codec.networks(z),
            }

        ours[precision] = works()
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds + 1):
        for name in baseline:
            for who, work in {"published": baseline, **ours}.items():
                times.setdefault((name, who), []).append(seconds(work[name]))
    symbols = f"{y.numel() + z.numel():,} symbols, {8 * len(theirs[0]) / height / width:.2f} bpp"
    print(f"{height} x {width}, {symbols}, {torch.get_num_threads()} threads; {rounds} rounds")
    print(f"{'':24}{'published':>11}" + "".join(f"{who:>11}{'ratio':>22}" for who in ours))
    for name in baseline:
        line = f"{name:24}{median(times[name, 'published'][1:]):9.3f} s"
        for who in ours:
            line += comparison(times[name, "published"], times[name, who])
        print(line)
    rest = {}
    for who in ("published", *ours):
        total = [
            a + b - 2 * c
            for a, b, c in zip(
                *(
                    times[name, who]
                    for name in ("z and y to strings", "strings to y_hat", "networks of these")
                ),
                strict=True,
            )
        ]
        rest[who] = total
    line = f"{'of these, no network':24}{median(rest['published'][1:]):9.3f} s"
    for who in ours:
        line += comparison(rest["published"], rest[who])
    print(line)
    both = {
        who: [a + b for a, b in zip(times["encode", who], times["decode", who], strict=True)]
        for who in ("published", *ours)
    }
    line = f"{'encode + decode':24}{median(both['published'][1:]):9.3f} s"
    print(line + "".join(comparison(both["published"], both[who]) for who in ours))


def comparison(theirs: list[float], ours: list[float]) -> str:
    """The first round only warms up."""
    ratios = [a / b for a, b in zip(theirs[1:], ours[1:], strict=True)]
    spread = f"{median(ratios):.2f} ({min(ratios):.2f} ... {max(ratios):.2f})"
    return f"{median(ours[1:]):9.3f} s{spread:>22}"


@torch.inference_mode()
def grow(megapixels: list[float], precision: Precision) -> list[tuple[float, float, float, float]]:
    """Megapixels, seconds per megapixel of encoding and of decoding, and the process's largest
    memory [GiB], from small to large."""
    rows = []
    model = prepared(precision)
    text = torch.randn(1, 38, 512)
    model.decode((one := model.encode(picture(256, 256), text)).strings, one.shape)
    print(f"{precision}, {torch.get_num_threads()} threads")
    print("pixels            encode [s/MP]  decode [s/MP]  largest memory [GiB]")
    for size in sorted(megapixels):
        height = max(64, round((size * 1e6 * 2 / 3) ** 0.5 / 64) * 64)
        width = round(height * 1.5)
        x = picture(height, width)
        gc.collect()
        started = time.perf_counter()
        encoded = model.encode(x, text)
        middle = time.perf_counter()
        shown = model.decode(encoded.strings, encoded.shape)
        end = time.perf_counter()
        del shown
        real = height * width / 1e6
        line = f"{height:5} x {width:5} {(middle - started) / real:14.2f}"
        print(f"{line} {(end - middle) / real:14.2f} {peak():12.2f}", flush=True)
        rows.append((real, (middle - started) / real, (end - middle) / real, peak()))
    return rows


def plot(rows: list[tuple[float, float, float, float]], title: str, path: Path) -> None:
    """Cost and memory by the size of the picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.8), layout="constrained")
    cost, memory = figure.subplots(1, 2)
    sizes = [row[0] for row in rows]
    for column, name in ((1, "encode"), (2, "decode")):
        cost.plot(sizes, [row[column] for row in rows], "o-", label=name)
    memory.plot(sizes, [row[3] for row in rows], "o-", color="black")
    memory.axhline(8, color="grey", linestyle=":")
    for axes, label in ((cost, "s / megapixel"), (memory, "largest memory [GiB]")):
        top = 1.1 * axes.get_ylim()[1]
        axes.set(xscale="log", xlabel="megapixels", ylabel=label, ylim=(0, top))
        axes.set_xticks([0.4, 1, 3, 6, 24], ["0.4", "1", "3", "6", "24"])
        axes.minorticks_off()
    cost.legend(frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)


def peak() -> float:
    """The largest resident memory of this process so far [GiB]."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--megapixels", type=float, nargs="+")
    parser.add_argument("--precision", default=native(torch.device("cpu")))
    parser.add_argument("--plot", type=Path, help="with --megapixels: an SVG or PNG to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.megapixels:
        rows = grow(options.megapixels, options.precision)
        if options.plot:
            title = f"published size, {options.precision}, {options.threads} threads"
            plot(rows, title, options.plot)
    else:
        compare(options.rounds)


if __name__ == "__main__":
    main()
