//! Settings of other trainers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lorikeet_recipe::{Import, Preset, Program, import_text};

fn read(text: &str) -> Import {
    import_text(text, Preset::Style).unwrap()
}

fn got(import: &Import, id: &'static str) -> String {
    if import.recipe.is_set(id) { import.recipe.get(id).to_string() } else { "default".to_owned() }
}

fn why<'a>(import: &'a Import, key: &str) -> &'a str {
    import.left.iter().find(|left| left.key == key).map_or("", |left| &left.why)
}

#[test]
fn a_config_of_sd_scripts_is_taken_over_with_what_it_assumes() {
    let import = read(
        r#"
        [model]
        pretrained_model_name_or_path = "/models/v1-5.safetensors"
        [training]
        train_data_dir = "/pictures/cats"
        resolution = "512,768"
        train_batch_size = 3
        max_train_steps = 1600
        unet_lr = 2e-4
        learning_rate = 1e-4
        network_module = "networks.lora"
        network_dim = 32
        network_args = ["conv_dim=8", "conv_alpha=4"]
        optimizer_type = "AdamW8bit"
        optimizer_args = ["weight_decay=0.05", "betas=0.9,0.99"]
        lr_scheduler = "cosine_with_restarts"
        lr_warmup_steps = 0.1
        min_snr_gamma = 5
        mixed_precision = "bf16"
        reg_data_dir = "/pictures/other cats"
        frobnicate = true
        rank_dropout = 0.1
        max_timestep = 800
        min_timestep = 0
        huber_scale = 1.0
        dora_wd = false
        "#,
    );
    assert_eq!(import.program, Program::Kohya);
    for (id, value) in [
        ("base.path", "\"/models/v1-5.safetensors\""),
        ("dataset.folder", "\"/pictures/cats\""),
        ("dataset.resolution", "624"),
        ("train.batch", "3"),
        ("train.steps", "1600"),
        ("train.learning_rate", "0.0002"),
        ("network.rank", "32"),
        ("network.alpha", "1.0"),
        ("network.conv_rank", "8"),
        ("network.conv_alpha", "4.0"),
        ("train.weight_decay", "0.05"),
        ("train.beta2", "0.99"),
        ("train.optimiser", "\"adamw8bit\""),
        ("train.warmup", "160"),
        ("loss.weighting", "\"min_snr\""),
        ("dataset.caption_dropout", "0.0"),
        ("train.epsilon", "default"),
    ] {
        assert_eq!(got(&import, id), value, "{id}");
    }
    let alpha = import.taken.iter().find(|taken| taken.setting == "network.alpha").unwrap();
    assert_eq!(alpha.given, "", "the file does not say: it is kohya's own 1, which hardly any other trainer shares");
    assert!(why(&import, "lr_scheduler").contains("no restarts"));
    assert!(why(&import, "reg_data_dir").contains("not used"));
    assert!(why(&import, "frobnicate").contains("nothing like it"));
    assert!(why(&import, "rank_dropout").contains("network.dropout"));
    assert!(why(&import, "max_timestep").contains("whole schedule"));
    for off in ["min_timestep", "huber_scale", "dora_wd"] {
        assert_eq!(why(&import, off), "", "{off} is what Lorikeet does too");
    }
    assert_eq!(why(&import, "mixed_precision"), "", "how a program does its work is no matter");
}

#[test]
fn the_json_of_kohya_ss_with_numbers_as_text_is_read() {
    let import = read(
        r#"{"LoRA_type": "Standard", "max_resolution": "1024,1024", "network_dim": 16, "network_alpha": 8,
            "learning_rate": "0.0003", "epoch": 10, "max_train_steps": "", "optimizer": "Prodigy", "lr_warmup": 10,
            "noise_offset": "0.05", "flip_aug": true, "cache_latents": true, "keep_tokens": "1", "seed": "",
            "sample_prompts": "a cat --w 512 --h 512\n# no prompt\na dog", "loss_type": "huber", "text_encoder_lr": 0}"#,
    );
    assert_eq!(got(&import, "dataset.resolution"), "1024");
    assert_eq!(got(&import, "network.alpha"), "8.0");
    assert_eq!(got(&import, "train.learning_rate"), "0.0003");
    assert_eq!(got(&import, "loss.noise_offset"), "0.05");
    assert_eq!(got(&import, "dataset.flip"), "true");
    assert_eq!(got(&import, "sample.prompts"), r#"["a cat", "a dog"]"#);
    assert_eq!(got(&import, "train.seed"), "default");
    assert_eq!(got(&import, "loss.weighting"), "\"none\"");
    assert_eq!(got(&import, "network.text_encoder"), "default");
    assert!(why(&import, "epoch").contains("steps"));
    assert!(why(&import, "optimizer").contains("AdamW"));
    assert!(why(&import, "lr_warmup").contains("train.warmup"));
    assert_eq!(got(&import, "loss.kind"), "\"huber\"");
}

#[test]
fn the_dataset_file_of_sd_scripts_gives_its_folders_and_tells_what_is_not_shared() {
    let import = read(
        "[general]\nshuffle_caption = true\nkeep_tokens = 2\n[[datasets]]\nresolution = 768\nbatch_size = 2\n\
         [[datasets.subsets]]\nimage_dir = '/a'\nnum_repeats = 5\n[[datasets.subsets]]\nimage_dir = '/b'\ncolor_aug = true\n\
         [[datasets.subsets]]\nimage_dir = '/reg'\nis_reg = true\n\
         [[datasets]]\nnum_repeats = 3\n[[datasets.subsets]]\nimage_dir = '/c'\n",
    );
    assert_eq!(got(&import, "dataset.more_folders"), r#"["1 x /b", "3 x /c"]"#);
    assert!(why(&import, "subsets").contains("regularisation"));
    assert_eq!(got(&import, "dataset.folder"), "\"/a\"");
    assert_eq!(got(&import, "dataset.repeats"), "5");
    assert_eq!(got(&import, "dataset.keep_tokens"), "2");
    assert_eq!(got(&import, "train.batch"), "2");
    assert!(why(&import, "subsets: /b: color_aug").contains("first"));
}

#[test]
fn a_configuration_of_onetrainer_is_taken_over() {
    let import = read(
        r#"{"__version": 6, "training_method": "LORA", "model_type": "FLUX_DEV_1", "base_model_name": "/models/flux",
            "resolution": "768", "batch_size": 4, "epochs": 100, "learning_rate": 0.0003, "lora_rank": 32,
            "learning_rate_scheduler": "COSINE", "timestep_distribution": "LOGIT_NORMAL", "dynamic_timestep_shifting": true,
            "optimizer": {"optimizer": "ADAMW", "weight_decay": 0.02, "beta1": 0.8, "fused": true},
            "text_encoder": {"train": false, "learning_rate": null}, "prior": {"train": true, "learning_rate": 0.0002},
            "mse_strength": 0.5, "mae_strength": 0.0, "noising_bias": 0.3,
            "concepts": [{"path": "/cats", "balancing": 3.0, "image": {"enable_random_flip": true}}, {"path": "/dogs"}],
            "samples": [{"prompt": "a cat", "enabled": true}, {"prompt": "a dog", "enabled": false}],
            "sample_after": 10, "sample_after_unit": "MINUTE", "save_every": 200, "save_every_unit": "STEP",
            "output_dtype": "BFLOAT_16", "output_model_destination": "C:\\loras\\my cats.safetensors",
            "layer_filter": "blocks", "ema": "OFF"}"#,
    );
    assert_eq!(import.program, Program::OneTrainer);
    for (id, value) in [
        ("base.path", "\"/models/flux\""),
        ("dataset.folder", "\"/cats\""),
        ("dataset.repeats", "3"),
        ("dataset.flip", "true"),
        ("network.rank", "32"),
        ("network.alpha", "1.0"),
        ("train.warmup", "200"),
        ("train.schedule", "\"cosine\""),
        ("loss.timestep_sampling", "\"flux_shift\""),
        ("train.weight_decay", "0.02"),
        ("train.beta1", "0.8"),
        ("sample.prompts", "[\"a cat\"]"),
        ("save.every", "200"),
        ("save.dtype", "\"bf16\""),
        ("save.name", "\"my cats\""),
        ("network.text_encoder", "false"),
        ("train.learning_rate", "0.0002"),
    ] {
        assert_eq!(got(&import, id), value, "{id}");
    }
    assert!(why(&import, "sample_after").contains("not in time"));
    assert_eq!(got(&import, "dataset.more_folders"), r#"["1 x /dogs"]"#);
    assert!(why(&import, "layer_filter").contains("every"));
    assert_eq!(why(&import, "ema"), "");
    assert!(why(&import, "mse_strength").contains('1') && why(&import, "noising_bias").contains("whole schedule"));
    assert_eq!(why(&import, "mae_strength"), "");
}

#[test]
fn a_value_out_of_range_is_told_and_the_rest_is_taken() {
    let import = read(r#"{"network_dim": 100000, "train_batch_size": 2, "lr_scheduler": "piecewise"}"#);
    assert_eq!(got(&import, "train.batch"), "2");
    assert!(why(&import, "network_dim").contains("256"), "{:?}", import.left);
    assert!(why(&import, "lr_scheduler").contains("no such choice"));
}

#[test]
fn what_is_no_settings_file_is_refused_in_words() {
    let error = |text: &str| import_text(text, Preset::Style).unwrap_err().to_string();
    assert!(error(r#"{"name": "package", "version": "1.0"}"#).contains("kohya"));
    assert!(error("[1, 2]").contains("line 1") || error("[1, 2]").contains("kohya"));
    assert!(error("{\"network_dim\": ").contains("JSON"));
    assert!(error("a = [").contains("line 1"));
}
