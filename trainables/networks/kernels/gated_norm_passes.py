"""The Triton kernels of `gated_norm`. A program takes `TOKENS` of an image's rows, `ROWS` at a time, over the whole width.

Row k of an image is token k - max(LEAD, 0) of the stream that comes in and token k + min(LEAD, 0) of the one that goes out.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: ANN001, ANN201, ANN202

import triton
import triton.language as tl


@triton.jit
def _vector(pointer, row, d, inside):
    """A row [1, BLOCK] in float32."""
    return tl.load(pointer + row + d, mask=inside, other=0.0).to(tl.float32)[None, :]


@triton.jit
def _tokens(pointer, place, live):
    """Rows [ROWS, BLOCK] in float32, zero where there is none."""
    return tl.load(pointer + place, mask=live, other=0.0).to(tl.float32)


@triton.jit
def forward_pass(
    x, y, gate, bias, prepended, weight, shift, scale, stream, h, mean, inverse,
    chunks, tokens, gate_row, shift_row, scale_row,
    WRITTEN: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, LEAD: tl.constexpr, EPS: tl.constexpr,
    TOKENS: tl.constexpr, ROWS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """x' = x + gate (y + bias), and h = norm(x') weight (1 + scale) + shift."""
    image, chunk = (tl.program_id(0) // chunks).to(tl.int64), tl.program_id(0) % chunks
    out = tokens + LEAD
    d = tl.arange(0, BLOCK)
    inside = d < WIDTH
    gain, offset = 1 + _vector(scale, image * scale_row, d, inside), _vector(shift, image * shift_row, d, inside)
    if weight is not None:
        gain *= _vector(weight, 0, d, inside)
    if y is not None:
        g = _vector(gate, image * gate_row, d, inside)
    if bias is not None:
        b = _vector(bias, 0, d, inside)
    rows = min(TOKENS, tokens + max(LEAD, 0) - chunk * TOKENS)
    for start in tl.range(0, rows, ROWS, num_stages=STAGES):
        k = chunk * TOKENS + start + tl.arange(0, ROWS)
        source, target = k - max(LEAD, 0), k + min(LEAD, 0)
        come, go = (source >= 0) & (source < tokens), (target >= 0) & (target < out)
        place = (image * tokens + source)[:, None] * WIDTH + d[None, :]
        live = (come & go)[:, None] & inside[None, :]
        v = _tokens(x, place, live)
        if y is not None:
            added = _tokens(y, place, live)
            if bias is not None:
                added += tl.where(live, b, 0.0)
            v += g * added
        if prepended is not None:
            first = (image * LEAD + k)[:, None] * WIDTH + d[None, :]
            v += _tokens(prepended, first, (k < LEAD)[:, None] & inside[None, :])
        place = (image * out + target)[:, None] * WIDTH + d[None, :]
        live = go[:, None] & inside[None, :]
        if WRITTEN:
            rounded = v.to(stream.dtype.element_ty)
            tl.store(stream + place, rounded, mask=live)
            v = rounded.to(tl.float32)
        if mean is not None:
            m = tl.sum(v, 1) / WIDTH
            tl.store(mean + image * out + target, m, mask=go)
            v = tl.where(inside[None, :], v - m[:, None], 0.0)
        r = 1 / tl.sqrt(tl.sum(v * v, 1) / WIDTH + EPS)
        tl.store(inverse + image * out + target, r, mask=go)
        tl.store(h + place, (v * r[:, None] * gain + offset).to(h.dtype.element_ty), mask=live)


@triton.jit
def backward_pass(
    of_stream, of_h, stream, y, gate, weight, scale, mean, inverse, dx, dy, of_prepended, sums,
    chunks, tokens, gate_row, scale_row,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, LEAD: tl.constexpr,
    TOKENS: tl.constexpr, ROWS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Gradients of x, y and the prepended tokens; sums over the program's rows of what the others are made of.

    With n = norm(x') without weight and modulation, those are of dh, dh n, dx' and dx' y: [4, B, chunks, D].
    """
    program, programs = tl.program_id(0).to(tl.int64), tl.num_programs(0).to(tl.int64)
    image, chunk = program // chunks, tl.program_id(0) % chunks
    out = tokens + LEAD
    d = tl.arange(0, BLOCK)
    inside = d < WIDTH
    gain = 1 + _vector(scale, image * scale_row, d, inside)
    if weight is not None:
        gain *= _vector(weight, 0, d, inside)
    if y is not None:
        g = _vector(gate, image * gate_row, d, inside)
    sum_h = tl.zeros([BLOCK], tl.float32)
    sum_hn = tl.zeros([BLOCK], tl.float32)
    sum_x = tl.zeros([BLOCK], tl.float32)
    sum_xy = tl.zeros([BLOCK], tl.float32)
    rows = min(TOKENS, tokens + max(LEAD, 0) - chunk * TOKENS)
    for start in tl.range(0, rows, ROWS, num_stages=STAGES):
        k = chunk * TOKENS + start + tl.arange(0, ROWS)
        source, target = k - max(LEAD, 0), k + min(LEAD, 0)
        come, go = (source >= 0) & (source < tokens), (target >= 0) & (target < out)
        place = (image * out + target)[:, None] * WIDTH + d[None, :]
        live = go[:, None] & inside[None, :]
        n, dh = _tokens(stream, place, live), _tokens(of_h, place, live)
        if mean is not None:
            m = tl.load(mean + image * out + target, mask=go, other=0.0)
            n = tl.where(live, n - m[:, None], 0.0)
        r = tl.load(inverse + image * out + target, mask=go, other=0.0)
        n *= r[:, None]
        sum_h += tl.sum(dh, 0)
        sum_hn += tl.sum(dh * n, 0)
        dn = dh * gain
        v = dn - n * (tl.sum(dn * n, 1) / WIDTH)[:, None]
        if mean is not None:
            v -= (tl.sum(dn, 1) / WIDTH)[:, None]
        v *= r[:, None]
        if of_stream is not None:
            v += _tokens(of_stream, place, live)
        place = (image * tokens + source)[:, None] * WIDTH + d[None, :]
        live = come[:, None] & inside[None, :]
        tl.store(dx + place, v.to(dx.dtype.element_ty), mask=live)
        if of_prepended is not None:
            first = (image * LEAD + k)[:, None] * WIDTH + d[None, :]
            tl.store(of_prepended + first, v.to(of_prepended.dtype.element_ty), mask=(k < LEAD)[:, None] & inside[None, :])
        if y is not None:
            v = tl.where(live, v, 0.0)
            tl.store(dy + place, (v * g).to(dy.dtype.element_ty), mask=live)
            sum_x += tl.sum(v, 0)
            sum_xy += tl.sum(v * _tokens(y, place, live), 0)
    size = programs * WIDTH
    place = sums + program * WIDTH + d
    tl.store(place, sum_h, mask=inside)
    tl.store(place + size, sum_hn, mask=inside)
    if y is not None:
        tl.store(place + 2 * size, sum_x, mask=inside)
        tl.store(place + 3 * size, sum_xy, mask=inside)


@triton.jit
def finishing_pass(
    sums, gate, bias, weight, scale, of_image, terms, chunks, gate_row, scale_row,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of one image's gate, shift and scale [3, B, D], and its terms of those of bias and weight [2, B, D]."""
    image, images = tl.program_id(0).to(tl.int64), tl.num_programs(0).to(tl.int64)
    d = tl.arange(0, BLOCK)
    inside = d < WIDTH
    size = images * chunks * WIDTH
    sum_h = tl.zeros([BLOCK], tl.float32)
    sum_hn = tl.zeros([BLOCK], tl.float32)
    sum_x = tl.zeros([BLOCK], tl.float32)
    sum_xy = tl.zeros([BLOCK], tl.float32)
    for chunk in range(chunks):
        place = sums + (image * chunks + chunk) * WIDTH + d
        sum_h += tl.load(place, mask=inside, other=0.0)
        sum_hn += tl.load(place + size, mask=inside, other=0.0)
        if gate is not None:
            sum_x += tl.load(place + 2 * size, mask=inside, other=0.0)
            sum_xy += tl.load(place + 3 * size, mask=inside, other=0.0)
    place, size = image * WIDTH + d, images * WIDTH
    tl.store(of_image + size + place, sum_h, mask=inside)
    if weight is not None:
        factor = 1 + tl.load(scale + image * scale_row + d, mask=inside, other=0.0).to(tl.float32)
        tl.store(terms + size + place, factor * sum_hn, mask=inside)
        sum_hn *= tl.load(weight + d, mask=inside, other=0.0).to(tl.float32)
    tl.store(of_image + 2 * size + place, sum_hn, mask=inside)
    if gate is not None:
        if bias is not None:
            sum_xy += sum_x * tl.load(bias + d, mask=inside, other=0.0).to(tl.float32)
        tl.store(of_image + place, sum_xy, mask=inside)
        g = tl.load(gate + image * gate_row + d, mask=inside, other=0.0).to(tl.float32)
        tl.store(terms + place, g * sum_x, mask=inside)
