//! The blocks: modulation, joint attention, MLP.

use burn::Tensor;
use lorikeet_nn::{
    Context, Linear, Loader, NnError,
    ops::{Rotary, gelu_tanh, modulated_layer_norm, rms_norm, sdpa, silu},
};

use super::config::FluxConfig;

const EPSILON: f64 = 1e-6;

/// BFL `DoubleStreamBlock`: two streams that meet in one attention.
#[derive(Debug)]
pub(super) struct DoubleBlock {
    img: Stream,
    txt: Stream,
    heads: usize,
}

/// The weights of one of the two.
#[derive(Debug)]
struct Stream {
    modulation: Modulation,
    qkv: Linear,
    norm: QkNorm,
    proj: Linear,
    mlp_in: Linear,
    mlp_out: Linear,
}

impl DoubleBlock {
    pub(super) fn load(loader: &Loader, config: &FluxConfig) -> Result<Self, NnError> {
        Ok(Self {
            img: Stream::load(loader, "img", config)?,
            txt: Stream::load(loader, "txt", config)?,
            heads: config.num_heads,
        })
    }

    /// `picture` `[b, rows, columns, hidden]`, `text` `[b, 1, m, hidden]`, `vector` `[b, 1, hidden]` → both anew.
    pub(super) fn forward(
        &self,
        cx: &Context,
        picture: Tensor<4>,
        text: Tensor<4>,
        vector: &Tensor<3>,
        rotary: &Rotary,
    ) -> [Tensor<4>; 2] {
        let shape = picture.dims();
        let (picture, text) = (to_sequence(picture), to_sequence(text));
        let [tokens, patches] = [text.dims()[1], picture.dims()[1]];
        let [img_attention, img_mlp] = self.img.modulation.forward(cx, vector);
        let [txt_attention, txt_mlp] = self.txt.modulation.forward(cx, vector);

        let img_qkv = self.img.heads(cx, img_attention.apply(picture.clone()), self.heads);
        let txt_qkv = self.txt.heads(cx, txt_attention.apply(text.clone()), self.heads);
        let [[img_q, img_k, img_v], [txt_q, txt_k, txt_v]] = [img_qkv, txt_qkv];
        let join = |text, picture| Tensor::cat(vec![text, picture], 2);
        let mixed = attention([join(txt_q, img_q), join(txt_k, img_k), join(txt_v, img_v)], rotary);

        let picture = self.img.finish(cx, picture, mixed.clone().narrow(1, tokens, patches), img_attention, img_mlp);
        let text = self.txt.finish(cx, text, mixed.narrow(1, 0, tokens), txt_attention, txt_mlp);
        [picture.reshape(shape), text.unsqueeze_dim(1)]
    }

    pub(super) fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.img.linears().into_iter().chain(self.txt.linears())
    }
}

impl Stream {
    fn load(loader: &Loader, name: &str, config: &FluxConfig) -> Result<Self, NnError> {
        let width = config.hidden_size;
        let (attention, mlp) = (loader.at(format!("{name}_attn")), loader.at(format!("{name}_mlp")));
        Ok(Self {
            modulation: Modulation::load(&loader.at(format!("{name}_mod")), width, 6)?,
            qkv: Linear::load(&attention.at("qkv"), width, 3 * width, true)?,
            norm: QkNorm::load(&attention.at("norm"), width / config.num_heads)?,
            proj: Linear::load(&attention.at("proj"), width, width, true)?,
            mlp_in: Linear::load(&mlp.at(0), width, config.mlp_size(), true)?,
            mlp_out: Linear::load(&mlp.at(2), config.mlp_size(), width, true)?,
        })
    }

    /// q, k, v `[b, heads, n, head_dim]` of `x` `[b, n, hidden]`.
    fn heads(&self, cx: &Context, x: Tensor<3>, heads: usize) -> [Tensor<4>; 3] {
        let width = x.dims()[2];
        let qkv = self.qkv.forward_split(cx, x, [width; 3]);
        self.norm.forward(qkv.map(|x| split_heads(x, heads)))
    }

    /// The residual sums around attention and MLP.
    fn finish(&self, cx: &Context, x: Tensor<3>, mixed: Tensor<3>, attention: Shift, mlp: Shift) -> Tensor<3> {
        let x = x + attention.gate * self.proj.forward(cx, mixed);
        let hidden = gelu_tanh(self.mlp_in.forward(cx, mlp.apply(x.clone())));
        x + mlp.gate * self.mlp_out.forward(cx, hidden)
    }

    fn linears(&self) -> [&Linear; 5] {
        [&self.modulation.lin, &self.qkv, &self.proj, &self.mlp_in, &self.mlp_out]
    }
}

/// BFL `SingleStreamBlock`: attention and MLP of the joined sequence side by side.
#[derive(Debug)]
pub(super) struct SingleBlock {
    modulation: Modulation,
    /// q, k, v and the MLP's first half in one product.
    linear1: Linear,
    norm: QkNorm,
    /// Output projection and the MLP's second half in one product.
    linear2: Linear,
    heads: usize,
    mlp: usize,
}

impl SingleBlock {
    pub(super) fn load(loader: &Loader, config: &FluxConfig) -> Result<Self, NnError> {
        let (width, mlp) = (config.hidden_size, config.mlp_size());
        Ok(Self {
            modulation: Modulation::load(&loader.at("modulation"), width, 3)?,
            linear1: Linear::load(&loader.at("linear1"), width, 3 * width + mlp, true)?,
            norm: QkNorm::load(&loader.at("norm"), width / config.num_heads)?,
            linear2: Linear::load(&loader.at("linear2"), width + mlp, width, true)?,
            heads: config.num_heads,
            mlp,
        })
    }

    /// As [`DoubleBlock::forward`].
    pub(super) fn forward(
        &self,
        cx: &Context,
        picture: Tensor<4>,
        text: Tensor<4>,
        vector: &Tensor<3>,
        rotary: &Rotary,
    ) -> [Tensor<4>; 2] {
        let shape = picture.dims();
        let [_, _, tokens, width] = text.dims();
        let x = Tensor::cat(vec![to_sequence(text), to_sequence(picture)], 1);
        let patches = x.dims()[1] - tokens;
        let [shift] = self.modulation.forward(cx, vector);
        let sizes = [width, width, width, self.mlp];
        let [q, k, v, hidden] = self.linear1.forward_split(cx, shift.apply(x.clone()), sizes);
        let qkv = self.norm.forward([q, k, v].map(|x| split_heads(x, self.heads)));
        let x = x + shift.gate * self.linear2.forward_joined(cx, [attention(qkv, rotary), gelu_tanh(hidden)]);
        [x.clone().narrow(1, tokens, patches).reshape(shape), x.narrow(1, 0, tokens).unsqueeze_dim(1)]
    }

    pub(super) fn linears(&self) -> [&Linear; 3] {
        [&self.modulation.lin, &self.linear1, &self.linear2]
    }
}

/// BFL `LastLayer`.
#[derive(Debug)]
pub(super) struct FinalLayer {
    ada_ln_modulation: Linear,
    linear: Linear,
}

impl FinalLayer {
    pub(super) fn load(loader: &Loader, config: &FluxConfig) -> Result<Self, NnError> {
        let width = config.hidden_size;
        Ok(Self {
            ada_ln_modulation: Linear::load(&loader.at("adaLN_modulation").at(1), width, 2 * width, true)?,
            linear: Linear::load(&loader.at("linear"), width, config.in_channels, true)?,
        })
    }

    /// `picture` `[b, rows, columns, hidden]` → `[b, rows, columns, in_channels]`.
    pub(super) fn forward(&self, cx: &Context, picture: Tensor<4>, vector: &Tensor<3>) -> Tensor<4> {
        let [b, rows, columns, _] = picture.dims();
        let [shift, scale] = chunks(self.ada_ln_modulation.forward(cx, silu(vector.clone())));
        let x = modulated_layer_norm(to_sequence(picture), shift, scale, EPSILON);
        let x = self.linear.forward(cx, x);
        let channels = x.dims()[2];
        x.reshape([b, rows, columns, channels])
    }

    pub(super) fn linears(&self) -> [&Linear; 2] {
        [&self.ada_ln_modulation, &self.linear]
    }
}

/// One layer that makes shift, scale and gate `[b, 1, hidden]` out of the vector, once or twice over.
#[derive(Debug)]
struct Modulation {
    lin: Linear,
}

#[derive(Clone)]
struct Shift {
    shift: Tensor<3>,
    scale: Tensor<3>,
    gate: Tensor<3>,
}

impl Modulation {
    fn load(loader: &Loader, width: usize, parts: usize) -> Result<Self, NnError> {
        Ok(Self { lin: Linear::load(&loader.at("lin"), width, parts * width, true)? })
    }

    fn forward<const N: usize>(&self, cx: &Context, vector: &Tensor<3>) -> [Shift; N] {
        let parts: [Tensor<3>; N] = chunks(self.lin.forward(cx, silu(vector.clone())));
        parts.map(|part| {
            let [shift, scale, gate] = chunks(part);
            Shift { shift, scale, gate }
        })
    }
}

impl Shift {
    fn apply(&self, x: Tensor<3>) -> Tensor<3> {
        modulated_layer_norm(x, self.shift.clone(), self.scale.clone(), EPSILON)
    }
}

/// RMS norms of q and k, over each head.
#[derive(Debug)]
struct QkNorm {
    query_norm: Tensor<1>,
    key_norm: Tensor<1>,
}

impl QkNorm {
    fn load(loader: &Loader, head_dim: usize) -> Result<Self, NnError> {
        // Some programs that save anew call the scale `weight`.
        let scale = |name| {
            let loader = loader.at(name);
            loader.tensor("scale", [head_dim]).or_else(|error| match error {
                NnError::MissingTensor { .. } => loader.tensor("weight", [head_dim]).map_err(|_| error),
                error => Err(error),
            })
        };
        Ok(Self { query_norm: scale("query_norm")?, key_norm: scale("key_norm")? })
    }

    fn forward(&self, [q, k, v]: [Tensor<4>; 3]) -> [Tensor<4>; 3] {
        [rms_norm(q, self.query_norm.clone(), EPSILON), rms_norm(k, self.key_norm.clone(), EPSILON), v]
    }
}

/// `[b, n, hidden]` → `[b, heads, n, head_dim]`.
fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [b, n, width] = x.dims();
    x.reshape([b, n, heads, width / heads]).swap_dims(1, 2)
}

/// q, k, v `[b, heads, n, head_dim]` → `[b, n, hidden]`.
fn attention([q, k, v]: [Tensor<4>; 3], rotary: &Rotary) -> Tensor<3> {
    let [b, heads, n, head_dim] = q.dims();
    sdpa(rotary.turn(q), rotary.turn(k), v).swap_dims(1, 2).reshape([b, n, heads * head_dim])
}

/// `[b, rows, columns, width]` → `[b, rows * columns, width]`.
fn to_sequence(x: Tensor<4>) -> Tensor<3> {
    let [b, rows, columns, width] = x.dims();
    x.reshape([b, rows * columns, width])
}

/// N equal parts of the last axis.
fn chunks<const N: usize>(x: Tensor<3>) -> [Tensor<3>; N] {
    let part = x.dims()[2] / N;
    std::array::from_fn(|i| x.clone().narrow(2, i * part, part))
}
