use super::*;
use crate::example;
use crate::facts::UnetShape;

const ONE: MemoryChoice =
    MemoryChoice { segments: Segments::One, placement: Placement::Resident, quantise: Quantise::None };
const PER_BLOCK: MemoryChoice = MemoryChoice { segments: Segments::PerBlock, ..ONE };

/// One level of 2 channels on 4 x 4 latents: one resnet down, two in the middle, two up.
fn tiny() -> (BaseFacts, Load) {
    let mut base = example::demo_base();
    (base.denoiser_params, base.text[0].params, base.vae_params, base.vae_channels) = (100, 10, 1, 0);
    (base.denoiser_matrices, base.text[0].matrices) = (60, 8);
    base.denoiser = DenoiserShape::Unet(UnetShape {
        block_out_channels: vec![2],
        layers_per_block: 1,
        transformer_depth: vec![0],
        heads: vec![1],
        context_width: 8,
    });
    let load = Load {
        width: 32,
        height: 32,
        batch: 3,
        trainable_parameters: 5,
        eight_bit: false,
        text_encoder: false,
        quantise_text: None,
        preview: None,
        number_bytes: 4,
        mapped: false,
    };
    (base, load)
}

fn bytes(estimate: &MemoryEstimate, name: &str) -> u64 {
    estimate.parts.iter().find(|part| part.name == name).map_or(0, |part| part.bytes)
}

#[test]
fn one_segment_keeps_the_sum_over_the_blocks() {
    let (base, load) = tiny();
    let estimate = estimate(&base, &load, ONE);
    // Down and middle: 3 resnets of 4 (2 + 2) 16 = 256. Up: 2 resnets with a skip, 4 (4 + 2) 16 = 384. 3 pictures, f32.
    assert_eq!(bytes(&estimate, "activations"), (3 * 256 + 2 * 384) * 3 * 4);
    assert_eq!(bytes(&estimate, "outputs of blocks"), 0);
    assert_eq!(bytes(&estimate, "convolution at work"), 9 * 4 * 16 * 3 * 4);
    assert_eq!(bytes(&estimate, "UNet weights"), 400);
    assert_eq!(bytes(&estimate, "LoRA and optimiser"), 60);
    assert_eq!(estimate.peak_bytes, 400 + 80 + 18_432 + 6_912);
}

#[test]
fn one_segment_a_block_keeps_the_largest_and_all_outputs() {
    let (base, load) = tiny();
    let estimate = estimate(&base, &load, PER_BLOCK);
    assert_eq!(bytes(&estimate, "activations"), 384 * 3 * 4);
    // conv_in and five resnets.
    assert_eq!(bytes(&estimate, "outputs of blocks"), 6 * 2 * 16 * 3 * 4);
}

#[test]
fn eight_bit_averages_take_less() {
    let (base, load) = tiny();
    let load = Load { trainable_parameters: 1000, eight_bit: true, ..load };
    assert_eq!(bytes(&estimate(&base, &load, ONE), "LoRA and optimiser"), 6_000);
}

#[test]
fn previews_and_steps_do_not_add_up() {
    let (base, load) = tiny();
    let without = estimate(&base, &load, ONE).peak_bytes;
    let with = estimate(&base, &Load { preview: Some((32, 32, true)), ..load }, ONE).peak_bytes;
    assert_eq!(with, without, "a small preview needs less than a step");
}

#[test]
fn gradients_are_gone_when_a_preview_is_drawn() {
    let (mut base, load) = tiny();
    base.vae_channels = 1;
    let load = Load { trainable_parameters: 1_000_000, preview: Some((1024, 1024, false)), ..load };
    let estimate = estimate(&base, &load, ONE);
    // 12 for master and averages of each number; 14 f32 for each pixel while the autoencoder draws.
    let drawing = 1024 * 1024 * 14 * 4;
    assert_eq!(bytes(&estimate, "gradients of the LoRA"), 4_000_000);
    assert_eq!(estimate.needed_bytes, 400 + 12_000_000 + drawing + 4);
}

#[test]
fn a_training_text_encoder_stays_loaded() {
    let (base, load) = tiny();
    let estimate = estimate(&base, &Load { text_encoder: true, ..load }, ONE);
    assert_eq!(bytes(&estimate, "text encoder weights"), 40);
    assert!(bytes(&estimate, "text encoder activations") > 0);
}

fn flux(choice: MemoryChoice, number_bytes: u64) -> MemoryEstimate {
    let load = Load {
        width: 512,
        height: 512,
        batch: 1,
        trainable_parameters: 0,
        eight_bit: false,
        text_encoder: false,
        quantise_text: None,
        preview: None,
        number_bytes,
        mapped: false,
    };
    estimate(&example::flux_dev_base(), &load, choice)
}

#[test]
fn fewer_bits_and_streaming_make_large_weights_small() {
    let weights =
        |placement, quantise| bytes(&flux(MemoryChoice { placement, quantise, ..PER_BLOCK }, 2), "transformer weights");
    let base = example::flux_dev_base();
    let (all, rest) = (base.denoiser_matrices, 2 * (base.denoiser_params - base.denoiser_matrices));
    assert_eq!(weights(Placement::Resident, Quantise::None), 2 * all + rest);
    assert_eq!(weights(Placement::Resident, Quantise::Int8), all + all / 64 + rest);
    assert_eq!(weights(Placement::Resident, Quantise::Int4), all / 2 + all / 32 + rest);
    // Two double blocks of 36 H^2.
    let two = 2 * 36 * 3072 * 3072;
    assert_eq!(weights(Placement::Stream, Quantise::None), 2 * two + rest);
    assert_eq!(weights(Placement::Host, Quantise::None), 2 * two + rest);
    assert_eq!(weights(Placement::Host, Quantise::Int8), two + two / 64 + rest);
    let host = |placement| flux(MemoryChoice { placement, quantise: Quantise::Int8, ..PER_BLOCK }, 2).host_bytes;
    assert_eq!((host(Placement::Host), host(Placement::Resident)), (all + all / 64, 0));
}

#[test]
fn on_the_cpu_streamed_matrices_take_nothing_but_convolutions_stay() {
    let base = example::sdxl_base();
    let load = Load { mapped: true, ..tiny().1 };
    let choice = MemoryChoice { placement: Placement::Stream, ..PER_BLOCK };
    let rest = 4 * (base.denoiser_params - base.denoiser_matrices);
    assert_eq!(bytes(&estimate(&base, &load, choice), "UNet weights"), rest);
    let text = Load { quantise_text: Some(Quantise::Int8), ..load };
    let kept = |text: &crate::facts::TextFacts| 4 * (text.params - text.matrices) + text.matrices * 65 / 64;
    let expected: u64 = base.text.iter().map(kept).sum();
    assert_eq!(bytes(&estimate(&base, &text, choice), "text encoders"), expected);
}

#[test]
fn mapped_files_are_seen_but_not_needed() {
    let base = example::sd15_base();
    let load = Load { mapped: true, preview: None, ..tiny().1 };
    let load = Load { width: 512, height: 512, batch: 1, ..load };
    let (matrices, rest) = (base.denoiser_matrices, 4 * (base.denoiser_params - base.denoiser_matrices));
    for (placement, pages) in [(Placement::Stream, 2.0), (Placement::Resident, 2.0), (Placement::Host, 0.0)] {
        let choice = MemoryChoice { placement, ..PER_BLOCK };
        let estimate = estimate(&base, &load, choice);
        let found = (estimate.peak_bytes - estimate.needed_bytes) as f64 / matrices as f64;
        assert!((found - pages).abs() < 0.02, "{placement:?}: {found} bytes a number");
        let copied = if placement == Placement::Host { 4 * matrices } else { 0 };
        assert_eq!(bytes(&estimate, "UNet weights"), rest + copied);
        // Only what is read again in each step can do without room for it.
        let room = if placement == Placement::Stream { estimate.needed_bytes } else { estimate.peak_bytes };
        assert_eq!(estimate.room(choice), room);
    }
    let eight = estimate(&base, &load, MemoryChoice { quantise: Quantise::Int8, ..PER_BLOCK });
    assert_eq!(eight.peak_bytes, eight.needed_bytes);
}
