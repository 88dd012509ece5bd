//! The text encoder inside a training step.

use burn::Tensor;
use burn::tensor::Int;
use lorikeet_adapters::LoraSet;
use lorikeet_models::clip::ClipTextModel;
use lorikeet_nn::Context;
use lorikeet_nn::segmented::LeafSource as _;

/// `ids` `[b, 77]` → plain states `[b, 77, width]`, adapters at work.
pub fn text_states(text: &ClipTextModel, set: &LoraSet, ids: Tensor<2, Int>) -> Tensor<3> {
    text.forward(&Context::with(&*set.plain()), ids, 1)
}

/// Carries the gradient that the UNet gave for the text states back into the text encoder's adapters.
pub fn text_backward(text: &ClipTextModel, set: &LoraSet, ids: Tensor<2, Int>, gradient: Tensor<3>) {
    let tracked = set.tracked();
    let states = text.forward(&Context::with(tracked.deltas()), ids, 1);
    if states.is_tracked() {
        // The gradient of this sum with respect to the states is the one given.
        let mut gradients = (states * gradient).sum().backward();
        tracked.collect(&mut gradients);
    }
}
