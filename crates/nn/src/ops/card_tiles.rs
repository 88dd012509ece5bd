//! Tiles of rows in shared memory and products of them on tensor cores, for [`super::card_flash`].

use burn_cubecl::cubecl;
use cubecl::cmma::{MatrixIdent, MmaDefinition};
use cubecl::prelude::*;

/// Of a product.
pub(super) const SHAPE: [u32; 3] = [16, 8, 16];
/// Of a plane: those of a product.
const ROWS: usize = 16;
pub(super) const PLANES: usize = 4;
pub(super) const OWN: usize = ROWS * PLANES;
const UNITS: usize = 32 * PLANES;

/// What is read and written at once.
pub(super) type Eight<F> = Vector<F, Const<8>>;
/// A register of an operand, or two of a sum.
pub(super) type Two<F> = Vector<F, Const<2>>;

/// Where the rows of `[b, heads, rows, width]` lie, counted in vectors of eight numbers.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct Place {
    pub(super) batch: usize,
    pub(super) head: usize,
    pub(super) row: usize,
    pub(super) rows: usize,
}

#[cube]
impl Place {
    pub(super) fn row(&self, row: usize) -> usize {
        CUBE_POS_Z as usize * self.batch + CUBE_POS_Y as usize * self.head + row * self.row
    }

    /// The same of numbers `[b, heads, rows]`.
    pub(super) fn number(&self, row: usize) -> usize {
        (CUBE_POS_Z as usize * CUBE_COUNT_Y as usize + CUBE_POS_Y as usize) * self.rows + row
    }
}

/// Known when a kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sizes {
    /// Width of a head, in vectors of eight numbers.
    pub(super) width: usize,
    /// Rows of the other kind at once, a multiple of 16.
    pub(super) others: usize,
}

impl Sizes {
    /// As products take them, 16 numbers at a time.
    pub(super) fn padded(self) -> usize {
        self.width.next_multiple_of(2)
    }

    /// Bytes of shared memory of the forward, which has one tile of its own rows.
    pub(super) fn shared_forward(self) -> usize {
        (OWN + 2 * self.others) * self.stride() * 16
    }

    /// Of a backward, which has two, and that of keys two numbers for each other row.
    pub(super) fn shared_backward(self) -> usize {
        2 * (OWN + self.others) * self.stride() * 16 + 8 * self.others
    }

    /// Vectors from one row in shared memory to the next: an odd number, so that eight rows lie in different banks.
    pub(super) fn stride(self) -> usize {
        self.padded() + 1
    }
}

/// Not filled, but for zeros where rows are wider than the heads.
#[cube]
pub(super) fn tile<F: Float>(#[comptime] rows: usize, #[comptime] sizes: Sizes) -> Shared<[Eight<F>]> {
    let mut tile = Shared::<[Eight<F>]>::new_aligned_slice(comptime!(rows * sizes.stride()), 16usize);
    if comptime!(sizes.width < sizes.padded()) {
        let row = UNIT_POS as usize;
        if row < rows {
            tile[row * comptime!(sizes.stride()) + comptime!(sizes.width)] = Eight::<F>::zeroed();
        }
    }
    tile
}

/// Tiles of the rows of the other kind, of two tensors, and the next ones on their way from memory.
#[derive(CubeType)]
pub(super) struct Others<F: Float> {
    pub(super) a: Shared<[Eight<F>]>,
    pub(super) b: Shared<[Eight<F>]>,
    next_a: Array<Eight<F>>,
    next_b: Array<Eight<F>>,
    #[cube(comptime)]
    sizes: Sizes,
}

#[cube]
impl<F: Float> Others<F> {
    pub(super) fn new(#[comptime] sizes: Sizes) -> Self {
        let others = comptime!(sizes.others);
        Others::<F> {
            a: tile::<F>(others, sizes),
            b: tile::<F>(others, sizes),
            next_a: held::<F>(others, sizes),
            next_b: held::<F>(others, sizes),
            sizes,
        }
    }

    /// Asks for the rows from `first` on.
    pub(super) fn ask(&mut self, a: &Tensor<Eight<F>>, b: &Tensor<Eight<F>>, a_at: &Place, b_at: &Place, first: usize) {
        let sizes = comptime!(self.sizes);
        load(&mut self.next_a, a, a_at, first, comptime!(sizes.others), sizes);
        load(&mut self.next_b, b, b_at, first, comptime!(sizes.others), sizes);
    }

    /// Puts what was asked for where all units read it. Nobody may read what was there any more.
    pub(super) fn put(&mut self) {
        let sizes = comptime!(self.sizes);
        store(&mut self.a, &self.next_a, comptime!(sizes.others), sizes);
        store(&mut self.b, &self.next_b, comptime!(sizes.others), sizes);
    }
}

/// What a unit holds of a tile on its way from a tensor.
#[cube]
fn held<F: Float>(#[comptime] rows: usize, #[comptime] sizes: Sizes) -> Array<Eight<F>> {
    Array::<Eight<F>>::new(comptime!(turns(rows, sizes)))
}

fn turns(rows: usize, sizes: Sizes) -> usize {
    (rows * sizes.width).div_ceil(UNITS)
}

/// The cube's own rows.
#[cube]
pub(super) fn fill<F: Float>(
    tile: &mut Shared<[Eight<F>]>,
    from: &Tensor<Eight<F>>,
    place: &Place,
    #[comptime] sizes: Sizes,
) {
    let mut held = held::<F>(OWN, sizes);
    load(&mut held, from, place, CUBE_POS_X as usize * OWN, OWN, sizes);
    store(tile, &held, OWN, sizes);
}

/// Rows from `first` on. Beyond the last it is read again: nobody looks at what comes of those rows, and no load waits for a condition.
#[cube]
fn load<F: Float>(
    held: &mut Array<Eight<F>>,
    from: &Tensor<Eight<F>>,
    place: &Place,
    first: usize,
    #[comptime] rows: usize,
    #[comptime] sizes: Sizes,
) {
    #[unroll]
    for turn in 0..comptime!(turns(rows, sizes)) {
        let (row, column) = own_part(turn, rows, sizes);
        held[turn] = from[place.row(clamp_max(first + row, place.rows - 1)) + column];
    }
}

#[cube]
fn store<F: Float>(
    tile: &mut Shared<[Eight<F>]>,
    held: &Array<Eight<F>>,
    #[comptime] rows: usize,
    #[comptime] sizes: Sizes,
) {
    #[unroll]
    for turn in 0..comptime!(turns(rows, sizes)) {
        let (row, column) = own_part(turn, rows, sizes);
        tile[row * comptime!(sizes.stride()) + column] = held[turn];
    }
}

/// Row and column of a tile. Units left over take the last place too, with the same numbers.
#[cube]
fn own_part(#[comptime] turn: usize, #[comptime] rows: usize, #[comptime] sizes: Sizes) -> (usize, usize) {
    let width = comptime!(sizes.width);
    let at = clamp_max(comptime!(turn * UNITS) + UNIT_POS as usize, comptime!(rows * width - 1));
    (at / width, at % width)
}

/// The first of this unit's two rows of a product's sums, of the cube's own; the other is 8 further.
#[cube]
pub(super) fn first_own_row() -> usize {
    CUBE_POS_X as usize * OWN + UNIT_POS_Y as usize * ROWS + UNIT_POS_X as usize / 4
}

/// The first of this unit's two columns of that tile of 8.
#[cube]
pub(super) fn column(#[comptime] tile: usize) -> usize {
    comptime!(8 * tile) + UNIT_POS_X as usize % 4 * 2
}

#[cube]
pub(super) fn zeros(#[comptime] length: usize) -> Array<Two<f32>> {
    let mut all = Array::<Two<f32>>::new(length);
    #[unroll]
    for at in 0..length {
        all[at] = Two::<f32>::new(0.0);
    }
    all
}

/// The plane's own rows times all the others, transposed: of each tile of 8 columns this unit's two of both rows, one after the other.
#[cube]
pub(super) fn products<F: Float>(
    own: &Shared<[Eight<F>]>,
    others: &Shared<[Eight<F>]>,
    #[comptime] sizes: Sizes,
) -> Array<Two<f32>> {
    let product = MmaDefinition::<F, F, f32>::new(16usize, 8usize, 16usize);
    let stride = comptime!(sizes.stride());
    let lane = UNIT_POS_X as usize;
    let mut sums = zeros(comptime!(sizes.others / 4));
    #[unroll]
    for step in 0..comptime!(sizes.padded() / 2) {
        let at = (UNIT_POS_Y as usize * ROWS + lane % 16) * stride + lane / 16 + comptime!(2 * step);
        let left = product.load_matrix::<Eight<F>, Const<2>>(&own[at..at + 1], MatrixIdent::A, 4usize, false);
        #[unroll]
        for pair in 0..comptime!(sizes.others / 16) {
            let row = comptime!(16 * pair) + lane / 16 * 8 + lane % 8;
            let at = row * stride + lane / 8 % 2 + comptime!(2 * step);
            let right = product.load_matrix::<Eight<F>, Const<2>>(&others[at..at + 1], MatrixIdent::B, 4usize, false);
            multiply(&product, &left, &right, &mut sums, comptime!(4 * pair));
        }
    }
    sums
}

/// Adds `left`, in the layout of [`products`], times the others.
#[cube]
pub(super) fn add_products<F: Float>(
    sums: &mut Array<Two<f32>>,
    left: &Array<Two<f32>>,
    others: &Shared<[Eight<F>]>,
    #[comptime] sizes: Sizes,
) {
    let product = MmaDefinition::<F, F, f32>::new(16usize, 8usize, 16usize);
    let lane = UNIT_POS_X as usize;
    #[unroll]
    for step in 0..comptime!(sizes.others / 16) {
        let mut rounded = Array::<Two<F>>::new(4usize);
        #[unroll]
        for i in 0..4usize {
            rounded[i] = Vector::cast_from(left[comptime!(4 * step + i)]);
        }
        #[unroll]
        for pair in 0..comptime!(sizes.padded() / 2) {
            let row = comptime!(16 * step) + lane % 16;
            let at = row * comptime!(sizes.stride()) + lane / 16 + comptime!(2 * pair);
            let right = product.load_matrix::<Eight<F>, Const<2>>(&others[at..at + 1], MatrixIdent::B, 4usize, true);
            multiply(&product, &rounded, &right, sums, comptime!(4 * pair));
        }
    }
}

/// Two products of the same left side, whose right sides lie one after the other.
#[cube]
fn multiply<F: Float>(
    product: &MmaDefinition<F, F, f32>,
    left: &Array<Two<F>>,
    right: &Array<Two<F>>,
    sums: &mut Array<Two<f32>>,
    #[comptime] first: usize,
) {
    #[unroll]
    for tile in 0..2usize {
        let at = comptime!(first + 2 * tile);
        let mut side = Array::<Two<F>>::new(2usize);
        let mut sum = Array::<Two<f32>>::new(2usize);
        #[unroll]
        for i in 0..2usize {
            side[i] = right[comptime!(2 * tile + i)];
            sum[i] = sums[comptime!(at + i)];
        }
        let sum = product.execute(left, &side, &sum);
        #[unroll]
        for i in 0..2usize {
            sums[comptime!(at + i)] = sum[i];
        }
    }
}

/// One of this unit's rows, times a factor.
#[cube]
pub(super) fn write<F: Float>(
    to: &mut Tensor<Two<F>>,
    first: usize,
    result: &Array<Two<f32>>,
    #[comptime] half: usize,
    factor: f32,
    #[comptime] sizes: Sizes,
) {
    #[unroll]
    for tile in 0..comptime!(sizes.width) {
        let at = (first + tile) * 4 + UNIT_POS_X as usize % 4;
        to[at] = Vector::cast_from(result[comptime!(2 * tile + half)] * Vector::new(factor));
    }
}

/// Over the units that share a row.
#[cube]
pub(super) fn most_of_four(value: f32) -> f32 {
    let two = max(value, plane_shuffle_xor(value, 1u32));
    max(two, plane_shuffle_xor(two, 2u32))
}

#[cube]
pub(super) fn total_of_four(value: f32) -> f32 {
    let two = value + plane_shuffle_xor(value, 1u32);
    two + plane_shuffle_xor(two, 2u32)
}

/// 2^x, in the one instruction that other powers are made of too (`ex2.approx` of PTX, 2 units in the last place).
#[cube]
pub(super) fn exp2(x: f32) -> f32 {
    let y: f32;
    gpu_asm!("ex2.approx.ftz.f32 {y}, {x};", x = in(_) x, y = out(_) y, options(nomem));
    y
}
