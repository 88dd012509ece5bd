//! OneTrainer's configurations and presets.

use serde_json::{Map, Value as Json};

use super::Rule::{self, Choice, Not, Quiet, Same, With};
use super::{EPOCHS, MEMORY, OPTIMISER, Reader, is_off, number, text};

/// Theirs, ours, and what OneTrainer does when a preset does not say (`TrainConfig.py`), where that is not what we do.
pub(super) const ASSUMED: &[(&str, &str, &str)] = &[
    ("lora_rank", "network.rank", "16"),
    ("lora_alpha", "network.alpha", "1"),
    ("learning_rate_scheduler", "train.schedule", "constant"),
    ("learning_rate_warmup_steps", "train.warmup", "200"),
    ("loss_weight_fn", "loss.weighting", "none"),
    ("masked_training", "dataset.masks", "false"),
];

pub(super) fn is(map: &Map<String, Json>) -> bool {
    map.contains_key("training_method") || map.contains_key("base_model_name") && map.contains_key("model_type")
}

const SCHEDULES: &[(&str, Result<&str, &str>)] = &[
    ("CONSTANT", Ok("constant")),
    ("COSINE", Ok("cosine")),
    ("LINEAR", Ok("linear")),
    ("COSINE_WITH_RESTARTS", Err("there are no restarts here; cosine without them is near")),
    ("COSINE_WITH_HARD_RESTARTS", Err("there are no restarts here; cosine without them is near")),
];

const WEIGHTINGS: &[(&str, Result<&str, &str>)] = &[
    ("CONSTANT", Ok("none")),
    ("MIN_SNR_GAMMA", Ok("min_snr")),
    ("DEBIASED_ESTIMATION", Ok("debiased")),
    ("P2", Err("Min-SNR is near")),
    ("SIGMA", Ok("sigma_sqrt")),
];

const TIMESTEPS: &[(&str, Result<&str, &str>)] = &[
    ("UNIFORM", Ok("uniform")),
    ("SIGMOID", Ok("sigmoid")),
    // The sigmoid of a normal number.
    ("LOGIT_NORMAL", Ok("sigmoid")),
];

const FORMATS: &[(&str, Result<&str, &str>)] =
    &[("FLOAT_16", Ok("f16")), ("BFLOAT_16", Ok("bf16")), ("FLOAT_32", Ok("f32"))];

pub(super) fn rule(key: &str) -> Option<Rule> {
    Some(match key {
        "base_model_name" => Same("base.path"),
        "vae.model_name" => Same("base.vae"),
        "concepts.path" => Same("dataset.folder"),
        "concepts.balancing" => With(repeats),
        "concepts.image.enable_random_flip" => Same("dataset.flip"),
        "concepts.text.enable_tag_shuffling" => Same("dataset.shuffle_tags"),
        "concepts.text.keep_tags_count" => Same("dataset.keep_tokens"),
        "concept_file_name" => Not("the pictures are named in that file: choose the folder"),
        "resolution" => With(resolution),
        "aspect_ratio_bucketing" => Same("dataset.buckets"),
        "lora_rank" => Same("network.rank"),
        "lora_alpha" => Same("network.alpha"),
        "dropout_probability" => Same("network.dropout"),
        "text_encoder.train" => Same("network.text_encoder"),
        "text_encoder.learning_rate" => With(text_rate),
        "batch_size" => Same("train.batch"),
        "gradient_accumulation_steps" => Same("train.accumulation"),
        "epochs" => Not(EPOCHS),
        "learning_rate" | "unet.learning_rate" | "prior.learning_rate" | "transformer.learning_rate" => With(rate),
        "learning_rate_scheduler" => Choice("train.schedule", SCHEDULES),
        "learning_rate_warmup_steps" => Same("train.warmup"),
        "optimizer.optimizer" => With(optimiser),
        "optimizer.weight_decay" => Same("train.weight_decay"),
        "optimizer.beta1" => Same("train.beta1"),
        "optimizer.beta2" => Same("train.beta2"),
        "optimizer.eps" => Same("train.epsilon"),
        "clip_grad_norm" => Same("train.clip_norm"),
        "seed" => Same("train.seed"),
        "loss_weight_fn" => Choice("loss.weighting", WEIGHTINGS),
        "loss_weight_strength" => With(gamma),
        "offset_noise_weight" => Same("loss.noise_offset"),
        "timestep_distribution" => Choice("loss.timestep_sampling", TIMESTEPS),
        "timestep_shift" => With(shift),
        "dynamic_timestep_shifting" => With(dynamic_shift),
        "force_v_prediction" => With(velocity),
        "rescale_noise_scheduler_to_zero_terminal_snr" => With(zero_snr),
        "save_every" => With(save_every),
        "sample_after" => With(sample_after),
        "samples" => With(samples),
        "sample_definition_file_name" => Not("the prompts are in that file: copy them into sample.prompts"),
        "output_dtype" => Choice("save.dtype", FORMATS),
        "output_model_destination" => With(name),
        "peft_type" | "training_method" => With(kind),
        "lora_decompose" => Not("DoRA is not trained yet; a LoRA is what is made instead"),
        "masked_training" => Same("dataset.masks"),
        "unmasked_weight" => Same("dataset.mask_weight"),
        "ema" => Not("no average of the weights is kept"),
        "layer_filter" => Not("every attention and feed-forward layer is trained"),
        "validation" => Not("hold pictures out with dataset.validation_split, or name a folder of them"),
        "text_encoder_layer_skip" | "text_encoder_2_layer_skip" => {
            Not("text is read as the base's own configuration says")
        }
        "mae_strength" | "log_cosh_strength" | "huber_strength" => Not("see loss.kind for the kinds of loss there are"),
        "mse_strength" | "max_noising_strength" => With(not_one),
        "noising_weight" | "noising_bias" | "min_noising_strength" => {
            Not("timesteps are drawn from the whole schedule")
        }
        "learning_rate_scaler" | "learning_rate_min_factor" => {
            Not("the learning rate is taken as it is, and falls to 0")
        }
        "perturbation_noise_weight" => Not("noise is shifted and layered only"),
        "lora_model_name" => Not("a run here starts from nothing, or goes on from its own save"),
        "force_circular_padding" => Not("edges are never joined"),
        "concepts.loss_weight" => With(loss_weight),
        _ if key.starts_with("unet.") || key.starts_with("prior.") || key.starts_with("transformer.") => Quiet,
        _ if ["text_encoder.", "text_encoder_2.", "text_encoder_3.", "vae.", "optimizer.", "concepts."]
            .iter()
            .any(|part| key.starts_with(part)) =>
        {
            Quiet
        }
        "gradient_checkpointing" | "layer_offload_fraction" | "enable_activation_offloading" => Quiet,
        "weight_dtype" | "train_dtype" | "fallback_train_dtype" => Not(MEMORY),
        "__version"
        | "workspace_dir"
        | "cache_dir"
        | "debug_mode"
        | "debug_dir"
        | "tensorboard"
        | "model_type"
        | "tensorboard_expose"
        | "tensorboard_port"
        | "latent_caching"
        | "clear_cache_before_training"
        | "dataloader_threads"
        | "train_device"
        | "temp_device"
        | "output_model_format"
        | "save_every_unit"
        | "save_skip_first"
        | "save_filename_prefix"
        | "sample_after_unit"
        | "sample_image_format"
        | "sample_skip_first"
        | "samples_to_tensorboard"
        | "non_ema_sampling"
        | "backup_after"
        | "backup_after_unit"
        | "rolling_backup"
        | "rolling_backup_count"
        | "backup_before_save"
        | "include_train_config"
        | "learning_rate_cycles"
        | "ema_decay"
        | "ema_update_step_interval"
        | "gradient_checkpointing_reentrant"
        | "validate_after"
        | "validate_after_unit"
        | "only_cache"
        | "lora_weight_dtype"
        | "bundle_additional_embeddings"
        | "attention_mechanism"
        | "align_prop"
        | "compile"
        | "dataloader_prefetch"
        | "multi_gpu"
        | "layer_filter_preset"
        | "layer_filter_regex"
        | "unmasked_probability"
        | "scale_rank"
        | "cloud"
        | "secrets"
        | "continue_last_backup"
        | "frames" => Quiet,
        _ if key.starts_with("cloud.") || key.starts_with("embedding.") || key.starts_with("secrets.") => Quiet,
        _ => return None,
    })
}

/// `"512"`, `"512x768"`, `"512, 768"`: several resolutions are one here.
fn resolution(reader: &mut Reader, key: &str, value: &Json) {
    let given = text(value);
    let first = given.split(',').next().unwrap_or_default();
    let sides: Vec<f64> = first.split('x').filter_map(|side| side.trim().parse().ok()).collect();
    let edge = match sides.as_slice() {
        [edge] => *edge,
        [width, height] => (width * height).sqrt(),
        _ => return reader.leave(key, value, "it is no size in pixels"),
    };
    if given.contains(',') {
        reader.leave(key, value, "pictures are trained at one resolution; the first was taken");
    }
    reader.set(key, value, "dataset.resolution", &format!("{:.0}", (edge / 8.0).round() * 8.0));
}

fn repeats(reader: &mut Reader, key: &str, value: &Json) {
    if let Some(times) = number(value).filter(|times| *times != 1.0) {
        if times > 1.0 && times.fract() == 0.0 {
            reader.set(key, value, "dataset.repeats", &text(value));
        } else {
            reader.leave(key, value, "a folder is shown a whole number of times");
        }
    }
}

fn text_rate(reader: &mut Reader, key: &str, value: &Json) {
    if !is_off(value) && reader.is_on("text_encoder.train") {
        reader.set(key, value, "train.text_encoder_lr", &text(value));
    }
}

/// The denoiser's own rate is what counts where both are given.
fn rate(reader: &mut Reader, key: &str, value: &Json) {
    let own = ["unet", "prior", "transformer"].iter().any(|part| reader.is_on(&format!("{part}.learning_rate")));
    if !is_off(value) && (key != "learning_rate" || !own) {
        reader.set(key, value, "train.learning_rate", &text(value));
    }
}

fn not_one(reader: &mut Reader, key: &str, value: &Json) {
    if number(value).is_some_and(|number| number != 1.0) {
        reader.leave(key, value, "it is 1 here");
    }
}

fn optimiser(reader: &mut Reader, key: &str, value: &Json) {
    match text(value).to_uppercase().as_str() {
        "ADAMW_8BIT" => reader.set(key, value, "train.optimiser", "adamw8bit"),
        "ADAMW" => reader.set(key, value, "train.optimiser", "adamw"),
        _ => reader.leave(key, value, OPTIMISER),
    }
}

fn gamma(reader: &mut Reader, key: &str, value: &Json) {
    if reader.all.get("loss_weight_fn").is_some_and(|name| text(name) == "MIN_SNR_GAMMA") {
        reader.set(key, value, "loss.min_snr_gamma", &text(value));
    }
}

fn shift(reader: &mut Reader, key: &str, value: &Json) {
    if number(value).is_some_and(|shift| shift != 1.0) && !reader.is_on("dynamic_timestep_shifting") {
        reader.set(key, value, "loss.timestep_sampling", "shift");
        reader.set(key, value, "loss.flow_shift", &text(value));
    }
}

fn dynamic_shift(reader: &mut Reader, key: &str, value: &Json) {
    if !is_off(value) {
        reader.set(key, value, "loss.timestep_sampling", "flux_shift");
    }
}

fn velocity(reader: &mut Reader, key: &str, value: &Json) {
    if !is_off(value) {
        reader.set(key, value, "loss.prediction", "v");
    }
}

fn zero_snr(reader: &mut Reader, key: &str, value: &Json) {
    if !is_off(value) {
        reader.set(key, value, "loss.zero_terminal_snr", "on");
    }
}

/// Of `steps`, `epochs` and times, what a number counts.
fn unit(reader: &Reader, key: &str) -> String {
    reader.all.get(key).map(text).unwrap_or_default().to_uppercase()
}

fn save_every(reader: &mut Reader, key: &str, value: &Json) {
    match unit(reader, "save_every_unit").as_str() {
        _ if is_off(value) => {}
        "STEP" => reader.set(key, value, "save.every", &text(value)),
        "NEVER" => {}
        _ => reader.leave(key, value, "saves are counted in steps here"),
    }
}

fn sample_after(reader: &mut Reader, key: &str, value: &Json) {
    match unit(reader, "sample_after_unit").as_str() {
        _ if is_off(value) => {}
        "NEVER" => reader.set(key, value, "sample.every", "0"),
        "STEP" => reader.set(key, value, "sample.every", &text(value)),
        "EPOCH" => {
            reader.set(key, value, "sample.every", &text(value));
            reader.set(key, value, "sample.unit", "epochs");
        }
        _ => reader.leave(key, value, "previews are counted in steps or epochs here, not in time"),
    }
}

fn samples(reader: &mut Reader, key: &str, value: &Json) {
    let prompts: Vec<String> = value
        .as_array()
        .into_iter()
        .flatten()
        .filter(|sample| sample["enabled"] != Json::Bool(false))
        .filter_map(|sample| sample["prompt"].as_str())
        .map(|prompt| prompt.trim().to_owned())
        .filter(|prompt| !prompt.is_empty())
        .collect();
    if !prompts.is_empty() {
        let given = format!("{} prompts", prompts.len());
        reader.put(key, given, "sample.prompts", crate::setting::Value::List(prompts));
    }
}

fn name(reader: &mut Reader, key: &str, value: &Json) {
    let given = text(value);
    // Files come from either kind of system.
    let file = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = file.strip_suffix(".safetensors").unwrap_or(file);
    if !stem.is_empty() {
        reader.set(key, value, "save.name", stem);
    }
}

fn kind(reader: &mut Reader, key: &str, value: &Json) {
    if !is_off(value) && text(value) != "LORA" {
        reader.leave(key, value, "only LoRA is trained; a LoRA is what is made instead");
    }
}

fn loss_weight(reader: &mut Reader, key: &str, value: &Json) {
    if number(value).is_some_and(|weight| weight != 1.0) {
        reader.leave(key, value, "all pictures count alike; repeats make some count more");
    }
}
