//! `sample`.

use std::path::{Path, PathBuf};

use lorikeet_checkpoint::PartFiles;
use lorikeet_diffusion::SamplerKind;
use lorikeet_recipe::SampleSettings;
use lorikeet_trainer::{DrawSettings, SampleRequest};

use crate::args::SampleArgs;
use crate::face::Progress;
use crate::follow::Terminal;
use crate::trouble::Trouble;

pub(crate) fn sample(args: &SampleArgs) -> Result<(), Trouble> {
    let loras = args.loras.iter().map(|text| lora(text)).collect::<Result<Vec<_>, _>>()?;
    let parts = PartFiles {
        vae: args.vae.clone(),
        text_encoder: args.text_encoder.clone(),
        text_encoder_2: args.text_encoder_2.clone(),
    };
    let usual = usual(&args.base, &parts)?;
    let request = SampleRequest {
        base: args.base.clone(),
        parts,
        loras,
        prompts: args.prompts.clone(),
        negative: args.negative.clone(),
        seed: args.seed,
        width: args.width,
        height: args.height,
        steps: args.steps.unwrap_or(usual.steps as usize),
        cfg: args.cfg.unwrap_or(usual.cfg),
        guidance: args.guidance.or(usual.guidance).unwrap_or(0.0),
        sampler: match &args.sampler {
            Some(name) => sampler(name)?,
            None => DrawSettings::from(&usual).sampler,
        },
        device: args.device.clone(),
        out_dir: args.out.clone(),
        noise_out: args.noise_out.clone(),
    };
    let mut terminal = Terminal::new(Box::new(Progress::new()));
    let pictures = lorikeet_trainer::sample(&request, &mut terminal).map_err(|error| error.failure())?;
    pictures.iter().for_each(|path| println!("{}", path.display()));
    Ok(())
}

/// What suits a base, from the settings table.
pub(crate) fn usual(base: &str, parts: &PartFiles) -> Result<SampleSettings, Trouble> {
    lorikeet_trainer::usual_drawing(base, parts).map_err(|error| error.failure().into())
}

pub(crate) fn sampler(name: &str) -> Result<SamplerKind, Trouble> {
    name.parse().map_err(|error| {
        Trouble::usage("--sampler cannot be understood", error, "Write euler, euler_a, dpmpp_2m or ddim")
    })
}

/// `PATH` or `PATH:STRENGTH`. A colon that no number follows belongs to the path.
fn lora(text: &str) -> Result<(PathBuf, f32), Trouble> {
    let (path, strength) = match text.rsplit_once(':').map(|(path, number)| (path, number.trim().parse::<f32>())) {
        Some((path, Ok(strength))) if strength.is_finite() => (Path::new(path), strength),
        _ => (Path::new(text), 1.0),
    };
    if !path.is_file() {
        let why = format!("there is no such file: {}", path.display());
        return Err(Trouble::failed("A LoRA cannot be used", why, "Write --lora PATH or --lora PATH:STRENGTH"));
    }
    Ok((path.to_owned(), strength))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lora_may_have_a_strength() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a b.safetensors");
        std::fs::write(&file, "").unwrap();
        let text = file.to_str().unwrap();
        assert_eq!(lora(text).unwrap(), (file.clone(), 1.0));
        assert_eq!(lora(&format!("{text}:0.7")).unwrap(), (file.clone(), 0.7));
        assert_eq!(lora(&format!("{text}:-1")).unwrap(), (file.clone(), -1.0));
        assert!(lora(&format!("{text}:much")).unwrap_err().to_string().contains("no such file"));
    }

    #[test]
    fn what_suits_a_base_comes_from_the_table() {
        assert_eq!(DrawSettings::from(&usual("demo", &PartFiles::default()).unwrap()).sampler, SamplerKind::Ddim);
        assert!(usual("there/is/no/such.safetensors", &PartFiles::default()).is_err());
    }
}
