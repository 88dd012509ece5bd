//! Convolution with a frozen weight, for each backend.

use burn::backend::ops::{FloatTensorOps as _, ModuleOps as _};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata as _};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Shape};

use super::cpu_conv::{self, Kernel, Sizes};
use super::pool;

pub(super) trait Convolve: Backend {
    /// `x` `[b, in, h, w]`, `weight` `[out, in, k, k]`, `bias` `[out]` → `[b, out, h', w']`.
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d(x, weight, Some(bias), options)
    }

    /// The gradient of an input of this shape.
    fn convolve_backward(
        grad: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: Shape,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        // Only the shape of x is read: one number, seen at every place, stands for it.
        let one = Self::float_empty(Shape::new([1, 1, 1, 1]), &grad.device(), grad.dtype().into());
        Self::conv2d_x_backward(Self::float_expand(one, shape), weight, grad, options)
    }
}

#[cfg(feature = "card")]
impl Convolve for burn_cubecl::Cube {}

impl Convolve for Flex {
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        let Some(sizes) = sizes(&x.shape(), &x, &weight, &options) else {
            return Self::conv2d(x, weight, Some(bias), options);
        };
        let x = x.to_contiguous();
        let bias = bias.to_contiguous();
        let y = with_kernel(&weight, |kernel| {
            cpu_conv::forward(sizes, x.as_slice::<f32>().unwrap_or_default(), kernel, bias.as_slice::<f32>())
        });
        let [height, width] = sizes.out();
        pool::tensor(y, [sizes.batch, sizes.outputs, height, width].into())
    }

    fn convolve_backward(
        grad: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: Shape,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        let Some(sizes) = sizes(&shape, &grad, &weight, &options) else {
            let one = Self::float_empty(Shape::new([1, 1, 1, 1]), &grad.device(), grad.dtype().into());
            return Self::conv2d_x_backward(Self::float_expand(one, shape), weight, grad, options);
        };
        let grad = grad.to_contiguous();
        let dx = with_kernel(&weight, |kernel| {
            cpu_conv::backward(sizes, grad.as_slice::<f32>().unwrap_or_default(), kernel)
        });
        pool::tensor(dx, shape)
    }
}

/// Of a convolution that [`cpu_conv`] can do.
fn sizes(
    x: &Shape,
    numbers: &FloatTensor<Flex>,
    weight: &FloatTensor<Flex>,
    options: &ConvOptions<2>,
) -> Option<Sizes> {
    let kernel = weight.shape();
    let sizes = Sizes {
        batch: x[0],
        inputs: x[1],
        outputs: kernel[0],
        height: x[2],
        width: x[3],
        kernel: kernel[2],
        stride: options.stride[0],
        padding: options.padding[0].0,
    };
    let square = kernel[2] == kernel[3]
        && options.stride == [sizes.stride; 2]
        && options.padding == [(sizes.padding, sizes.padding); 2];
    let f32s = numbers.dtype() == DType::F32 && weight.dtype() == DType::F32;
    let plain = options.dilation == [1, 1] && options.groups == 1;
    (square && f32s && plain && sizes.possible()).then_some(sizes)
}

/// Hands over the weight as [`crate::Loader`] lays it out for the CPU; one that lies otherwise is copied first.
fn with_kernel<R>(weight: &FloatTensor<Flex>, f: impl FnOnce(Kernel) -> R) -> R {
    let shape = weight.shape();
    let laid = weight.permute(&[2, 3, 1, 0]);
    let kernel = |data| Kernel { data, shape: [shape[1], shape[0]], turned: false };
    match laid.as_slice::<f32>() {
        Some(data) if laid.is_contiguous() => f(kernel(data)),
        _ => f(kernel(laid.to_contiguous().as_slice::<f32>().unwrap_or_default())),
    }
}
