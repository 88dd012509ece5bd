//! kohya's sd-scripts (`--config_file`, dataset TOML) and the JSON files of kohya_ss.

use serde_json::Value as Json;

use super::Rule::{self, Choice, Not, Quiet, Same, With};
use super::{EPOCHS, MEMORY, OPTIMISER, Reader, is_off, number, text};

/// Theirs, ours, and what sd-scripts does when nothing is said, where that is not what we do.
pub(super) const ASSUMED: &[(&str, &str, &str)] = &[
    ("network_dim", "network.rank", "4"),
    ("network_alpha", "network.alpha", "1"),
    ("lr_scheduler", "train.schedule", "constant"),
    ("lr_warmup_steps", "train.warmup", "0"),
    ("caption_dropout_rate", "dataset.caption_dropout", "0"),
    ("flip_aug", "dataset.flip", "false"),
    ("train_batch_size", "train.batch", "1"),
    ("min_snr_gamma", "loss.weighting", "none"),
];

const SAMPLERS: &[(&str, Result<&str, &str>)] = &[
    ("euler", Ok("euler")),
    ("k_euler", Ok("euler")),
    ("euler_a", Ok("euler_a")),
    ("k_euler_a", Ok("euler_a")),
    ("dpmsolver++", Ok("dpmpp_2m")),
    ("ddim", Ok("ddim")),
];

const SCHEDULES: &[(&str, Result<&str, &str>)] = &[
    ("constant", Ok("constant")),
    ("constant_with_warmup", Ok("constant")),
    ("cosine", Ok("cosine")),
    ("cosine_with_restarts", Err("there are no restarts here; cosine without them is near")),
    ("linear", Ok("linear")),
    ("polynomial", Err("linear is near")),
    ("adafactor", Err(OPTIMISER)),
];

const FORMATS: &[(&str, Result<&str, &str>)] =
    &[("fp16", Ok("f16")), ("bf16", Ok("bf16")), ("float", Ok("f32")), ("fp32", Ok("f32"))];

const LOSSES: &[(&str, Result<&str, &str>)] =
    &[("l2", Ok("l2")), ("l1", Err("smooth L1 is near")), ("huber", Ok("huber")), ("smooth_l1", Ok("smooth_l1"))];

const HUBER: &[(&str, Result<&str, &str>)] =
    &[("constant", Ok("constant")), ("exponential", Ok("exponential")), ("snr", Ok("snr"))];

const TIMESTEPS: &[(&str, Result<&str, &str>)] =
    &[("uniform", Ok("uniform")), ("sigmoid", Ok("sigmoid")), ("shift", Ok("shift")), ("flux_shift", Ok("flux_shift"))];

/// How sd-scripts and kohya_ss do their work, not what comes of it; and what belongs to kinds of adapters that [`kind`] tells of.
const QUIET: &str = "\
    gradient_checkpointing mixed_precision xformers sdpa mem_eff_attn cache_latents cache_latents_to_disk \
    cache_text_encoder_outputs cache_text_encoder_outputs_to_disk vae_batch_size max_data_loader_n_workers \
    persistent_data_loader_workers num_cpu_threads_per_process logging_dir log_with log_tracker_name \
    caption_extension save_model_as save_state no_metadata num_processes num_machines gpu_ids multi_gpu sdxl v2 \
    flux1_checkbox split_mode wandb_run_name model_list lr_scheduler_power unit factor save_last_n_steps_state \
    save_state_on_train_end use_wandb dynamo_backend dynamo_mode main_process_port extra_accelerate_launch_args \
    LyCORIS_preset skip_cache_check ddp_gradient_as_bucket_view ddp_static_graph disable_mmap_load_safetensors \
    noise_offset_type fused_backward_pass cpu_offload_checkpointing prior_loss_weight model_prediction_type";

pub(super) fn rule(key: &str) -> Option<Rule> {
    Some(match key {
        "pretrained_model_name_or_path" => Same("base.path"),
        "vae" | "ae" => Same("base.vae"),
        "clip_l" => Same("base.text_encoder"),
        "t5xxl" => Same("base.text_encoder_2"),
        "train_data_dir" | "image_dir" => Same("dataset.folder"),
        "num_repeats" | "dataset_repeats" => Same("dataset.repeats"),
        "class_tokens" => Same("dataset.trigger"),
        "resolution" | "max_resolution" => With(resolution),
        "flip_aug" => Same("dataset.flip"),
        "shuffle_caption" => Same("dataset.shuffle_tags"),
        "keep_tokens" => Same("dataset.keep_tokens"),
        "caption_dropout_rate" => Same("dataset.caption_dropout"),
        "enable_bucket" => Same("dataset.buckets"),
        "bucket_reso_steps" => Same("dataset.bucket_step"),
        "min_bucket_reso" => Same("dataset.bucket_min"),
        "max_bucket_reso" => Same("dataset.bucket_max"),
        "bucket_no_upscale" => Same("dataset.no_upscale"),
        "network_dim" => Same("network.rank"),
        "network_alpha" => Same("network.alpha"),
        "conv_dim" => Same("network.conv_rank"),
        "conv_alpha" => Same("network.conv_alpha"),
        "network_dropout" => Same("network.dropout"),
        "network_args" => With(arguments),
        "network_module" | "LoRA_type" => With(kind),
        "train_batch_size" | "batch_size" => Same("train.batch"),
        "gradient_accumulation_steps" => Same("train.accumulation"),
        "max_train_steps" => With(steps),
        "max_train_epochs" | "epoch" => Not(EPOCHS),
        "learning_rate" | "unet_lr" => With(rate),
        "text_encoder_lr" => With(text_rate),
        "network_train_unet_only" => With(unet_only),
        "lr_scheduler" => Choice("train.schedule", SCHEDULES),
        "lr_warmup_steps" => With(warmup_steps),
        "lr_warmup" => With(warmup_percent),
        "optimizer_type" | "optimizer" => With(optimiser),
        "optimizer_args" => With(arguments),
        "max_grad_norm" => Same("train.clip_norm"),
        "seed" => Same("train.seed"),
        "min_snr_gamma" => With(min_snr),
        "debiased_estimation_loss" => With(debiased),
        "noise_offset" => Same("loss.noise_offset"),
        "v_parameterization" => With(velocity),
        "zero_terminal_snr" => With(zero_snr),
        "timestep_sampling" => Choice("loss.timestep_sampling", TIMESTEPS),
        "sigmoid_scale" => Same("loss.sigmoid_scale"),
        "discrete_flow_shift" => Same("loss.flow_shift"),
        "guidance_scale" => Same("loss.guidance"),
        "sample_every_n_steps" => Same("sample.every"),
        "sample_sampler" => Choice("sample.sampler", SAMPLERS),
        "sample_prompts" => With(prompts),
        "sample_every_n_epochs" => With(sample_epochs),
        "save_every_n_steps" => Same("save.every"),
        "save_every_n_epochs" => Not(EPOCHS),
        "save_last_n_steps" => Not("saves are counted here, not their steps: see save.keep"),
        "output_name" => Same("save.name"),
        "output_dir" => Same("save.folder"),
        "save_precision" => Choice("save.dtype", FORMATS),
        "reg_data_dir" => Not("regularisation pictures are not used"),
        "clip_skip" => With(clip_skip),
        "loss_type" => Choice("loss.kind", LOSSES),
        "huber_schedule" => Choice("loss.huber_schedule", HUBER),
        "huber_c" => Same("loss.huber_c"),
        "multires_noise_iterations" => Same("loss.pyramid_iterations"),
        "multires_noise_discount" => Same("loss.pyramid_discount"),
        "max_token_length" => Same("dataset.caption_length"),
        "t5xxl_max_token_length" => Same("dataset.t5_tokens"),
        "ip_noise_gamma" | "adaptive_noise_scale" => Not("noise is shifted and layered only"),
        "color_aug" | "random_crop" | "face_crop_aug_range" => Not("pictures are only mirrored here"),
        "masked_loss" => With(masked),
        "scale_weight_norms" => Not("weights are not scaled; weight decay and dropout are there"),
        "caption_tag_dropout_rate" | "caption_dropout_every_n_epochs" => Not("only whole captions are left out"),
        "caption_prefix" | "caption_suffix" => Not("the trigger word is put in front of captions"),
        "network_weights" | "dim_from_weights" => Not("a run here starts from nothing, or goes on from its own save"),
        "dataset_config" => Not("the pictures are named in that file: import it too, or choose the folder"),
        "fp8_base" | "blocks_to_swap" | "lowram" | "highvram" | "full_fp16" | "full_bf16" => Not(MEMORY),
        "train_norm" | "trainable_norm" => Not("norms are not trained"),
        "dora_wd" => Not("DoRA is not trained yet; a LoRA is what is made instead"),
        "rank_dropout" | "rank_dropout_scale" | "module_dropout" => {
            Not("whole ranks and layers are not left out; network.dropout leaves out inner values")
        }
        "block_alphas"
        | "block_dims"
        | "block_lr_zero_threshold"
        | "down_lr_weight"
        | "mid_lr_weight"
        | "up_lr_weight"
        | "conv_block_alphas"
        | "conv_block_dims" => Not("all blocks have one rank and one learning rate"),
        "constrain" | "use_cp" | "use_tucker" | "use_scalar" | "decompose_both" | "bypass_mode" | "train_on_input" => {
            Not("only plain LoRA and LoCon are trained")
        }
        "weighted_captions" => Not("brackets and weights in captions are read as text"),
        "stop_text_encoder_training" | "stop_text_encoder_training_pct" => {
            Not("the text encoder is trained to the end or not at all: see network.text_encoder")
        }
        "metadata_title"
        | "metadata_author"
        | "metadata_description"
        | "metadata_license"
        | "metadata_tags"
        | "training_comment" => Not("it is asked for when a LoRA is exported"),
        "min_timestep" => Not("timesteps are drawn from the whole schedule"),
        "additional_parameters" => Not("settings in that line are not read: set them by hand"),
        "apply_t5_attn_mask" => Not("every token of T5 counts, as in diffusers and ComfyUI"),
        "no_token_padding" => Not("captions are always padded"),
        "max_timestep" => With(max_timestep),
        "huber_scale" | "lr_scheduler_num_cycles" => With(not_one),
        _ if QUIET.split_whitespace().any(|quiet| quiet == key) => Quiet,
        _ => return None,
    })
}

/// `512`, `"512,768"`: the square of that area.
fn resolution(reader: &mut Reader, key: &str, value: &Json) {
    let sides: Vec<f64> = match value {
        Json::Array(sides) => sides.iter().filter_map(number).collect(),
        other => text(other).split([',', 'x']).filter_map(|side| side.trim().parse().ok()).collect(),
    };
    let edge = match sides.as_slice() {
        [edge] => *edge,
        [width, height] => (width * height).sqrt(),
        _ => return reader.leave(key, value, "it is no size in pixels"),
    };
    reader.set(key, value, "dataset.resolution", &format!("{:.0}", (edge / 8.0).round() * 8.0));
}

fn rate(reader: &mut Reader, key: &str, value: &Json) {
    // The UNet's own rate is what counts where both are given.
    if !is_off(value) && (key == "unet_lr" || !reader.is_on("unet_lr")) {
        reader.set(key, value, "train.learning_rate", &text(value));
    }
}

fn text_rate(reader: &mut Reader, key: &str, value: &Json) {
    let first = match value {
        Json::Array(rates) => rates.first().cloned().unwrap_or(Json::Null),
        other => other.clone(),
    };
    if is_off(&first) || reader.is_on("network_train_unet_only") {
        return;
    }
    reader.set(key, value, "network.text_encoder", "true");
    reader.set(key, value, "train.text_encoder_lr", &text(&first));
}

fn max_timestep(reader: &mut Reader, key: &str, value: &Json) {
    if number(value).is_some_and(|last| last > 0.0 && last < 1000.0) {
        reader.leave(key, value, "timesteps are drawn from the whole schedule");
    }
}

fn not_one(reader: &mut Reader, key: &str, value: &Json) {
    if number(value).is_some_and(|number| number > 0.0 && number != 1.0) {
        reader.leave(key, value, "it is 1 here");
    }
}

fn unet_only(reader: &mut Reader, key: &str, value: &Json) {
    if !is_off(value) {
        reader.set(key, value, "network.text_encoder", "false");
    }
}

fn steps(reader: &mut Reader, key: &str, value: &Json) {
    // Epochs override steps in sd-scripts.
    if !is_off(value) && !reader.is_on("max_train_epochs") {
        reader.set(key, value, "train.steps", &text(value));
    }
}

fn warmup_steps(reader: &mut Reader, key: &str, value: &Json) {
    match number(value) {
        // Below 1 it is a part of the run.
        Some(part) if part > 0.0 && part < 1.0 => part_of_steps(reader, key, value, part),
        _ if !is_off(value) => reader.set(key, value, "train.warmup", &text(value)),
        _ => {}
    }
}

fn warmup_percent(reader: &mut Reader, key: &str, value: &Json) {
    if let Some(percent) = number(value).filter(|percent| *percent > 0.0)
        && !reader.is_on("lr_warmup_steps")
    {
        part_of_steps(reader, key, value, percent / 100.0);
    }
}

fn part_of_steps(reader: &mut Reader, key: &str, value: &Json, part: f64) {
    match reader.number("max_train_steps").filter(|steps| *steps > 0.0) {
        Some(steps) => reader.set(key, value, "train.warmup", &format!("{:.0}", steps * part)),
        None => {
            reader.leave(key, value, "it is a part of the run, whose steps the file does not tell: set train.warmup")
        }
    }
}

fn optimiser(reader: &mut Reader, key: &str, value: &Json) {
    let name = text(value).to_lowercase();
    match name.as_str() {
        _ if is_off(value) => {}
        "adamw8bit" | "pagedadamw8bit" => reader.set(key, value, "train.optimiser", "adamw8bit"),
        name if name.starts_with("adamw") => reader.set(key, value, "train.optimiser", "adamw"),
        _ => reader.leave(key, value, OPTIMISER),
    }
}

/// `["weight_decay=0.1", "betas=0.9,0.99"]`, or the same in one text.
fn arguments(reader: &mut Reader, key: &str, value: &Json) {
    let list = match value {
        Json::Array(items) => items.iter().map(text).collect::<Vec<_>>(),
        other => text(other).split_whitespace().map(str::to_owned).collect(),
    };
    for argument in list {
        let Some((name, given)) = argument.split_once('=') else { continue };
        let (name, whole) = (name.trim().trim_start_matches('-'), format!("{key}: {}", name.trim()));
        let given = given.trim().trim_matches(['(', ')', '"', '\'']);
        let json = Json::from(given);
        match name {
            "weight_decay" => reader.set(&whole, &json, "train.weight_decay", given),
            "eps" => reader.set(&whole, &json, "train.epsilon", given),
            "betas" => {
                let mut betas = given.split(',').map(str::trim);
                for id in ["train.beta1", "train.beta2"] {
                    if let Some(beta) = betas.next() {
                        reader.set(&whole, &json, id, beta);
                    }
                }
            }
            "conv_dim" => reader.set(&whole, &json, "network.conv_rank", given),
            "conv_alpha" => reader.set(&whole, &json, "network.conv_alpha", given),
            "dropout" => reader.set(&whole, &json, "network.dropout", given),
            _ => reader.leave(&whole, &json, "Lorikeet has nothing like it"),
        }
    }
}

fn kind(reader: &mut Reader, key: &str, value: &Json) {
    let name = text(value).to_lowercase();
    let plain = name.starts_with("networks.lora")
        || matches!(name.as_str(), "standard" | "kohya locon" | "flux1" | "lycoris/locon");
    if !is_off(value) && !plain {
        reader.leave(key, value, "only LoRA and LoCon are trained; a LoRA is what is made instead");
    }
}

fn min_snr(reader: &mut Reader, key: &str, value: &Json) {
    if !is_off(value) {
        reader.set(key, value, "loss.weighting", "min_snr");
        reader.set(key, value, "loss.min_snr_gamma", &text(value));
    } else if !reader.is_on("debiased_estimation_loss") {
        reader.set(key, value, "loss.weighting", "none");
    }
}

fn debiased(reader: &mut Reader, key: &str, value: &Json) {
    if !is_off(value) {
        reader.set(key, value, "loss.weighting", "debiased");
    }
}

/// Their masks lie in a folder of their own.
fn masked(reader: &mut Reader, key: &str, value: &Json) {
    if !is_off(value) {
        reader.set(key, value, "dataset.masks", "true");
        reader.set(key, value, "dataset.mask_weight", "0");
        let why = "masks are looked for beside the pictures: copy cat.png of the mask folder to cat-masklabel.png";
        reader.leave(key, value, why);
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

fn sample_epochs(reader: &mut Reader, key: &str, value: &Json) {
    if !is_off(value) && !reader.is_on("sample_every_n_steps") {
        reader.set(key, value, "sample.every", &text(value));
        reader.set(key, value, "sample.unit", "epochs");
    }
}

/// The prompts themselves in kohya_ss, one a line with its options; a file in sd-scripts.
fn prompts(reader: &mut Reader, key: &str, value: &Json) {
    let given = text(value);
    if given.trim().is_empty() {
        return;
    }
    if std::path::Path::new(given.trim())
        .extension()
        .is_some_and(|end| ["txt", "toml", "json"].iter().any(|known| end == *known))
    {
        return reader.leave(key, value, "the prompts are in that file: copy them into sample.prompts");
    }
    let lines = given.lines().map(|line| line.split(" --").next().unwrap_or(line).trim());
    let prompts: Vec<String> =
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect();
    if !prompts.is_empty() {
        reader.put(key, given, "sample.prompts", crate::setting::Value::List(prompts));
    }
}

fn clip_skip(reader: &mut Reader, key: &str, value: &Json) {
    if number(value).is_some_and(|skip| skip > 1.0) {
        reader.leave(key, value, "text is read as the base's own configuration says");
    }
}
