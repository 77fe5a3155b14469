"""Layers whose results are the same to the bit on every machine: fixed point, held in float64.

A float64 holds every integer up to 2^53. Activations are integers (in units of 2^-12) below 2^23,
weights are multiples of 2^-16: then each product, and each sum of some of them, is a multiple of
2^-16, and as long as it stays below 2^37 nothing is ever rounded. So the order of a
sum does not matter, nor do threads, instruction sets, libraries, batches, shapes and devices. That
it stays below is proved for each layer from its weights, before anything is coded. All is matrix
products: the algorithms of Winograd and FFT, which libraries choose for convolutions, are not
exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tacolab.codec import byte_products

ACTIVATION_BITS = 12  # behind the point
WEIGHT_BITS = 16
UNIT = 2.0**-ACTIVATION_BITS
LIMIT = 2000 / UNIT  # of an activation, in units; three digits of 8 bits write it
MANTISSA = 53

PART = 2048  # places whose windows are copied at once: they stay in the cache

# No sum may reach this, in units: multiples of 2^-16 are exact below.
ROOM = 2.0 ** (MANTISSA - WEIGHT_BITS)


class OutOfRangeError(ValueError):
    """A layer's weights are too large to be computed with exactly."""


def to_units(x: Tensor) -> Tensor:
    """The integers (float64) nearest to x in units of 2^-12."""
    return (x.double() / UNIT).round_()


class Affine:
    """A bias and weights in fixed point, with the proof that no sum of them loses a bit.

    weight (K, out), bias (out): float32. Raises OutOfRangeError naming the layer.
    """

    def __init__(self, name: str, weight: Tensor, bias: Tensor, rectified: bool) -> None:
        whole = (weight.double() * 2**WEIGHT_BITS).round_()
        self.weight = (whole / 2**WEIGHT_BITS).contiguous()
        self.bias = (bias.double() / UNIT * 2**WEIGHT_BITS).round_() / 2**WEIGHT_BITS
        largest = LIMIT * self.weight.abs().sum(0) + self.bias.abs()
        if not bool((largest < ROOM).all()):  # nor NaN
            raise OutOfRangeError(
                f"{name}: its weights are too large or not finite (their magnitudes sum to "
                f"{(largest.max() / LIMIT).item():.4g}, must be below {ROOM / LIMIT:.0f}), so that "
                "other machines could not decode what is coded with them"
            )
        quick = byte_products.available(weight.device)
        self.digits = byte_products.weight_digits(whole) if quick else None
        self._lowest = 0.0 if rectified else -LIMIT

    def of_digits(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Sums (n, out) of the digits of n rows (digits, n, ...), a part of them at a time."""
        assert self.digits is not None
        if out is None:
            out = self.bias.new_empty(x.shape[1], len(self.bias))
        for start in range(0, len(out), PART):
            part, sums = x[:, start : start + PART].contiguous(), out[start : start + PART]
            byte_products.product(part.view(-1, len(self.digits)), self.digits, sums)
            torch.add(self.bias, sums, alpha=2.0**-WEIGHT_BITS, out=sums)
        return out

    def settle(self, sums: Tensor) -> Tensor:
        """Sums to activations again: rounded, within the range, rectified. In place."""
        return sums.round_().clamp_(self._lowest, LIMIT)


class Pointwise(Affine):
    """A convolution of 1 x 1 on rows: (n, in) -> (n, out)."""

    def __call__(self, x: Tensor) -> Tensor:
        if self.digits is not None:
            return self.settle(self.of_digits(byte_products.digits(x)))
        return self.settle(torch.addmm(self.bias, x, self.weight))


class Convolution(Affine):
    """A convolution of odd size, which keeps the sides: (B, h, w, in) -> (B, h, w, out).

    weight (k, k, in, out): row, column. Each row's columns lie side by side once; then the k rows
    of a window are k slices, and as many matrix products sum them up.
    """

    def __init__(self, name: str, weight: Tensor, bias: Tensor, rectified: bool) -> None:
        self.side = weight.shape[0]
        super().__init__(name, weight.flatten(0, 2), bias, rectified)

    def __call__(self, x: Tensor) -> Tensor:
        B, h, w, channels = x.shape
        margin, length = self.side // 2, self.side * channels
        out = x.new_empty(B * (h + margin) * w, len(self.bias))
        places = len(out) - margin * w  # with those between pictures
        if self.digits is not None:
            rows = self._side_by_side(byte_products.digits(x).flatten(0, 1))
            windows = rows.as_strided(
                (byte_products.DIGITS, places, self.side, length),
                (len(out) * length, length, w * length, 1),
            )
            self.of_digits(windows, out[:places])
        else:
            rows, parts = self._side_by_side(x), self.weight.split(length)
            sums = torch.addmm(self.bias, rows[:places], parts[0], out=out[:places])
            for row in range(1, self.side):
                sums.addmm_(rows[row * w : row * w + places], parts[row])
        self.settle(out[:places])
        return out.view(B, h + margin, w, -1)[:, :h]

    def _side_by_side(self, x: Tensor) -> Tensor:
        """(B, h, w, in) -> (rows w, k in): each place with its neighbours in its row.

        Between pictures, before the first and after the last, there are k // 2 rows of zeros.
        """
        B, h, w, channels = x.shape
        margin = self.side // 2
        wide = x.new_empty(B * (h + margin) + margin, w, self.side, channels)
        wide[:margin] = 0
        pictures = wide[margin:].view(B, h + margin, w, self.side, channels)
        pictures[:, h:] = 0
        for column in range(self.side):
            shift = column - margin
            first = min(max(0, -shift), w)
            last = max(min(w, w - shift), first)
            inside = pictures[:, :h, :, column]
            inside[:, :, :first] = 0
            inside[:, :, first:last] = x[:, :, first + shift : last + shift]
            inside[:, :, last:] = 0
        return wide.view(-1, self.side * channels)


class Upsampling(Convolution):
    """A transposed convolution, 5 x 5 with stride 2: (B, h, w, in) -> (B, 2h, 2w, out).

    As a convolution of 3 x 3 to the four places of the output that an input stands for. At an even
    one kernel 4, 2, 0 meet the neighbours before, here and after; at an odd one 3 and 1 meet those
    here and after.

    weight (in, out, 5, 5) as torch has it.
    """

    def __init__(self, name: str, weight: Tensor, bias: Tensor, rectified: bool) -> None:
        channels, outputs = weight.shape[:2]
        phases = weight.new_zeros(3, 3, channels, 2, 2, outputs)
        kernels = [(tap, phase, 4 - 2 * tap + phase) for tap in range(3) for phase in range(2)]
        kernels = [place for place in kernels if place[2] < 5]
        for row, below, i in kernels:
            for column, right, j in kernels:
                phases[row, column, :, below, right] = weight[:, :, i, j]
        super().__init__(name, phases.flatten(3), bias.repeat(4), rectified)

    def __call__(self, x: Tensor) -> Tensor:
        phases = super().__call__(x)
        B, h, w, _ = x.shape
        split = phases.unflatten(3, (2, 2, -1)).permute(0, 1, 3, 2, 4, 5)
        out: Tensor = split.reshape(B, 2 * h, 2 * w, -1)
        return out


class Neighbours(Affine):
    """A convolution of 5 x 5 that is wanted at one colour of a checkerboard and reads the other.

    weight (out, in, 5, 5) as torch has it; half of its taps are used.
    """

    TAPS = tuple((row, column) for row in range(5) for column in range(5) if (row + column) % 2)

    def __init__(self, name: str, weight: Tensor, bias: Tensor) -> None:
        taps = torch.cat([weight[:, :, row, column].T for row, column in self.TAPS])
        super().__init__(name, taps, bias, rectified=False)

    def __call__(self, x: Tensor, table: Tensor) -> Tensor:
        """x (m, in), table (n, 12): the rows of x that each output reads, m where there is none."""
        x = F.pad(x, (0, 0, 0, 1))
        if self.digits is not None:
            return self.settle(self.of_digits(byte_products.digits(x)[:, table]))
        return self.settle(torch.addmm(self.bias, x[table].flatten(1), self.weight))


def through(layers: Sequence[Pointwise] | Sequence[Convolution], x: Tensor) -> Tensor:
    """x after one layer after the other."""
    for layer in layers:
        x = layer(x)
    return x
