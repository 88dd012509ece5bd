//! Matrix products on slices, for operations that cut the work themselves.

pub(super) use gemm::Parallelism;

/// A matrix wherever its numbers lie: element (i, j) is `data[i * row + j * column]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) data: &'a [f32],
    pub(super) row: usize,
    pub(super) column: usize,
}

impl<'a> View<'a> {
    /// Rows of `columns` numbers, one after the other.
    pub(super) fn dense(data: &'a [f32], columns: usize) -> Self {
        Self { data, row: columns, column: 1 }
    }

    /// Without the rows before `first`.
    pub(super) fn from(self, first: usize) -> Self {
        Self { data: &self.data[first * self.row..], ..self }
    }

    pub(super) fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }
}

/// `out = factor a b`, or `out += factor a b` if `add`, on this thread. `a` `[m, k]`, `b` `[k, n]`, `out` `[m, n]` dense.
///
/// # Panics
/// As [`product_into`].
pub(super) fn product(out: &mut [f32], [m, k, n]: [usize; 3], add: bool, factor: f32, a: View, b: View) {
    product_into(out, n, [m, k, n], add, factor, a, b, Parallelism::None);
}

/// As [`product`], where the rows of `out` start `row` numbers apart.
///
/// # Panics
/// When a matrix is smaller than `[m, k, n]` says.
#[allow(clippy::too_many_arguments, reason = "the operands of one formula")]
pub(super) fn product_into(
    out: &mut [f32],
    row: usize,
    [m, k, n]: [usize; 3],
    add: bool,
    factor: f32,
    a: View,
    b: View,
    threads: Parallelism,
) {
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    let holds = |length: usize, rows, columns, row, column| (rows - 1) * row + (columns - 1) * column < length;
    assert!(
        n <= row
            && holds(out.len(), m, n, row, 1)
            && holds(a.data.len(), m, k, a.row, a.column)
            && holds(b.data.len(), k, n, b.row, b.column),
        "a matrix is smaller than {m} x {k} x {n}"
    );
    // SAFETY: the assertion has every element that these sizes and strides reach inside its slice; rows of `out` do not
    // overlap, and it is borrowed alone.
    #[allow(unsafe_code, reason = "the crate takes pointers")]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            row as isize,
            add,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            1.0,
            factor,
            false,
            false,
            false,
            threads,
        );
    }
}
