"""What the compiled loops need and numba has not: cheap views, and bits of a word.

Arrays are contiguous, and nothing checks indices.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

WIDTH = 64


def words(size: int) -> int:
    """Words of a bit for each of ``size`` elements."""
    return -(-size // WIDTH)


@intrinsic
def part(typing, values, number, size):
    """Part ``number`` of an array's memory cut into vectors of one size.

    A slice that is neither clamped to the array nor counted as a reference to it: what it looks
    into must be in use for longer, as an argument or outside the loop is.
    """
    if not (isinstance(values, types.Array) and values.layout == "C"):
        return None
    vector = values.copy(ndim=1)

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        item = context.get_constant(types.intp, values.dtype.bitwidth // 8)
        start = builder.mul(arguments[1], arguments[2])
        view = context.make_array(vector)(context, builder)
        populate_array(
            view,
            data=builder.gep(array.data, [start]),
            shape=cgutils.pack_array(builder, [arguments[2]]),
            strides=cgutils.pack_array(builder, [item]),
            itemsize=item,
            meminfo=None,
        )
        return view._getvalue()

    return vector(values, types.intp, types.intp), generate


@intrinsic
def nonzero(typing, values, start):
    """Which of ``values[start : start + 64]`` are not zero, as a word; bit 0 is the first."""
    if not (isinstance(values, types.Array) and values.ndim == 1 and values.layout == "C"):
        return None

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        vector = ir.VectorType(context.get_data_type(values.dtype), WIDTH)
        address = builder.bitcast(builder.gep(array.data, [arguments[1]]), vector.as_pointer())
        loaded = builder.load(address, align=values.dtype.bitwidth // 8)
        floats = isinstance(values.dtype, types.Float)
        unequal = builder.fcmp_unordered if floats else builder.icmp_signed
        return builder.bitcast(unequal("!=", loaded, ir.Constant(vector, None)), ir.IntType(WIDTH))

    return types.uint64(values, types.intp), generate


@intrinsic
def lowest(typing, word):
    """The number of the lowest bit that is set; ``word`` is not zero."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate
