//! Operations on graphics cards by kernels of ours. They come between Burn's own: under fusion each waits for what is before it.

use burn::backend::TensorMetadata as _;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::prelude::{AddressType, CubeCount, CubeDim, ElemType};
use burn_cubecl::cubecl::{calculate_cube_count_elemwise, client::Client};
use burn_cubecl::kernel::{into_contiguous, untile};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::ops::{permute_nchw_to_nhwc, permute_nhwc_to_nchw, reshape};
use burn_cubecl::tensor::CubeTensor;

use super::card_norm::{self, AffineLaunch, Kind};
use super::card_pointwise;
use super::card_rows::UNITS;
use super::one_pass::{Kernels, Norm, affine_shape, half};

impl Kernels for CubeBackend {
    fn normalise(x: CubeTensor, scale: CubeTensor, shift: CubeTensor, norm: Norm) -> CubeTensor {
        let normed = Normed::new(&x, &scale, norm);
        let (x, [scale, shift]) = (normed.enter(x), [scale, shift].map(into_contiguous));
        let y = like(&x, x.shape(), x.dtype);
        let (client, rows) = (x.client.clone(), &normed.rows);
        card_norm::normalise::launch(
            &client,
            rows.cubes(&client),
            rows.dim(),
            address(&[&x, &y]),
            x.clone().into_tensor_arg(),
            scale.clone().into_tensor_arg(),
            shift.into_tensor_arg(),
            y.clone().into_tensor_arg(),
            rows.count,
            rows.width,
            normed.channels,
            normed.affine(),
            norm.epsilon() as f32,
            normed.kind,
            [element(x.dtype), element(scale.dtype)],
        );
        normed.leave(y)
    }

    fn normalise_backward(
        x: CubeTensor,
        scale: CubeTensor,
        shift: CubeTensor,
        grad: CubeTensor,
        norm: Norm,
        affine: bool,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let (normed, scale_shape) = (Normed::new(&x, &scale, norm), scale.shape());
        let ([x, grad], [scale, shift]) = ([x, grad].map(|t| normed.enter(t)), [scale, shift].map(into_contiguous));
        let (client, rows) = (x.client.clone(), &normed.rows);
        let dx = like(&x, x.shape(), x.dtype);
        let rows_seen = like(&x, [rows.count, 2].into(), DType::F32);
        card_norm::normalise_backward::launch(
            &client,
            rows.cubes(&client),
            rows.dim(),
            address(&[&x, &grad, &dx]),
            x.clone().into_tensor_arg(),
            scale.clone().into_tensor_arg(),
            shift.into_tensor_arg(),
            grad.clone().into_tensor_arg(),
            dx.clone().into_tensor_arg(),
            rows_seen.clone().into_tensor_arg(),
            rows.count,
            rows.width,
            normed.channels,
            normed.affine(),
            norm.epsilon() as f32,
            normed.kind,
            [element(x.dtype), element(scale.dtype)],
        );
        let [d_scale, d_shift] = [(); 2].map(|()| like(&x, affine_shape(&scale_shape, affine), scale.dtype));
        if affine {
            let (width, blocks) = (rows.width, scale_shape.num_elements() / rows.width.max(1));
            let (lanes, depth) = (32, 8);
            let [x, grad] = [x, grad].map(into_contiguous);
            card_norm::affine_backward::launch(
                &client,
                calculate_cube_count_elemwise(&client, blocks * width.div_ceil(lanes), CubeDim::new_single()),
                CubeDim::new_2d(lanes as u32, depth as u32),
                address(&[&x, &grad]),
                x.clone().into_tensor_arg(),
                grad.into_tensor_arg(),
                rows_seen.into_tensor_arg(),
                d_scale.clone().into_tensor_arg(),
                d_shift.clone().into_tensor_arg(),
                rows.count / blocks.max(1),
                width,
                lanes,
                depth,
                [element(x.dtype), element(scale.dtype)],
            );
        }
        (normed.leave(dx), d_scale, d_shift)
    }

    fn geglu(x: CubeTensor) -> CubeTensor {
        let x = into_contiguous(x);
        let shape = half(&x.shape());
        let (client, y) = (x.client.clone(), like(&x, shape.clone(), x.dtype));
        let (cubes, dim) = elementwise(&client, shape.num_elements());
        let (address, dtype) = (address(&[&x]), element(x.dtype));
        let [x, out] = [x, y.clone()].map(CubeTensor::into_tensor_arg);
        card_pointwise::geglu::launch(&client, cubes, dim, address, x, out, shape[shape.num_dims() - 1], dtype);
        y
    }

    fn geglu_backward(x: CubeTensor, grad: CubeTensor) -> CubeTensor {
        let [x, grad] = [x, grad].map(into_contiguous);
        let (client, dx, shape) = (x.client.clone(), like(&x, x.shape(), x.dtype), grad.shape());
        let (cubes, dim) = elementwise(&client, shape.num_elements());
        let (address, dtype) = (address(&[&x]), element(x.dtype));
        let [x, grad, out] = [x, grad, dx.clone()].map(CubeTensor::into_tensor_arg);
        card_pointwise::geglu_backward::launch(
            &client,
            cubes,
            dim,
            address,
            x,
            grad,
            out,
            shape[shape.num_dims() - 1],
            dtype,
        );
        dx
    }

    fn turn(x: CubeTensor, cosines: CubeTensor, sines: CubeTensor, back: bool) -> CubeTensor {
        let (client, y) = (x.client.clone(), like(&x, x.shape(), x.dtype));
        let (cubes, dim) = elementwise(&client, x.shape().num_elements() / 2);
        let (address, dtype) = (address(&[&x, &y]), element(x.dtype));
        let [cosines, sines] = [cosines, sines].map(into_contiguous);
        let [x, cosines, sines, out] = [untile(x), cosines, sines, y.clone()].map(CubeTensor::into_tensor_arg);
        // The turn back: of a pair the sines differ in their sign alone.
        let sign = if back { -1.0 } else { 1.0 };
        card_pointwise::turn::launch(&client, cubes, dim, address, x, cosines, sines, out, sign, dtype);
        y
    }
}

/// How the rows of a normalisation lie in its tensors.
struct Normed {
    rows: Rows,
    kind: Kind,
    shape: Shape,
    channels: usize,
    /// Rows with the same scale, scales, numbers of one, and how many numbers of x side by side take the same.
    affine: [usize; 4],
}

impl Normed {
    fn new(x: &CubeTensor, scale: &CubeTensor, norm: Norm) -> Self {
        let shape = x.shape();
        let (all, last) = (shape.num_elements(), shape[shape.num_dims() - 1]);
        match norm {
            Norm::Group { groups, silu, .. } => {
                let (channels, pixels) = (shape[1], shape[2] * shape[3]);
                let length = channels / groups;
                let channels_last = channels > 1 && permute_nchw_to_nhwc(x.clone()).is_contiguous();
                let rows = Rows::new(shape[0] * groups, length * pixels);
                let kind = Kind { centred: true, silu, channels_last, rank: 2, lanes: rows.lanes };
                Self { rows, kind, shape, channels, affine: [1, groups, length, pixels] }
            }
            Norm::Layer { .. } | Norm::Rms { .. } => {
                let rows = Rows::new(all / last.max(1), last);
                let blocks = (scale.shape().num_elements() / last.max(1)).max(1);
                let centred = matches!(norm, Norm::Layer { .. });
                let rank = shape.num_dims();
                let kind = Kind { centred, silu: false, channels_last: false, rank, lanes: rows.lanes };
                let affine = [(rows.count / blocks).max(1), blocks, last, 1];
                Self { rows, kind, shape, channels: last, affine }
            }
        }
    }

    /// A tensor as the kernels take it.
    fn enter(&self, t: CubeTensor) -> CubeTensor {
        if self.kind.channels_last {
            return into_contiguous(permute_nchw_to_nhwc(t));
        }
        if self.shape.num_dims() != self.kind.rank {
            return reshape(into_contiguous(t), [self.rows.count, self.rows.width].into());
        }
        let t = untile(t);
        if t.meta.strides().last() == Some(&1) { t } else { into_contiguous(t) }
    }

    /// What they gave, as it was before.
    fn leave(&self, t: CubeTensor) -> CubeTensor {
        if self.kind.channels_last { permute_nhwc_to_nchw(t) } else { reshape(t, self.shape.clone()) }
    }

    fn affine(&self) -> AffineLaunch {
        let [rows, cycle, length, run] = self.affine;
        AffineLaunch::new(rows, cycle, length, run)
    }
}

/// Rows that lie along the last axis, and how many units each is given.
pub(super) struct Rows {
    pub(super) count: usize,
    pub(super) width: usize,
    pub(super) lanes: usize,
}

impl Rows {
    fn new(count: usize, width: usize) -> Self {
        Self { count, width, lanes: (width / 4).next_power_of_two().clamp(32, UNITS) }
    }

    pub(super) fn of(t: &CubeTensor) -> Self {
        let shape = t.shape();
        let width = shape[shape.num_dims() - 1];
        Self::new(shape.num_elements() / width.max(1), width)
    }

    pub(super) fn dim(&self) -> CubeDim {
        CubeDim::new_2d(self.lanes as u32, (UNITS / self.lanes) as u32)
    }

    pub(super) fn cubes(&self, client: &Client) -> CubeCount {
        calculate_cube_count_elemwise(client, self.count * self.lanes, self.dim())
    }
}

pub(super) fn elementwise(client: &Client, numbers: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new(client, numbers);
    (calculate_cube_count_elemwise(client, numbers, dim), dim)
}

/// On the same device, not filled, in order.
pub(super) fn like(t: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(t.client.clone(), t.device.clone(), shape, dtype)
}

pub(super) fn element(dtype: DType) -> ElemType {
    dtype_to_storage_type(dtype)
}

pub(super) fn address(tensors: &[&CubeTensor]) -> AddressType {
    tensors.iter().map(|t| t.required_address_type()).max().unwrap_or_default()
}
