"""The range coder of CompressAI's streams, compiled: the same bytes, without Python's lists.

rANS with a state of 64 bits and words of 32 (Duda 2013; the layout is that of ryg_rans, which
CompressAI 1.2 uses). A symbol is coded with one of several tables of probabilities in 1/2^16; the
last entry of a table stands for all symbols outside of it, which follow in digits of 4 bits. Ints
of numba keep their sign: mixed with unsigned ones they would become floats, hence the casts.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from tacolab.codec.entropy_coding import LARGEST, LEAST, PRECISION

DIGIT = 4  # bits of a digit of what lies outside a table

Words = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int32]

_L = np.uint64(LEAST)
_WORD = np.uint64(32)
_BITS = np.uint64(PRECISION)
_MASK = np.uint64(2**PRECISION - 1)
_DIGIT = np.uint64(DIGIT)
_DIGIT_MASK = np.uint64(2**DIGIT - 1)
_MORE = 2**DIGIT - 1  # a digit of the number of digits that says: and more


def _compiled(function: Any) -> Any:
    """Compiled at the first call, without Python's lock, and kept for later processes; only in
    memory where neither the package's folder nor the user's cache can be written."""
    try:
        return njit(function, nogil=True, cache=True)
    except RuntimeError:
        return njit(function, nogil=True)


@_compiled
def _digits(raw: int) -> int:
    count = 0
    while raw >> (DIGIT * count):
        count += 1
    return count


@_compiled
def _put(state, words, at, start, range_):  # type: ignore[no-untyped-def]
    """The state after a symbol, and where the next word goes: they are written backwards."""
    if state >= ((_L >> _BITS) << _WORD) * range_:
        at -= 1
        words[at] = np.uint32(state & np.uint64(0xFFFFFFFF))
        state >>= _WORD
    return ((state // range_) << _BITS) + state % range_ + start, at


@_compiled
def _put_digit(state, words, at, digit):  # type: ignore[no-untyped-def]
    if state >= _L << (_WORD - _DIGIT):
        at -= 1
        words[at] = np.uint32(state & np.uint64(0xFFFFFFFF))
        state >>= _WORD
    return (state << _DIGIT) | np.uint64(digit), at


@_compiled
def encode(symbols: Ints, indexes: Ints, cdfs: Ints, lengths: Ints, offsets: Ints) -> Words:
    """The words of a stream; none at all where a symbol or an index is out of its range.

    symbols and indexes, n each: what is coded, and which table codes it. cdfs: tables x longest,
    lengths: of each table, offsets: the symbol of its first entry.
    """
    n = len(symbols)
    room = n + 2
    for i in range(n):
        if not 0 <= indexes[i] < len(lengths) or abs(np.int64(symbols[i])) >= LARGEST:
            return np.empty(0, np.uint32)
        value = np.int64(symbols[i]) - offsets[indexes[i]]
        if value < 0 or value >= lengths[indexes[i]] - 2:
            room += 8  # seven digits at most, and how many they are
    words = np.empty(room, np.uint32)
    at = room
    state = _L
    for i in range(n - 1, -1, -1):
        index = indexes[i]
        last = np.int64(lengths[index]) - 2
        value = np.int64(symbols[i]) - offsets[index]
        if value < 0 or value >= last:
            raw = -2 * value - 1 if value < 0 else 2 * (value - last)
            value = last
            count = _digits(raw)
            for digit in range(count - 1, -1, -1):
                state, at = _put_digit(state, words, at, (raw >> (DIGIT * digit)) & _MORE)
            state, at = _put_digit(state, words, at, count % _MORE)
            for _ in range(count // _MORE):
                state, at = _put_digit(state, words, at, _MORE)
        start = np.uint64(cdfs[index, value])
        range_ = np.uint64(cdfs[index, value + 1]) - start
        state, at = _put(state, words, at, start, range_)
    words[at - 2] = np.uint32(state & np.uint64(0xFFFFFFFF))
    words[at - 1] = np.uint32(state >> _WORD)
    return words[at - 2 :]


@_compiled
def _refill(state, words, at):  # type: ignore[no-untyped-def]
    """The state with another word, where it needs one. Behind the end come zeros, which the caller
    notices by the place."""
    if state < _L:
        word = np.uint64(words[at]) if at < len(words) else np.uint64(0)
        return (state << _WORD) | word, at + 1
    return state, at


@_compiled
def decode(
    words: Words,
    state: np.uint64,
    at: int,
    indexes: Ints,
    cdfs: Ints,
    lengths: Ints,
    offsets: Ints,
    symbols: Ints,
) -> tuple[bool, np.uint64, int]:
    """Fills `symbols`, one for each of `indexes`; whether that went well, and the state after it.

    state, at: as a call before returned them. Reads nothing behind `words`, and stops there, as at
    a number that no encoder writes.
    """
    for i in range(len(indexes)):
        index = indexes[i]
        if not 0 <= index < len(lengths):
            return False, state, at
        last = np.int64(lengths[index]) - 2
        low, high = np.int64(0), last + 1  # of the last entry that is not above
        part = np.int64(state & _MASK)
        while high - low > 1:
            middle = (low + high) // 2
            if cdfs[index, middle] <= part:
                low = middle
            else:
                high = middle
        start = np.uint64(cdfs[index, low])
        range_ = np.uint64(cdfs[index, low + 1]) - start
        state = range_ * (state >> _BITS) + (state & _MASK) - start
        state, at = _refill(state, words, at)
        value = low
        if value == last:
            count, more = np.int64(0), np.int64(_MORE)
            while more == _MORE:
                more = np.int64(state & _DIGIT_MASK)
                state, at = _refill(state >> _DIGIT, words, at)
                count += more
                if count > 7:
                    return False, state, at
            raw = np.int64(0)
            for digit in range(count):
                raw |= np.int64(state & _DIGIT_MASK) << (DIGIT * digit)
                state, at = _refill(state >> _DIGIT, words, at)
            value = -(raw >> 1) - 1 if raw & 1 else (raw >> 1) + last
        value += offsets[index]
        if at > len(words) or abs(value) >= LARGEST:
            return False, state, at
        symbols[i] = np.int32(value)
    return True, state, at
