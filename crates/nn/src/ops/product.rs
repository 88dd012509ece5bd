//! Matrix products on slices, for operations that cut the work themselves.

use std::marker::PhantomData;

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
        self.at([first, 0])
    }

    /// From a row and a column on.
    pub(super) fn at(self, [row, column]: [usize; 2]) -> Self {
        Self { data: &self.data[row * self.row + column * self.column..], ..self }
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
    sizes: [usize; 3],
    add: bool,
    factor: f32,
    a: View,
    b: View,
    threads: Parallelism,
) {
    // SAFETY: it is borrowed alone.
    #[allow(unsafe_code, reason = "the same product as of several threads")]
    unsafe {
        Shared::new(out, row).multiply([0, 0], sizes, add, factor, a, b, threads);
    }
}

/// A matrix of which several threads write, each a part of its own. Its rows start `row` numbers apart.
pub(super) struct Shared<'a> {
    numbers: *mut f32,
    length: usize,
    row: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: nothing but numbers; who writes them promises not to meet others.
#[allow(unsafe_code, reason = "threads write different columns of the same rows")]
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(super) fn new(out: &'a mut [f32], row: usize) -> Self {
        Self { numbers: out.as_mut_ptr(), length: out.len(), row, borrowed: PhantomData }
    }

    /// `n` numbers of one row.
    ///
    /// # Safety
    /// As long as they are borrowed, nothing else may reach them.
    ///
    /// # Panics
    /// When the row has not so many.
    #[allow(unsafe_code, reason = "parts of different threads lie between each other")]
    #[allow(clippy::mut_from_ref, reason = "the caller has them for itself")]
    pub(super) unsafe fn line(&self, [row, column]: [usize; 2], n: usize) -> &mut [f32] {
        let first = row * self.row + column;
        assert!(column + n <= self.row && first + n <= self.length, "no {n} numbers from {row}, {column} on");
        // SAFETY: the assertion has them inside the matrix, and the caller promises that they are borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.numbers.add(first), n) }
    }

    /// The part `[m, n]` from row and column `first` on becomes `factor a b`, or that is added to it.
    ///
    /// # Safety
    /// No other thread may reach any number of that part at the same time.
    ///
    /// # Panics
    /// When a matrix is smaller than `[m, k, n]` says.
    #[allow(clippy::too_many_arguments, reason = "the operands of one formula")]
    #[allow(unsafe_code, reason = "parts of different threads lie between each other")]
    pub(super) unsafe fn multiply(
        &self,
        [first_row, first_column]: [usize; 2],
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
        let first = first_row * self.row + first_column;
        let holds = |length: usize, rows, columns, row, column| (rows - 1) * row + (columns - 1) * column < length;
        assert!(
            first_column + n <= self.row
                && holds(self.length.saturating_sub(first), m, n, self.row, 1)
                && holds(a.data.len(), m, k, a.row, a.column)
                && holds(b.data.len(), k, n, b.row, b.column),
            "a matrix is smaller than {m} x {k} x {n}"
        );
        // SAFETY: the assertion has every element that these sizes and strides reach inside its matrix; rows do not overlap, and
        // the caller promises that no other thread writes them.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                self.numbers.add(first),
                1,
                self.row as isize,
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
}

/// Burn's own threshold for products on the CPU.
pub(super) fn threads([m, k, n]: [usize; 3]) -> Parallelism {
    if m * k * n >= 192 * 192 * 192 { Parallelism::Rayon(0) } else { Parallelism::None }
}
