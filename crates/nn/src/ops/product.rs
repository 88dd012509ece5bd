//! Matrix products on slices, on one thread: for operations that cut the work themselves.

/// A matrix wherever its numbers lie: element (i, j) is `data[i * row + j * column]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a> {
    pub(super) data: &'a [f32],
    pub(super) row: usize,
    pub(super) column: usize,
}

impl<'a> Matrix<'a> {
    /// Row after row of `columns` numbers.
    pub(super) fn dense(data: &'a [f32], columns: usize) -> Self {
        Self { data, row: columns, column: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        (rows - 1) * self.row + (columns - 1) * self.column < self.data.len()
    }
}

/// `out = factor a b`, or `out += factor a b` if `add`. `a` `[m, k]`, `b` `[k, n]`, `out` `[m, n]` dense.
///
/// # Panics
/// When a matrix is smaller than `[m, k, n]` says.
pub(super) fn product(out: &mut [f32], [m, k, n]: [usize; 3], add: bool, factor: f32, a: Matrix, b: Matrix) {
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    assert!(m * n <= out.len() && a.holds(m, k) && b.holds(k, n), "the matrices are smaller than {m} x {k} x {n}");
    // SAFETY: every element that is read or written was checked to lie in its slice, and `out` is borrowed alone.
    #[allow(unsafe_code, reason = "the crate takes pointers")]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
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
            gemm::Parallelism::None,
        );
    }
}
