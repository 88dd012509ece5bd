//! Models where people keep them.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![cfg(unix)] // Links and files with holes.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use lorikeet_checkpoint::{Family, LoraFolder, Part, discover, lora_folders};
use support::{flux_parts, flux_tensors, sdxl_tensors, sparse, tiny_folder};

#[test]
fn bases_and_parts_are_found_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let models = root.join("ComfyUI/models");
    for name in ["checkpoints", "diffusion_models", "vae", "text_encoders", "loras", "locked"] {
        fs::create_dir_all(models.join(name)).unwrap();
    }
    sparse(&models.join("checkpoints/xl.safetensors"), &sdxl_tensors(), &[]);
    sparse(&models.join("diffusion_models/flux1-dev.sft"), &flux_tensors(""), &[]);
    let [vae, clip, t5] = flux_parts("", "", "");
    sparse(&models.join("vae/ae.safetensors"), &vae, &[]);
    sparse(&models.join("text_encoders/clip_l.safetensors"), &clip, &[]);
    sparse(&models.join("text_encoders/t5xxl_fp16.safetensors"), &t5, &[]);
    let lora = [("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight".to_owned(), "F16", vec![4, 9])];
    sparse(&models.join("loras/a.safetensors"), &lora, &[]);
    fs::write(models.join("checkpoints/broken.safetensors"), "not a model").unwrap();
    // A loop, a link that leads nowhere, a second way to the same file, a folder that may not be read.
    symlink(&models, models.join("checkpoints/loop")).unwrap();
    symlink(root.join("nowhere"), models.join("vae/gone.safetensors")).unwrap();
    symlink(models.join("vae/ae.safetensors"), models.join("vae/same.safetensors")).unwrap();
    fs::set_permissions(models.join("locked"), fs::Permissions::from_mode(0o000)).unwrap();
    // The hub's cache: a snapshot of links to blobs.
    let hub = root.join("hub/models--ann--tiny");
    tiny_folder(&hub.join("blobs/whole"));
    fs::create_dir_all(hub.join("snapshots")).unwrap();
    symlink(hub.join("blobs/whole"), hub.join("snapshots/abc")).unwrap();

    let found = discover(&[models.clone(), root.join("absent"), root.join("hub/models--ann--tiny/snapshots")]);
    let told: Vec<_> = found
        .iter()
        .map(|found| (found.path.file_name().unwrap().to_str().unwrap(), found.family, found.parts.clone()))
        .collect();
    use Part::{TextEncoder, TextEncoder2, Transformer, Unet, Vae};
    assert_eq!(
        told,
        [
            ("xl.safetensors", Some(Family::Sdxl), vec![Unet, Vae, TextEncoder, TextEncoder2]),
            ("flux1-dev.sft", Some(Family::Flux1Dev), vec![Transformer]),
            ("clip_l.safetensors", None, vec![TextEncoder]),
            ("t5xxl_fp16.safetensors", None, vec![TextEncoder2]),
            ("ae.safetensors", None, vec![Vae]),
            ("abc", Some(Family::Sd1), vec![Unet, Vae, TextEncoder]),
        ]
    );
    fs::set_permissions(models.join("locked"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn folders_for_loras_are_found_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = |program: &str| folder.path().join(program).join("models");
    let (comfy, webui, empty) = (root("ComfyUI"), root("stable-diffusion-webui"), root("empty"));
    for path in [comfy.join("loras"), webui.clone(), empty.clone()] {
        fs::create_dir_all(path).unwrap();
    }
    // A1111 with ComfyUI's folder.
    symlink(comfy.join("loras"), webui.join("Lora")).unwrap();
    let found = lora_folders(&[comfy.clone(), webui, empty, root("gone")]);
    assert_eq!(found, [LoraFolder { program: "ComfyUI".to_owned(), path: comfy.join("loras") }]);
}
