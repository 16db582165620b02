"""Columns of numbers from the bytes of a text, one pass, compiled.

A number becomes a whole number and a power of ten. So whole numbers of 64 bits stay what they are, and a decimal
fraction is rounded once.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from snnprune.common.compiling import compiled

BLANK, TAB, LINE, RETURN, PLUS, MINUS, POINT, ZERO, NINE = (ord(letter) for letter in " \t\n\r+-.09")
NOTES = (ord("#"), ord("%"))
"""What a line of comment begins with."""

TRUE, FALSE = np.frombuffer(b"true", np.uint8), np.frombuffer(b"false", np.uint8)

GOOD, HARD, BAD = 0, 1, 2
"""A number; one that Python has to read, as it has too many digits; and what is none."""

LARGEST = 2**63 - 1
EXACT = 2**53
"""Whole numbers up to here are floats without rounding, and so are powers of ten up to `POWERS`."""

POWERS = 22


@compiled
def lines(data, start):
    """Return the number of lines that hold more than blanks and comments, at most those that there can be."""
    many, fresh = 0, True
    for at in range(start, len(data)):
        byte = data[at]
        if byte in (LINE, RETURN):
            fresh = True
        elif fresh and byte not in (BLANK, TAB):
            fresh = False
            many += byte not in NOTES
    return many


@compiled
def columns(data, start, separator, places, mantissas, exponents):
    """Read one row for each line.

    Args:
        data: bytes of the text.
        start: where the first line begins.
        separator: byte between columns; `BLANK` stands for any blanks.
        places: for each column of the text the row of ``mantissas`` that it fills, or -1 to leave it out.
        mantissas: int64 [columns, rows], filled with whole numbers, or where a `HARD` number begins.
        exponents: int8 [columns, rows], filled with powers of ten, at most 0, or `HARD`.

    Returns:
        Number of rows, where reading ended, and number of columns that were read of the last line: -1 when all
        lines were read.
    """
    at, row, end = start, 0, len(data)
    while True:
        while at < end and data[at] in (LINE, RETURN, BLANK, TAB):
            at += 1
        if at == end:
            return row, at, -1
        if data[at] in NOTES:
            while at < end and data[at] not in (LINE, RETURN):
                at += 1
            continue
        for column in range(len(places)):
            if column:
                at, more = _behind_separator(data, at, separator)
                if not more:
                    return row, at, column
            place = places[column]
            if place < 0:
                while at < end and data[at] not in (separator, LINE, RETURN) and (separator != BLANK or data[at] != TAB):
                    at += 1
                continue
            at, mantissa, exponent, kind = _number(data, at)
            if kind == BAD:
                at, mantissa = _word(data, at)
                if mantissa < 0:
                    return row, at, column
                exponent = 0
            mantissas[place, row] = mantissa
            exponents[place, row] = HARD if kind == HARD else exponent
        at = _behind_blanks(data, at)
        if at < end and data[at] not in (LINE, RETURN):
            return row, at, len(places)
        row += 1


@compiled
def _behind_blanks(data, at):
    while at < len(data) and data[at] in (BLANK, TAB):
        at += 1
    return at


@compiled
def _behind_separator(data, at, separator):
    """Return the beginning of the next column, and whether there is one."""
    begin = at
    at = _behind_blanks(data, at)
    if separator == BLANK:
        return at, at > begin and at < len(data) and data[at] not in (LINE, RETURN)
    if at == len(data) or data[at] != separator:
        return at, False
    return _behind_blanks(data, at + 1), True


@compiled
def _number(data, begin):
    """Return the end of a number, its digits as a whole number, its power of ten, and its kind."""
    at, end = begin, len(data)
    sign = 1
    if at < end and data[at] in (PLUS, MINUS):
        sign = -1 if data[at] == MINUS else 1
        at += 1
    mantissa, exponent, digits, zeros, hard, point = np.int64(0), 0, 0, 0, False, False
    while at < end:
        byte = data[at]
        if byte == POINT and not point:
            point = True
        elif ZERO <= byte <= NINE:
            digits += 1
            if point and byte == ZERO:
                zeros += 1  # of a fraction: they count when another digit follows
            else:
                for _ in range(zeros + 1):
                    if mantissa > LARGEST // 10:
                        hard = True
                        break
                    mantissa *= 10
                hard |= mantissa > LARGEST - (byte - ZERO)
                mantissa += np.int64(byte) - ZERO
                exponent -= zeros + 1 if point else 0
                zeros = 0
        else:
            break
        at += 1
    if not digits:
        return begin, np.int64(0), 0, BAD
    if at < end and data[at] in (101, 69):  # e, E
        at, more = _exponent(data, at + 1)
        if more == LARGEST:
            return begin, np.int64(0), 0, BAD
        exponent += more
    if at < end and data[at] not in (BLANK, TAB, LINE, RETURN, 44, 59):  # comma, semicolon
        return begin, np.int64(0), 0, BAD
    return _reduced(begin, at, sign * mantissa, exponent, hard)


@compiled
def _word(data, begin):
    """Return the end of the word true or false, and 1 or 0, or -1 where there is neither."""
    if _has(data, begin, TRUE):
        return begin + len(TRUE), 1
    if _has(data, begin, FALSE):
        return begin + len(FALSE), 0
    return begin, -1


@compiled
def _has(data, begin, word):
    """Return whether a word stands at a place, in small or large letters."""
    if begin + len(word) > len(data):
        return False
    for at in range(len(word)):
        if data[begin + at] | 32 != word[at]:
            return False
    return True


@compiled
def _exponent(data, at):
    """Return the end of a power of ten, and the power, `LARGEST` if there is none."""
    sign = 1
    if at < len(data) and data[at] in (PLUS, MINUS):
        sign = -1 if data[at] == MINUS else 1
        at += 1
    power, begin = 0, at
    while at < len(data) and ZERO <= data[at] <= NINE and at < begin + 6:
        power = 10 * power + np.int64(data[at]) - ZERO
        at += 1
    return at, sign * power if at > begin else LARGEST


@compiled
def _reduced(begin, at, mantissa, exponent, hard):
    """Return a number as one without trailing zeros of a fraction, and without a power above 0."""
    while exponent < 0 and mantissa % 10 == 0 and mantissa != 0:
        mantissa //= 10
        exponent += 1
    while exponent > 0 and abs(mantissa) <= LARGEST // 10 and mantissa != 0:
        mantissa *= 10
        exponent -= 1
    if mantissa == 0 and not hard:
        exponent = 0
    if hard or exponent > 0 or (exponent < 0 and (abs(mantissa) > EXACT or exponent < -POWERS)):
        return at, np.int64(begin), 0, HARD
    return at, mantissa, exponent, GOOD
